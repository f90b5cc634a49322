"""The official `anthropic` client, unmodified, on our Messages. The words come from the simulated provider, or from a scripted host."""

from __future__ import annotations

import asyncio
import json

import anthropic
import httpx
import pytest

from serving import serving
from tidewire.server.settings import Provider, Server
from upstream import Call, Upstream, streams

FAST = "sim: tokens=30 ttft_ms=0 interval_ms=0"
SLOW = "sim: tokens=2000 ttft_ms=0 interval_ms=5"
TOOL = {"name": "look_up", "description": "looks it up", "input_schema": {"type": "object"}}


@pytest.fixture
async def client(server_url):
    async with asking(server_url) as client:
        yield client


def asking(url, key="none"):
    return anthropic.AsyncAnthropic(base_url=url, api_key=key, max_retries=0)


def fields(said=FAST, **more):
    return {"model": "simulated", "max_tokens": 4000, "messages": [{"role": "user", "content": said}]} | more


async def test_a_message_comes_whole(client):
    message = await client.messages.create(**fields())
    [block] = message.content
    assert block.text.startswith("A river")
    assert len(block.text.split()) == 30
    assert (message.stop_reason, message.usage.output_tokens, message.role) == ("end_turn", 30, "assistant")
    assert message.id == message._request_id


async def test_a_message_is_streamed_and_says_the_same(client):
    whole = await client.messages.create(**fields())
    events = [event async for event in await client.messages.create(**fields(), stream=True)]
    assert [e.type for e in events[:2]] == ["message_start", "content_block_start"]
    assert [e.type for e in events[-3:]] == ["content_block_stop", "message_delta", "message_stop"]
    assert "".join(e.delta.text for e in events if e.type == "content_block_delta") == whole.content[0].text
    assert events[-2].usage.output_tokens == 30


async def test_the_streaming_helper_accumulates_text_thoughts_and_calls(client):
    said = "sim: tokens=4 thinking=3 tool=look_up,look_up ttft_ms=0 interval_ms=0"
    async with client.messages.stream(**fields(said, tools=[TOOL])) as stream:
        kinds = {event.type async for event in stream}
        final = await stream.get_final_message()
    assert [b.type for b in final.content] == ["thinking", "text", "tool_use", "tool_use"]
    assert final.content[0].thinking.startswith("First")
    assert final.content[2].input == {"place": "Paris", "unit": "celsius"}
    assert final.stop_reason == "tool_use"
    assert {"text", "thinking", "input_json"} <= kinds
    whole = await client.messages.create(**fields(said, tools=[TOOL]))
    plain = [{k: v for k, v in b.model_dump().items() if k != "id"} for b in final.content]
    assert [{k: v for k, v in b.model_dump().items() if k != "id"} for b in whole.content] == plain


async def test_the_synchronous_client_reads_it_too(server_url):
    def read():
        with anthropic.Anthropic(base_url=server_url, api_key="none", max_retries=0) as client:
            with client.messages.stream(**fields()) as stream:
                text = "".join(stream.text_stream)
            return text, client.messages.create(**fields()).content[0].text

    streamed, whole = await asyncio.to_thread(read)
    assert streamed == whole
    assert len(whole.split()) == 30


async def test_a_tool_is_called_and_answered(client):
    first = await client.messages.create(**fields("sim: tool=look_up ttft_ms=0 interval_ms=0", tools=[TOOL]))
    [call] = [b for b in first.content if b.type == "tool_use"]
    result = {"type": "tool_result", "tool_use_id": call.id, "content": "42"}
    turns = [
        {"role": "user", "content": FAST},
        {"role": "assistant", "content": first.content},
        {"role": "user", "content": [result, {"type": "text", "text": FAST}]},
    ]
    second = await client.messages.create(**fields(messages=turns, tools=[TOOL], system="Be brief."))
    assert second.content[0].text


async def test_limits_and_stop_sequences_are_kept(client):
    limited = await client.messages.create(**fields(max_tokens=5))
    assert (limited.stop_reason, len(limited.content[0].text.split())) == ("max_tokens", 5)
    stopped = await client.messages.create(**fields(stop_sequences=["yet"]))
    assert (stopped.stop_reason, stopped.stop_sequence) == ("stop_sequence", "yet")
    assert stopped.content[0].text.strip() == "A river does not hurry, and"


