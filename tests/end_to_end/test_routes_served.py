"""Routes of a whole server: hosts behind sockets, a table that changes while it runs, connections opened beforehand."""

from __future__ import annotations

import asyncio
import json
import os
import re

import pytest
from click.testing import CliRunner

from serving import serving
from tidewire.cli.main import main
from tidewire.cli.warm_checks import warm
from tidewire.core.errors import SettingsError
from tidewire.routing.breaker import Breaker
from tidewire.routing.table import Candidate, Plan
from tidewire.server import routebook
from tidewire.server.assemble import house
from tidewire.server.hosts import HOSTS, hosted
from tidewire.server.settings import Models, Provider, Settings, check
from tidewire.server.settings import Server as ServerSettings
from tidewire.server.sources import load
from upstream import Upstream, refuses, says

ASKED = {"model": "quick", "messages": [{"role": "user", "content": "Hi"}]}


def plan(*models, choose="order", **more):
    return Plan(candidates=[Candidate(model=m) for m in models], choose=choose, **more)


async def asked(served, model="quick"):
    status, _, body = await served.ask("POST", "/v1/chat/completions", {**ASKED, "model": model})
    return status, json.loads(body)


async def test_a_host_that_is_down_is_not_seen_and_is_asked_once_for_each_request(tmp_path):
    async with Upstream(refuses(503)) as down, Upstream(says("All ", "is well.")) as well:
        hosts = {"down": down.url + "/v1", "well": well.url + "/v1"}
        providers = {n: Provider(base_url=u, models=["m"], retries=3) for n, u in hosts.items()}
        async with serving(tmp_path, providers=providers, routes={"quick": plan("down/m", "well/m")}) as served:
            status, body = await asked(served)
            assert status == 200
            assert body["choices"][0]["message"]["content"] == "All is well."
            assert len(down.calls) == 1, "the route counts the tries, not the host"
            status, _, listed = await served.ask("GET", "/v1/models")
            assert json.loads(listed)["data"][0]["id"] == "quick"
            metrics = (await served.ask("GET", "/metrics"))[2].decode()
            assert 'tidewire_route_tries_total{model="down/m",route="quick"} 1.0' in metrics
            assert (
                'tidewire_route_failures_total{code="upstream_unavailable",model="down/m",route="quick"} 1.0' in metrics
            )
            assert 'tidewire_breaker_open{model="down/m"} 0.0' in metrics


async def test_a_host_that_fails_every_request_sees_a_fifth_more_of_them_at_most(tmp_path, monkeypatch):
    """Without the breaker, which would hardly ask it at all."""
    monkeypatch.setattr(Breaker, "allows", lambda breaker, now: True)
    async with Upstream(refuses(503)) as down:
        providers = {"down": Provider(base_url=down.url + "/v1", models=["m"], retries=3)}
        routes = {"quick": plan("down/m", retries=5)}
        async with serving(tmp_path, providers=providers, routes=routes) as served:
            for _ in range(10):
                answers = await asyncio.gather(*(asked(served) for _ in range(50)))
                assert {status for status, _ in answers} <= {502, 503}
        assert 500 < len(down.calls) <= 600


async def test_a_route_to_a_host_that_is_not_there_is_said_at_the_start_and_the_others_answer(tmp_path, caplog):
    async with Upstream(says("Well.")) as well:
        routes = {"quick": plan("nowhere/x", "well/m")}
        async with serving(tmp_path, hosts={"well": well.url}, routes=routes) as served:
            assert [getattr(r, "model", "") for r in caplog.records if "not on offer" in r.message] == ["nowhere/x"]
            status, body = await asked(served)
            assert (status, body["choices"][0]["message"]["content"]) == (200, "Well.")


def test_routes_in_a_circle_are_refused_at_the_start():
    with pytest.raises(SettingsError, match="leads back to itself: a -> b -> a"):
        check(Settings(routes={"a": plan("b"), "b": plan("a")}))


async def test_an_alias_and_the_default_may_mean_a_route(tmp_path):
    settings = Settings(
        data=str(tmp_path),
        models=Models(default="quick", aliases={"gpt": "quick"}, discover=False),
        providers={"simulated": Provider(kind="simulated")},
        routes={"quick": plan("simulated")},
    )
    async with house(settings, own_port=0) as parts:
        for name in ("quick", "default", "gpt"):
            provider, meant = await parts.desk._find_provider(name)
            assert (provider.name, meant) == ("quick", "quick")


async def test_when_no_host_answers_the_last_error_is_the_clients(tmp_path):
    async with Upstream(refuses(503)) as down:
        routes = {"quick": plan("down/m", retries=0)}
        async with serving(tmp_path, hosts={"down": down.url + "/v1"}, routes=routes) as served:
            status, body = await asked(served)
            assert status == 502
            assert body["error"]["message"].endswith("the route 'quick' gave up after 1 try at 1 model")


async def test_documents_answer_when_no_model_can(tmp_path):
    async with Upstream(refuses(503)) as down:
        routes = {"quick": plan("down/m", retries=0, degrade="extractive")}
        async with serving(tmp_path, hosts={"down": down.url + "/v1"}, routes=routes) as served:
            status, _, body = await served.ask("POST", "/v1/streams", {"model": "quick", "input": "Hi"})
            assert status == 200
            assert b'"code":"degraded"' in body
            assert b'"status":"completed"' in body


TABLE = """
[models]
discover = false
[providers.a]
kind = "simulated"
models = ["a1", "a2"]
[routes.quick]
candidates = [{{model = "{model}"}}]
{more}
"""


