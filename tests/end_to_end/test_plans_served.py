"""Plans, deadlines and hedges over real sockets: what a request may take, who is told of it, and who is let go of."""

from __future__ import annotations

import asyncio
import json

import pytest

from serving import serving
from tidewire.routing.table import Candidate, Plan
from tidewire.server.plan_settings import UsePlan, fault
from tidewire.server.settings import Log, Provider
from upstream import DONE, Upstream, chat, says, silent

CHAT = {"messages": [{"role": "user", "content": "Hi"}]}
HEADER = "x-request-timeout-ms"


async def asked(served, model, **headers):
    status, _, body = await served.ask("POST", "/v1/chat/completions", {**CHAT, "model": model}, **headers)
    return status, json.loads(body)


async def test_a_model_of_a_plan_that_is_enforced_is_given_up_in_time_and_its_host_let_go_of(tmp_path):
    plans = {
        "voice": UsePlan(models=["slow/m"], first_token_ms=50, enforce=True),
        "calm": UsePlan(first_token_ms=60_000, enforce=True),
    }
    async with (
        Upstream(silent) as slow,
        Upstream(says("fine")) as other,
        serving(tmp_path, hosts={"slow": slow.url, "other": other.url}, plans=plans) as served,
    ):
        status, body = await asked(served, "slow/m")
        assert (status, body["error"]["code"]) == (504, "plan_first_token")
        async with asyncio.timeout(30):
            await slow.calls[0].gone.wait()
        status, body = await asked(served, "other/m", x_tidewire_plan="calm")
        assert status == 200
        status, body = await asked(served, "other/m", x_tidewire_plan="vioce")
        assert (status, body["error"]["code"]) == (400, "unknown_plan")
        assert "voice" in body["error"]["message"]
        _, _, raw = await served.ask("POST", "/v1/streams", {"model": "other/m", "input": "Hi", "plan": "nope"})
        assert json.loads(raw)["error"]["code"] == "unknown_plan"


async def test_a_route_keeps_the_first_token_of_a_plan_where_another_host_can(tmp_path):
    plans = {"voice": UsePlan(models=["quick"], first_token_ms=3000, enforce=True)}
    async with Upstream(silent) as late, Upstream(says("in time")) as other:
        route = Plan(candidates=[Candidate(model="late/m"), Candidate(model="other/m")], choose="order")
        hosts = {"late": late.url, "other": other.url}
        async with serving(tmp_path, hosts=hosts, plans=plans, routes={"quick": route}) as served:
            status, body = await asked(served, "quick")
            assert (status, body["choices"][0]["message"]["content"]) == (200, "in time")
            async with asyncio.timeout(30):
                await late.calls[0].gone.wait()


@pytest.mark.parametrize("durability", ["memory", "process"])
async def test_what_the_first_words_take_to_a_reader_stands_in_the_waterfall(tmp_path, durability):
    async def slowly(call):
        call.head(200)
        call.chunk(chat("first "))
        await asyncio.sleep(0.2)
        call.chunk(chat("second", finish="stop") + DONE)
        call.end()

    plans = {"chat": UsePlan(models=["host/m"], render_ms=1e6, client_ms=1e6)}
    async with (
        Upstream(slowly) as host,
        serving(tmp_path, hosts={"host": host.url}, plans=plans, log=Log(durability=durability)) as served,
    ):
        for path, more in (("/v1/streams", {"input": "Hi"}), ("/v1/chat/completions", CHAT | {"stream": True})):
            _, headers, body = await served.ask("POST", path, {"model": "host/m", **more})
            assert b"first" in body
            assert b"second" in body
            _, _, log = await served.ask("GET", f"/v1/streams/{headers['x-tidewire-stream']}/events?as=ndjson")
            spans = {span["name"]: span["ms"] for span in json.loads(log.splitlines()[-1])["spans"]}
            assert 0 < spans["render"] < 1e5
            assert 0 < spans["client"] < 1e5


async def test_a_host_is_told_what_is_left_of_the_deadline_where_its_settings_say_how(tmp_path):
    async with Upstream(says("fine")) as host:
        told = Provider(base_url=host.url, models=["m"], deadline_header=HEADER)
        async with serving(tmp_path, hosts={"plain": host.url}, providers={"told": told}) as served:
            await asked(served, "told/m", x_request_timeout_ms="90000")
            await asked(served, "told/m")
            await asked(served, "plain/m", x_request_timeout_ms="90000")
    left = [int(call.headers[HEADER]) if HEADER in call.headers else None for call in host.calls]
    assert left[0] is not None
    assert 40_000 < left[0] <= 90_000
    assert left[1] is not None
    assert 1_700_000 < left[1] <= 1_800_000, "limits.stream_s, where nobody says anything"
    assert left[2] is None


async def test_behind_another_tidewire_the_deadline_of_the_first_is_that_of_the_second(tmp_path):
    async with Upstream(silent) as host, serving(tmp_path / "far", hosts={"host": host.url}) as far:
        near = Provider(base_url=far.url + "/v1", models=["host/m"], deadline_header=HEADER, retries=0)
        async with serving(tmp_path / "near", providers={"far": near}) as first:
            peer = await first.peer()
            peer.post(
                "/v1/chat/completions", {**CHAT, "model": "far/host/m", "stream": True}, x_request_timeout_ms="90000"
            )
            async with asyncio.timeout(30):
                await host.asked(1)
            ((run, _),) = far.house.desk._runs.values()
            assert 40.0 < run._time_limit <= 90.0, "of its own it would be limits.stream_s"
            await peer.close()
            async with asyncio.timeout(30):
                await host.calls[0].gone.wait()


async def test_the_loser_of_a_hedge_is_let_go_of_before_the_winner_has_said_its_second_word(tmp_path):
    let_go = []

    async def two_words(call):
        call.head(200)
        call.chunk(chat("first "))
        if len(late.calls) > 40:  # on a busy machine it may be asked before that, too
            async with asyncio.timeout(30):
                await late.calls[-1].gone.wait()
            let_go.append(late.calls[-1])
        call.chunk(chat("second", finish="stop") + DONE)
        call.end()

    async with Upstream(*[says("quick")] * 40, silent) as late, Upstream(two_words) as other:
        providers = {
            "late": Provider(base_url=late.url, models=["m"], retries=0),
            "other": Provider(base_url=other.url, models=["m"], retries=0),
        }
        route = Plan(
            candidates=[Candidate(model="late/m"), Candidate(model="other/m")], choose="order", hedge_share=1.0
        )
        async with serving(tmp_path, providers=providers, routes={"quick": route}) as served:
            while len(late.calls) < 40:
                status, _ = await asked(served, "quick")
                assert status == 200
            status, body = await asked(served, "quick")
    assert (status, body["choices"][0]["message"]["content"]) == (200, "first second")
    assert let_go == late.calls[40:]


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"voice": UsePlan(enforce=True)}, "first_token_ms says no time"),
        ({"a": UsePlan(models=["m"]), "b": UsePlan(models=["m"])}, "a model has one class"),
        ({"a": UsePlan(models=["m"], first_token_ms=5, enforce=True)}, ""),
    ],
)
def test_plans_that_cannot_be_meant_are_refused_at_the_start(given, said):
    assert said in fault(given)
    assert bool(fault(given)) == bool(said)