@pytest.mark.parametrize(
    ("error", "kind", "status"),
    [
        ("overloaded", anthropic.RateLimitError, 429),
        ("unavailable", anthropic.InternalServerError, 502),
        ("cut", anthropic.InternalServerError, 502),
        ("defect", anthropic.InternalServerError, 500),
    ],
)
@pytest.mark.parametrize("stream", [False, True])
async def test_an_error_before_the_first_word_is_a_status(client, error, kind, status, stream):
    with pytest.raises(kind) as caught:
        await client.messages.create(**fields(f"sim: error={error} ttft_ms=0"), stream=stream)
    assert caught.value.status_code == status
    assert caught.value.type in ("rate_limit_error", "api_error")
    assert caught.value.api_message
    assert caught.value.error_code


async def test_an_error_after_the_first_word_is_raised_from_the_stream(client):
    stream = await client.messages.create(
        **fields("sim: tokens=9 fail_after=3 error=cut ttft_ms=0 interval_ms=1"), stream=True
    )
    seen = []

    async def read():
        async for event in stream:
            seen.append(event.delta.text if event.type == "content_block_delta" else "")

    with pytest.raises(anthropic.APIStatusError) as caught:
        await read()
    assert caught.value.type == "api_error"
    assert "closed the connection" in caught.value.api_message
    assert len("".join(seen).split()) == 3


@pytest.mark.parametrize(
    ("more", "kind"),
    [
        ({"model": "none"}, anthropic.NotFoundError),
        ({"messages": []}, anthropic.BadRequestError),
        ({"max_tokens": 0}, anthropic.BadRequestError),
        ({"tools": [{"type": "web_search_20250305", "name": "web_search"}]}, anthropic.BadRequestError),
    ],
)
async def test_what_cannot_be_done_is_raised_with_its_field(client, more, kind):
    with pytest.raises(kind) as caught:
        await client.messages.create(**fields(**more))
    assert caught.value.body["error"]["details"]["param"].startswith(next(iter(more)))


async def test_a_stream_that_is_closed_stops_the_answer(client, server_url):
    stream = await client.messages.create(**fields(SLOW), stream=True)
    async for event in stream:
        if event.type == "message_start":
            name = event.message.id
        if event.type == "content_block_delta":
            break
    await stream.close()
    async with httpx.AsyncClient(base_url=server_url) as http, asyncio.timeout(30):
        while (await http.get(f"/v1/streams/{name}")).json().get("ended") is None:
            await asyncio.sleep(0.005)
        document = (await http.get(f"/v1/streams/{name}/events?as=json")).json()
    assert (document["status"], document["reason"]) == ("cancelled", "disconnect")


async def test_tokens_are_estimated_and_the_answer_says_so(client):
    asked = {"model": "simulated", "messages": [{"role": "user", "content": "x" * 400}]}
    raw = await client.messages.with_raw_response.count_tokens(**asked, tools=[TOOL], system="y" * 40)
    counted = await raw.parse()
    assert raw.headers["x-tidewire-estimate"] == "characters/4"
    assert 110 < counted.input_tokens < 150


async def test_the_models_are_listed(client):
    assert "simulated" in [m.id async for m in client.models.list()]


async def test_the_key_is_taken_as_the_client_sends_it(tmp_path):
    async with serving(tmp_path, server=Server(api_key="secret")) as tidewire:
        async with asking(tidewire.url, "secret") as client:
            assert (await client.messages.create(**fields())).content
        async with asking(tidewire.url, "wrong") as client:
            with pytest.raises(anthropic.AuthenticationError) as caught:
                await client.messages.create(**fields())
        assert caught.value.type == "authentication_error"
        status, _, _ = await tidewire.ask("POST", "/v1/messages", fields(), x_api_key="secret")
        assert status == 200


def event(kind: str, **more) -> bytes:
    return f"event: {kind}\ndata: {json.dumps({'type': kind} | more)}\n\n".encode()


