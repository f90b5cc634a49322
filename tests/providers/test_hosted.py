"""Compatible hosts: what is tried again, what a request becomes, which models are on offer, and where."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from plain_chat import ChatSpeaker, Cup, listed, question, virtually

from tidewire.core.errors import TimedOut, UpstreamError
from tidewire.core.events import Attempt, Finish, Progress, Timing
from tidewire.providers.hosted import Hosted
from tidewire.providers.http import Timeouts
from tidewire.providers.local_hosts import discover
from upstream import Upstream, chat, refuses, says, silent, stall_after_headers, streams, unaccepted

KEY = "sk-test-abcdefghijklmnop"


def host(url: str, **options: Any) -> Hosted:
    return Hosted("mine", f"{url}/v1", ChatSpeaker(), environ={}, **options)


async def test_an_answer_tells_of_its_attempt_and_ends_with_finish() -> None:
    cup = Cup()
    async with Upstream(says("Hi", "!")) as up:
        provider = host(up.url, headers={"Authorization": f"Bearer {KEY}"}, prefix="mine/")
        await provider.answer(question(model="mine/big"), cup)
        await provider.close()
    assert cup.text == "Hi!"
    assert isinstance(cup.events[-1], Finish)
    assert cup.events[0] == Attempt(n=1, provider="mine", model="big", reason="start")
    assert [e.stage for e in cup.events if isinstance(e, Progress)] == ["waiting"]
    call = up.calls[0]
    assert call.path == "/v1/chat/completions"
    assert call.json["model"] == "big"
    assert call.headers["authorization"] == f"Bearer {KEY}"


@pytest.mark.parametrize("status", [429, 502, 503, 504])
def test_a_busy_host_is_tried_again_after_the_pause_it_asks_for(status: int) -> None:
    async def main() -> None:
        cup = Cup()
        async with Upstream(refuses(status, retry_after="3"), says("ok")) as up:
            provider = host(up.url)
            provider.host.clock = asyncio.get_running_loop().time
            await provider.answer(question(), cup)
            await provider.close()
        assert cup.text == "ok"
        assert [(e.n, e.reason) for e in cup.events if isinstance(e, Attempt)] == [(1, "start"), (2, "retry")]
        assert sum(isinstance(e, Progress) for e in cup.events) == 1
        assert 3 <= asyncio.get_running_loop().time() < 4
        spans = [e.span for e in cup.events if isinstance(e, Timing)]
        assert [span.name for span in spans] == ["connect", "headers"]
        assert spans[0].start >= 3000  # counted from the call's own start

    virtually(main())


@pytest.mark.parametrize(
    ("script", "asked"),
    [
        (refuses(503, retry_after="60"), 1),  # too long a pause
        (refuses(400), 1),
        (refuses(401), 1),
        (refuses(500), 1),
        (refuses(503), 3),
    ],
)
def test_other_failures_are_final_and_tries_are_counted(script: Any, asked: int) -> None:
    async def main() -> None:
        async with Upstream(script) as up:
            provider = host(up.url, retries=2)
            with pytest.raises(UpstreamError):
                await provider.answer(question(), Cup())
            assert len(up.calls) == asked

    virtually(main())


async def test_a_host_that_comes_up_meanwhile_is_found() -> None:
    async with Upstream(says("up")) as up:
        port = up.port
    cup = Cup()
    provider = host(f"http://127.0.0.1:{port}")
    with pytest.raises(UpstreamError) as caught:
        await provider.answer(question(), cup)
    assert caught.value.kind == "upstream_unreachable"
    assert [e.reason for e in cup.events if isinstance(e, Attempt)] == ["start", "retry"]


def test_nothing_is_tried_again_once_content_has_passed() -> None:
    busy = b'data: {"error": {"message": "no more memory", "status": 503}}\n\n'

    async def main() -> None:
        cup = Cup()
        async with Upstream(streams(busy), streams(chat("half"), busy)) as up:
            with pytest.raises(UpstreamError, match="no more memory"):
                await host(up.url, retries=5).answer(question(), cup)
        assert cup.text == "half"
        assert len(up.calls) == 2

    virtually(main())


async def test_cancelling_closes_the_connection_and_the_pause_between_tries() -> None:
    async with Upstream(silent) as up:
        task = asyncio.create_task(host(up.url).answer(question(), Cup()))
        await up.asked()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        await up.calls[0].gone.wait()
    async with Upstream(refuses(503, retry_after="5")) as up:
        cup = Cup()
        task = asyncio.create_task(host(up.url).answer(question(), cup))
        await up.asked()
        await up.until(lambda: not up.open)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert len(up.calls) == 1


async def test_the_key_is_shown_nowhere() -> None:
    async with Upstream(refuses(401, {"error": {"message": f"wrong key: {KEY}!"}})) as up:
        provider = host(up.url, headers={"Authorization": f"Bearer {KEY}"})
        with pytest.raises(UpstreamError) as caught:
            await provider.answer(question(), Cup())
    assert KEY not in caught.value.message
    assert "wrong key: ***" in caught.value.message
    assert KEY not in repr(provider)


async def test_models_are_what_the_host_lists_and_are_asked_for_once() -> None:
    async with Upstream(refuses(200, {"data": [{"id": "a", "created": 5}, {"id": "b"}]})) as up:
        provider = host(up.url, prefix="mine/", note="because")
        first, second = await asyncio.gather(provider.models(), provider.models())
        await provider.close()
    assert [(m.id, m.provider, m.created, m.note) for m in first] == [
        ("mine/a", "mine", 5, "because"),
        ("mine/b", "mine", 0, "because"),
    ]
    assert list(second) == list(first)
    assert [call.path for call in up.calls] == ["/v1/models"]


async def test_models_that_are_configured_are_not_asked_for() -> None:
    provider = host("http://nowhere.invalid", models=["a"], aliases={"fast": "a-small"})
    assert [m.id for m in await provider.models()] == ["fast", "a"]
    assert provider.upstream("fast") == "a-small"
    assert provider.upstream("a") == "a"


@pytest.mark.parametrize("script", [refuses(500), refuses(200, b"<html>"), refuses(200, {"models": []})])
async def test_a_host_that_lists_nothing_offers_nothing(script: Any) -> None:
    async with Upstream(script) as up:
        provider = host(up.url)
        assert list(await provider.models()) == []
        await provider.close()


# Hosts found without being configured


async def test_a_model_server_on_its_usual_port_is_found() -> None:
    async with Upstream(refuses(200, {"data": [{"id": "llama3"}]})) as up, Upstream(refuses(404)) as other:
        ports = {"ollama": up.port, "vllm": other.port}
        found = await discover({}, listed, {}, {}, ports=ports)
        assert await discover({}, listed, {}, {}, ports=ports, own_ports=[up.port]) == []
    assert [(f.name, f.base_url, f.models) for f in found] == [("ollama", f"{up.url}/v1", ["llama3"])]
    assert found[0].why == f"found on port {up.port}, where Ollama listens"


async def test_a_tidewire_is_never_offered_to_itself() -> None:
    async with Upstream(refuses(200, {"data": [{"id": "x"}]}, server="tidewire/1.0")) as up:
        assert await discover({}, listed, {}, {}, ports={"vllm": up.port}) == []


def test_servers_that_say_nothing_cost_one_deadline_together() -> None:
    async def main() -> None:
        async with Upstream(silent) as a, Upstream(silent) as b:
            assert await discover({}, listed, {}, {}, ports={"ollama": a.port, "vllm": b.port, "lmstudio": 9}) == []
            assert asyncio.get_running_loop().time() < 0.4

    virtually(main())


async def test_openai_is_on_offer_where_its_key_is_set() -> None:
    (found,) = await discover(
        {"OPENAI_API_KEY": KEY}, listed, {"openai": ("OPENAI_API_KEY", "https://api.openai.com/v1")}, {}, ports={}
    )
    assert (found.name, found.base_url, found.key_env) == ("openai", "https://api.openai.com/v1", "OPENAI_API_KEY")
    assert KEY not in found.why


def test_a_silent_host_times_out_by_its_own_setting() -> None:
    async def main() -> None:
        async with Upstream(silent) as up:
            provider = host(up.url, timeouts=Timeouts(header=7))
            with pytest.raises(TimedOut, match=r"7 s.*header_s"):
                await provider.answer(question(), Cup())
            assert len(up.calls) == 1

    virtually(main())


@pytest.mark.parametrize("script", [silent, stall_after_headers])
def test_no_time_of_a_host_is_longer_than_what_is_left_of_the_request(script: Any) -> None:
    async def main() -> None:
        async with Upstream(script) as up:
            provider = host(up.url, timeouts=Timeouts(header=7, first_token=7))
            provider.host.clock = asyncio.get_running_loop().time
            with pytest.raises(TimedOut, match="raise time_limit") as told:
                await provider.answer(question(deadline=2.0), Cup())
            assert told.value.kind == "time_limit"
            assert asyncio.get_running_loop().time() == pytest.approx(2.0, abs=0.01)
            assert len(up.calls) == 1

    virtually(main())


async def test_a_connection_is_waited_for_no_longer_than_the_request_lasts() -> None:
    async with unaccepted() as url:
        provider = host(url)
        with pytest.raises(TimedOut, match="raise time_limit"):
            await provider.answer(question(deadline=provider.host.clock() + 0.05), Cup())


def test_a_host_is_not_waited_for_whose_pause_is_longer_than_the_request_lasts() -> None:
    async def main() -> None:
        async with Upstream(refuses(503, retry_after="3"), says("ok")) as up:
            provider = host(up.url)
            provider.host.clock = asyncio.get_running_loop().time
            with pytest.raises(UpstreamError) as told:
                await provider.answer(question(deadline=2.0), Cup())
            assert told.value.upstream_status == 503
            assert asyncio.get_running_loop().time() < 1
            assert len(up.calls) == 1

    virtually(main())


async def test_a_long_answer_goes_by_whole() -> None:
    cup = Cup()
    async with Upstream(says(*["word "] * 500)) as up:
        provider = host(up.url)
        await provider.answer(question(), cup)
        await provider.close()
    assert cup.text == "word " * 500