async def test_the_table_changes_while_the_server_runs_and_a_bad_one_changes_nothing(tmp_path, monkeypatch, caplog):
    monkeypatch.setattr(routebook, "LOOK_EVERY", 0.01)
    file = tmp_path / "tidewire.toml"

    def write(text):
        file.write_text(text)
        stamp = file.stat().st_mtime_ns + next(ticks)
        os.utime(file, ns=(stamp, stamp))

    ticks = iter(range(10**6, 10**8, 10**6))
    write(TABLE.format(model="a1", more=""))

    def read():
        return load(file, flags={"data": str(tmp_path)}).settings

    async with house(read(), own_port=0, source=(file, read)) as parts:

        async def until(true):
            async with asyncio.timeout(30):
                while not true(await parts.desk.models()):
                    await asyncio.sleep(0.01)

        await until(lambda models: models[0].note == "a route to a1")
        write(TABLE.format(model="a2", more='[routes.other]\ncandidates = [{model = "quick"}]\n'))
        await until(lambda models: models[0].note == "a route to a2" and models[1].id == "other")
        for bad in (
            "[routes.quick\n",
            TABLE.format(model="quick", more=""),
            TABLE.format(model="a1", more="choose = 3"),
        ):
            caplog.clear()
            write(bad)
            async with asyncio.timeout(30):
                while "cannot be used" not in caplog.text:
                    await asyncio.sleep(0.01)
            assert (await parts.desk.models())[0].note == "a route to a2"
        write(TABLE.format(model="a1", more='[cascades.sharp]\ndraft.model = "quick"\nrefine.model = "a2"\n'))
        await until(lambda models: models[1].note == "quick, bettered by a2")
        write(TABLE.format(model="gone", more=""))
        await until(lambda models: models[0].note == "a route to gone")
        assert any(getattr(r, "model", "") == "gone" for r in caplog.records)


async def test_a_connection_is_there_before_the_first_request(tmp_path):
    async with Upstream(says("Hi.")) as host:
        routes = {"quick": plan("warm/m", warm=True)}
        async with serving(tmp_path, hosts={"warm": host.url + "/v1"}, routes=routes) as served:
            async with asyncio.timeout(30):
                while b"tidewire_dial_seconds{" not in (await served.ask("GET", "/metrics"))[2]:
                    await asyncio.sleep(0.01)
            assert [(call.method, call.path) for call in host.calls] == [("GET", "/v1/models")]
            assert (await asked(served))[0] == 200
            assert host.connections == 1
            here = Settings(server=ServerSettings(port=served.port), routes=routes)
            (found,) = await asyncio.to_thread(lambda: list(warm(here)))
            assert (found.name, found.level) == ("warm warm", "ok")
            assert re.fullmatch(r"\d+ s ago, connected in \d+ ms, answered in \d+ ms", found.said)


async def test_a_host_that_knows_no_such_key_is_not_called_warm(tmp_path):
    async with Upstream(refuses(401)) as host:
        routes = {"quick": plan("warm/m", warm=True)}
        async with serving(tmp_path, hosts={"warm": host.url + "/v1"}, routes=routes) as served:
            async with asyncio.timeout(30):
                while b"tidewire_warm_failures_total{" not in (await served.ask("GET", "/metrics"))[2]:
                    await asyncio.sleep(0.01)
            here = Settings(server=ServerSettings(port=served.port), routes=routes)
            (found,) = await asyncio.to_thread(lambda: list(warm(here)))
            assert found.level == "warn"
            nobody = Settings(server=ServerSettings(port=host.port), routes=routes)
            assert await asyncio.to_thread(lambda: list(warm(nobody))) == []


def test_what_hosts_are_asked_to_see_that_they_answer_is_short_or_nothing(monkeypatch):
    monkeypatch.setenv("AWS_BEARER_TOKEN_BEDROCK", "none")
    paths = {kind: hosted(kind, kind, Provider(kind=kind, base_url="http://h.example", region="r", project="p"))._probe
             for kind in HOSTS if kind != "vertex"}  # fmt: skip
    assert {kind for kind, path in paths.items() if not path} == {
        "openrouter", "huggingface", "perplexity", "azure", "bedrock", "bedrock-invoke", "triton",
    }  # fmt: skip
    assert not any("1000" in path or "300" in path for path in paths.values())


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ('[routes.a]\ncandidates = [{model = "b"}]\n[routes.b]\ncandidates = [{model = "a"}]\n', "a -> b -> a"),
        ('[routes.a]\ncandidates = [{model = "b", vison = true}]\n', "vison"),
        ('[routes.a]\ncandidates = [{model = "b", weight = 0}]\n', "weight"),
        ('[routes.a]\nchose = "order"\n', "routes.a.choose"),
        ('[routes.a]\nchoose = "best"\n', "one of latency, order, price, weights"),
        ('[routes.a]\nchoose = "order"\n', "has no candidates"),
    ],
)
def test_a_table_that_cannot_be_used_is_said_at_the_start(tmp_path, text, said):
    file = tmp_path / "tidewire.toml"
    file.write_text(text)
    with pytest.raises(SettingsError) as caught:
        load(file)
    assert said in caught.value.message


def test_the_doctor_says_which_candidates_are_not_on_offer(tmp_path):
    file = tmp_path / "tidewire.toml"
    file.write_text(TABLE.format(model="a1", more='[routes.two]\ncandidates = [{model = "quick"}, {model = "gone"}]\n'))
    said = CliRunner().invoke(main, ["doctor", "--config", str(file), "--data", str(tmp_path / "d")]).output
    assert "route quick: 1 candidates on offer" in said
    assert "route two: not on offer: gone" in said
    shown = CliRunner().invoke(main, ["config", "--changed", "--config", str(file)]).output
    assert 'routes.quick.candidates = [{"model" = "a1"}]' in shown