def block(index: int, start: dict, *deltas: dict) -> bytes:
    pieces = [event("content_block_delta", index=index, delta=d) for d in deltas]
    begin = event("content_block_start", index=index, content_block=start)
    return begin + b"".join(pieces) + event("content_block_stop", index=index)


USAGE = {"input_tokens": 3, "cache_read_input_tokens": 20, "cache_creation_input_tokens": 7, "output_tokens": 9}
CITED = {
    "type": "web_search_result_location",
    "url": "https://a.example",
    "title": "A",
    "cited_text": "T",
    "encrypted_index": "",
}
HOST = streams(
    event("message_start", message={"id": "msg_1", "usage": USAGE | {"output_tokens": 1}}),
    block(
        0,
        {"type": "thinking", "thinking": "", "signature": ""},
        {"type": "thinking_delta", "thinking": "hm"},
        {"type": "signature_delta", "signature": "EqoB"},
    ),
    block(1, {"type": "redacted_thinking", "data": "EmwK"}),
    block(
        2,
        {"type": "text", "text": ""},
        {"type": "text_delta", "text": "So."},
        {"type": "citations_delta", "citation": CITED},
    ),
    block(3, {"type": "tool_use", "id": "toolu_1", "name": "look_up", "input": {}}),
    event(
        "message_delta",
        delta={"stop_reason": "tool_use"},
        usage=USAGE | {"output_tokens_details": {"thinking_tokens": 4}},
    ),
    event("message_stop"),
)


async def test_from_an_anthropic_host_every_block_comes_through_and_goes_back(tmp_path):
    async with Upstream(HOST) as host:
        far = Provider(kind="anthropic", base_url=host.url, models=["m"], retries=0)
        async with serving(tmp_path, providers={"far": far}) as tidewire, asking(tidewire.url) as client:
            asked = fields("Hello?", model="far/m", tools=[TOOL], thinking={"type": "enabled", "budget_tokens": 1024})
            async with client.messages.stream(**asked) as stream:
                final = await stream.get_final_message()
            turns = [
                *asked["messages"],
                {"role": "assistant", "content": final.content},
                {"role": "user", "content": [{"type": "tool_result", "tool_use_id": "toolu_1", "is_error": True}]},
            ]
            again = await client.messages.create(**asked | {"messages": turns})
        first, second = (call.json for call in host.calls)
    assert [b.type for b in final.content] == ["thinking", "redacted_thinking", "text", "tool_use"]
    assert [b.model_dump() for b in again.content] == [b.model_dump() for b in final.content]
    thought, hidden, text, call = final.content
    assert (thought.thinking, thought.signature, hidden.data) == ("hm", "EqoB", "EmwK")
    assert (text.citations[0].url, call.input) == ("https://a.example", {})
    usage = final.usage
    assert (usage.input_tokens, usage.cache_read_input_tokens, usage.cache_creation_input_tokens) == (3, 20, 7)
    assert (usage.output_tokens, usage.output_tokens_details.thinking_tokens) == (9, 4)
    assert first["thinking"] == {"type": "enabled", "budget_tokens": 1024}
    assert second["messages"][1]["content"] == [
        {"type": "thinking", "thinking": "hm", "signature": "EqoB"},
        {"type": "redacted_thinking", "data": "EmwK"},
        {"type": "text", "text": "So."},
        {"type": "tool_use", "id": "toolu_1", "name": "look_up", "input": {}},
    ]
    assert second["messages"][2]["content"] == [{"type": "tool_result", "tool_use_id": "toolu_1", "is_error": True}]


async def test_a_client_that_leaves_lets_go_of_the_anthropic_host(tmp_path):
    async def script(call: Call) -> None:
        call.head()
        call.chunk(event("message_start", message={"id": "msg_1"}))
        call.chunk(event("content_block_start", index=0, content_block={"type": "text", "text": "one"}))
        await call.stall()

    async with Upstream(script) as host:
        far = Provider(kind="anthropic", base_url=host.url, models=["m"], retries=0)
        async with serving(tmp_path, providers={"far": far}) as tidewire, asking(tidewire.url) as client:
            async with client.messages.stream(**fields("Hello?", model="far/m")) as stream:
                async for said in stream.text_stream:
                    assert said == "one"
                    break
            async with asyncio.timeout(30):
                await host.calls[0].gone.wait()
