"""The official `openai` client, unmodified, on Chat Completions. The words come from the simulated provider."""

from __future__ import annotations

import asyncio

import httpx
import openai
import pytest

FAST = "sim: tokens=30 ttft_ms=0 interval_ms=0"
SLOW = "sim: tokens=2000 ttft_ms=0 interval_ms=5"
TOOL = {"type": "function", "function": {"name": "look_up", "parameters": {"type": "object"}}}


@pytest.fixture
async def client(server_url):
    async with openai.AsyncOpenAI(base_url=f"{server_url}/v1", api_key="none", max_retries=0) as client:
        yield client


def ask(client, said=FAST, **more):
    return client.chat.completions.create(model="simulated", messages=[{"role": "user", "content": said}], **more)


async def test_an_answer_comes_whole(client):
    answer = await ask(client)
    [choice] = answer.choices
    assert choice.message.content.startswith("A river")
    assert len(choice.message.content.split()) == 30
    assert (choice.finish_reason, answer.usage.completion_tokens) == ("stop", 30)
    assert answer.usage.total_tokens == answer.usage.prompt_tokens + 30


@pytest.mark.parametrize("usage", [False, True])
async def test_an_answer_is_streamed_and_says_the_same(client, usage):
    whole = await ask(client)
    more = {"stream_options": {"include_usage": True}} if usage else {}
    chunks = [chunk async for chunk in await ask(client, stream=True, **more)]
    text = "".join(c.choices[0].delta.content or "" for c in chunks if c.choices)
    assert text == whole.choices[0].message.content
    assert chunks[0].choices[0].delta.role == "assistant"
    assert [c.choices[0].finish_reason for c in chunks if c.choices and c.choices[0].finish_reason] == ["stop"]
    counted = [c.usage for c in chunks if c.usage]
    assert [u.completion_tokens for u in counted] == ([30] if usage else [])
    assert len({c.id for c in chunks}) == 1


async def test_the_streaming_helper_accumulates_text_and_tools(client):
    said = "sim: tokens=4 tool=look_up,look_up ttft_ms=0 interval_ms=0"
    messages = [{"role": "user", "content": said}]
    async with client.chat.completions.stream(model="simulated", messages=messages, tools=[TOOL]) as stream:
        kinds = {event.type async for event in stream}
        final = await stream.get_final_completion()
    message = final.choices[0].message
    assert message.content.startswith("A river")
    assert [c.function.name for c in message.tool_calls] == ["look_up", "look_up"]
    assert message.tool_calls[0].function.parsed_arguments or message.tool_calls[0].function.arguments.startswith("{")
    assert final.choices[0].finish_reason == "tool_calls"
    assert {"content.delta", "tool_calls.function.arguments.delta"} <= kinds


async def test_a_tool_is_called_and_answered(client):
    first = await ask(client, "sim: tool=look_up ttft_ms=0 interval_ms=0", tools=[TOOL])
    message = first.choices[0].message
    [call] = message.tool_calls
    second = await client.chat.completions.create(
        model="simulated",
        messages=[
            {"role": "user", "content": FAST},
            message.model_dump(exclude_none=True),
            {"role": "tool", "tool_call_id": call.id, "content": "42"},
        ],
        tools=[TOOL],
    )
    assert second.choices[0].message.content


async def test_thoughts_stand_beside_the_text(client):
    chunks = [c async for c in await ask(client, "sim: tokens=3 thinking=4 ttft_ms=0 interval_ms=0", stream=True)]
    thought = "".join(getattr(c.choices[0].delta, "reasoning_content", None) or "" for c in chunks)
    assert thought.startswith("First the question")
    whole = await ask(client, "sim: tokens=3 thinking=4 ttft_ms=0 interval_ms=0")
    assert whole.choices[0].message.reasoning_content == thought


async def test_limits_and_stop_strings_are_kept(client):
    limited = await ask(client, max_tokens=5)
    assert (limited.choices[0].finish_reason, len(limited.choices[0].message.content.split())) == ("length", 5)
    stopped = await ask(client, stop=["yet"])
    assert (stopped.choices[0].finish_reason, stopped.choices[0].message.content.strip()) == (
        "stop",
        "A river does not hurry, and",
    )


@pytest.mark.parametrize(
    ("error", "kind", "status"),
    [
        ("overloaded", openai.RateLimitError, 429),
        ("unavailable", openai.InternalServerError, 502),
        ("cut", openai.InternalServerError, 502),
        ("defect", openai.InternalServerError, 500),
    ],
)
@pytest.mark.parametrize("stream", [False, True])
async def test_an_error_before_the_first_word_is_a_status(client, error, kind, status, stream):
    with pytest.raises(kind) as caught:
        await ask(client, f"sim: error={error} ttft_ms=0", stream=stream)
    assert caught.value.status_code == status
    assert caught.value.body["message"]


async def test_an_error_after_the_first_word_is_raised_from_the_stream(client):
    stream = await ask(client, "sim: tokens=9 fail_after=3 error=cut ttft_ms=0 interval_ms=1", stream=True)
    seen = []

    async def read():
        async for chunk in stream:
            seen.append(chunk.choices[0].delta.content or "")

    with pytest.raises(openai.APIError) as caught:
        await read()
    assert "closed the connection" in caught.value.message
    assert len("".join(seen).split()) == 3


async def test_an_error_after_the_first_word_of_a_whole_answer_is_a_status(client):
    with pytest.raises(openai.InternalServerError) as caught:
        await ask(client, "sim: tokens=9 fail_after=3 error=cut ttft_ms=0 interval_ms=0")
    assert caught.value.status_code == 502


@pytest.mark.parametrize(
    ("more", "kind"),
    [
        ({"model": "none"}, openai.NotFoundError),
        ({"messages": []}, openai.BadRequestError),
        ({"n": 3}, openai.BadRequestError),
        ({"max_tokens": 0}, openai.BadRequestError),
    ],
)
async def test_what_cannot_be_done_is_raised_with_its_field(client, more, kind):
    fields = {"model": "simulated", "messages": [{"role": "user", "content": FAST}]} | more
    with pytest.raises(kind) as caught:
        await client.chat.completions.create(**fields)
    assert caught.value.param == next(iter(more))


async def test_a_stream_that_is_closed_stops_the_answer(client, server_url):
    stream = await ask(client, SLOW, stream=True)
    async for chunk in stream:
        if chunk.choices[0].delta.content:
            break
    await stream.close()
    async with httpx.AsyncClient(base_url=server_url) as http, asyncio.timeout(30):
        while (await http.get(f"/v1/streams/{chunk.id}")).json().get("ended") is None:
            await asyncio.sleep(0.005)
        document = (await http.get(f"/v1/streams/{chunk.id}/events?as=json")).json()
    assert (document["status"], document["reason"]) == ("cancelled", "disconnect")


async def test_the_models_are_listed(client):
    models = [m.id async for m in await client.models.list()]
    assert "simulated" in models
    assert (await client.models.retrieve("simulated")).id == "simulated"
    with pytest.raises(openai.NotFoundError):
        await client.models.retrieve("none")
