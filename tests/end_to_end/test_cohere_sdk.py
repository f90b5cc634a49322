"""The official `cohere` client, unmodified, on Chat v2. The words come from the simulated provider."""

from __future__ import annotations

import asyncio

import cohere
import httpx
import pytest
from cohere.core.api_error import ApiError

from serving import serving
from tidewire.server.settings import Streams

FAST = "sim: tokens=30 ttft_ms=0 interval_ms=0"
SLOW = "sim: tokens=2000 ttft_ms=0 interval_ms=5"
TOOL = {"type": "function", "function": {"name": "look_up", "description": "Looks", "parameters": {"type": "object"}}}


@pytest.fixture
async def client(server_url):
    async with httpx.AsyncClient() as http:
        yield cohere.AsyncClientV2(api_key="none", base_url=server_url, httpx_client=http, max_retries=0)


def asking(said: str = FAST, **more) -> dict:
    return {"model": "simulated", "messages": [{"role": "user", "content": said}]} | more


async def streamed(client, said: str = FAST, **more) -> list:
    return [event async for event in client.chat_stream(**asking(said, **more))]


def text_of(events, field: str = "text") -> str:
    deltas = [e.delta.message.content for e in events if e.type == "content-delta"]
    return "".join(getattr(delta, field) or "" for delta in deltas)


async def test_an_answer_comes_whole(client):
    answer = await client.chat(**asking())
    [content] = answer.message.content
    assert content.type == "text"
    assert content.text.startswith("A river")
    assert len(content.text.split()) == 30
    assert (answer.finish_reason, answer.usage.tokens.output_tokens) == ("COMPLETE", 30)
    assert answer.id


async def test_an_answer_is_streamed_and_says_the_same(client):
    whole = await client.chat(**asking())
    events = await streamed(client)
    assert text_of(events) == whole.message.content[0].text
    kinds = [e.type for e in events]
    assert kinds[:2] == ["message-start", "content-start"]
    assert kinds[-2:] == ["content-end", "message-end"]
    assert events[0].id
    assert events[-1].delta.finish_reason == "COMPLETE"
    assert events[-1].delta.usage.tokens.output_tokens == 30


async def test_the_plain_client_reads_it_too(server_url):
    def read() -> str:
        with httpx.Client() as http:
            client = cohere.ClientV2(api_key="none", base_url=server_url, httpx_client=http, max_retries=0)
            assert client.chat(**asking()).finish_reason == "COMPLETE"
            return text_of(client.chat_stream(**asking()))

    assert (await asyncio.to_thread(read)).startswith("A river")


async def test_tools_are_called_and_their_results_come_back(client):
    said = "sim: tokens=4 tool=look_up,look_up ttft_ms=0 interval_ms=0"
    answer = await client.chat(**asking(said, tools=[TOOL]))
    assert answer.finish_reason == "TOOL_CALL"
    assert [call.function.name for call in answer.message.tool_calls] == ["look_up", "look_up"]
    events = await streamed(client, said, tools=[TOOL])
    starts = [e for e in events if e.type == "tool-call-start"]
    assert [(e.index, e.delta.message.tool_calls.function.name) for e in starts] == [(0, "look_up"), (1, "look_up")]
    for index in (0, 1):
        pieces = [e for e in events if e.type == "tool-call-delta" and e.index == index]
        arguments = "".join(e.delta.message.tool_calls.function.arguments for e in pieces)
        assert (
            arguments == answer.message.tool_calls[index].function.arguments == '{"place": "Paris", "unit": "celsius"}'
        )
    assert events[-1].delta.finish_reason == "TOOL_CALL"
    results = [{"role": "tool", "tool_call_id": call.id, "content": "sunny"} for call in answer.message.tool_calls]
    messages = [{"role": "user", "content": FAST}, answer.message, *results]
    again = await client.chat(model="simulated", messages=messages)
    assert again.finish_reason == "COMPLETE"


async def test_thoughts_are_a_content_of_their_own(client):
    said = "sim: tokens=3 thinking=4 ttft_ms=0 interval_ms=0"
    events = await streamed(client, said, thinking={"type": "enabled", "token_budget": 100})
    assert text_of(events, "thinking").startswith("First the question")
    whole = await client.chat(**asking(said))
    assert [c.type for c in whole.message.content] == ["thinking", "text"]
    assert whole.message.content[0].thinking == text_of(events, "thinking")


async def test_limits_and_stop_strings_are_kept(client):
    limited = await client.chat(**asking(max_tokens=5))
    assert (limited.finish_reason, len(limited.message.content[0].text.split())) == ("MAX_TOKENS", 5)
    stopped = await client.chat(**asking(stop_sequences=["yet"]))
    assert stopped.finish_reason == "STOP_SEQUENCE"
    assert stopped.message.content[0].text.strip() == "A river does not hurry, and"


@pytest.mark.parametrize(
    ("error", "status"), [("overloaded", 429), ("unavailable", 502), ("cut", 502), ("defect", 500)]
)
@pytest.mark.parametrize("stream", [False, True])
async def test_an_error_before_the_first_word_is_a_status(client, error, status, stream):
    said = f"sim: error={error} ttft_ms=0"
    with pytest.raises(ApiError) as caught:
        await (streamed(client, said) if stream else client.chat(**asking(said)))
    assert caught.value.status_code == status
    assert caught.value.body["message"]


async def test_an_error_after_the_first_word_ends_the_message(client):
    events = await streamed(client, "sim: tokens=9 fail_after=3 error=cut ttft_ms=0 interval_ms=1")
    assert len(text_of(events).split()) == 3
    assert events[-1].type == "message-end"
    assert events[-1].delta.finish_reason == "ERROR"
    assert "closed the connection" in events[-1].delta.error


@pytest.mark.parametrize(
    ("more", "kind"),
    [
        ({"model": "none"}, cohere.NotFoundError),
        ({"messages": []}, cohere.BadRequestError),
        ({"max_tokens": 0}, cohere.BadRequestError),
    ],
)
async def test_what_cannot_be_done_is_raised(client, more, kind):
    with pytest.raises(kind) as caught:
        await client.chat(**(asking() | more))
    assert next(iter(more)) in caught.value.body["message"]


async def test_a_stream_that_is_closed_stops_the_answer(client, server_url):
    stream = client.chat_stream(**asking(SLOW))
    identity = ""
    async for event in stream:
        identity = identity or event.id
        if event.type == "content-delta":
            break
    await stream.aclose()
    async with httpx.AsyncClient(base_url=server_url) as http, asyncio.timeout(30):
        while (await http.get(f"/v1/streams/{identity}")).json().get("ended") is None:
            await asyncio.sleep(0.005)
        document = (await http.get(f"/v1/streams/{identity}/events?as=json")).json()
    assert (document["status"], document["reason"]) == ("cancelled", "disconnect")


async def test_a_heartbeat_in_a_silence_is_no_event(tmp_path, monkeypatch):
    monkeypatch.setattr("tidewire.server.app.TICK", 0.05)  # what is a second for heartbeats
    async with serving(tmp_path, streams=Streams(heartbeat_s=1)) as tidewire, httpx.AsyncClient() as http:
        client = cohere.AsyncClientV2(api_key="none", base_url=tidewire.url, httpx_client=http, max_retries=0)
        events = await streamed(client, "sim: tokens=3 ttft_ms=500 interval_ms=0")
    assert [e.type for e in events].count("message-start") == 1
    assert len(text_of(events).split()) == 3
