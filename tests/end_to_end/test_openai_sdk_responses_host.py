"""The official `openai` client, unmodified, against our server, with a scripted Responses host behind it."""

from __future__ import annotations

import asyncio
import base64
import json

import openai
import pytest
from pydantic import BaseModel

from matrix.cases import CALLS, CASES, ERROR, SCHEMA, TOOL, USAGE
from matrix.hosts import openai_responses as scripted
from serving import eventually, serving
from tidewire.server.settings import Provider
from upstream import Call, Upstream

MODEL = "far/m"
FUNCTION = {"type": "function", "strict": False, **TOOL}


class Host:
    """Answers with one case of the matrix after another; images where they are asked for. stall: says half of the answer, and no more."""

    def __init__(self, *cases: str, stall: bool = False) -> None:
        self.cases = list(cases)
        self.stall = stall

    async def __call__(self, call: Call) -> None:
        if call.path.endswith("/cancel"):
            call.head(200, length=2, content_type="application/json")
            call.raw(b"{}")
        elif call.path.endswith("/images/generations"):
            self.draw(call)
        else:
            reply = scripted.reply(self.cases.pop(0))
            call.head(reply.status, **{k.replace("-", "_"): v for k, v in reply.headers.items()})
            if self.stall:
                call.chunk(reply.body[: reply.body.index(b"Good")])
                await call.stall()
            call.chunk(reply.body)
            call.end()

    def draw(self, call: Call) -> None:
        usage = {"input_tokens": 3, "output_tokens": 5, "total_tokens": 8}
        images = [base64.b64encode(b"\x89PNG" + bytes([n])).decode() for n in range(3)]
        if not call.json.get("stream"):
            document = {"created": 1, "data": [{"b64_json": images[0]}, {"b64_json": images[1]}], "usage": usage}
            body = json.dumps(document).encode()
            call.head(200, length=len(body), content_type="application/json")
            call.raw(body)
            return
        call.head()
        for n, image in enumerate(images):
            kind = "image_generation." + ("partial_image" if n < 2 else "completed")
            event = {"type": kind, "b64_json": image, "partial_image_index": n, "output_format": "png"}
            call.chunk(f"event: {kind}\ndata: {json.dumps(event | {'usage': usage})}\n\n".encode())
        call.end()


@pytest.fixture
async def speaking(tmp_path):
    """speaking(*cases): a client of our server; its host, and what the host was asked, are beside it."""
    async with asyncio.TaskGroup() as group:
        over = asyncio.Event()

        async def open_house(ready, host, **given):
            async with Upstream(host) as far:
                provider = Provider(kind="openai-responses", base_url=f"{far.url}/v1", models=["m"], retries=0, **given)
                async with (
                    serving(tmp_path, providers={"far": provider}) as tidewire,
                    openai.AsyncOpenAI(base_url=f"{tidewire.url}/v1", api_key="none", max_retries=0) as client,
                ):
                    ready.set_result((client, far, tidewire))
                    await over.wait()

        async def speak(*cases, stall=False, **given):
            ready = asyncio.get_running_loop().create_future()
            group.create_task(open_house(ready, Host(*cases, stall=stall), **given))
            return await ready

        yield speak
        over.set()


async def test_a_text_comes_whole_and_streamed(speaking):
    client, far, _ = await speaking("text", "text")
    whole = await client.responses.create(model=MODEL, input="Hello?")
    assert whole.output_text == CASES["text"].text
    assert whole.usage.input_tokens == USAGE.input
    assert whole.usage.input_tokens_details.cached_tokens == USAGE.cached
    stream = await client.responses.create(model=MODEL, input="Hello?", stream=True)
    assert "".join([e.delta async for e in stream if e.type == "response.output_text.delta"]) == whole.output_text
    assert far.calls[0].path == "/v1/responses"


async def test_tools_thoughts_and_a_second_turn(speaking):
    client, far, _ = await speaking("thinking", "parallel_tool_calls", "text")
    asked = {"model": MODEL, "tools": [FUNCTION], "store": False}
    first = await client.responses.create(
        input="Think.", reasoning={"effort": "low", "summary": "auto"}, include=["reasoning.encrypted_content"], **asked
    )
    assert [item.type for item in first.output] == ["reasoning", "message"]
    assert first.output[0].content[0].text == CASES["thinking"].thinking
    assert first.output[0].encrypted_content == "gAAAAAB-sealed"
    async with client.responses.stream(input=[{"role": "user", "content": "Think."}, *first.output], **asked) as stream:
        second = await stream.get_final_response()
    calls = [(item.name, json.loads(item.arguments)) for item in second.output]
    assert calls == list(CALLS)
    results = [{"type": "function_call_output", "call_id": i.call_id, "output": "sunny"} for i in second.output]
    third = await client.responses.create(input=[*first.output, *second.output, *results], **asked)
    assert third.output_text == CASES["text"].text
    sent = far.calls[2].json["input"]
    assert [i["type"] for i in sent] == ["reasoning", "message", *["function_call"] * 2, *["function_call_output"] * 2]
    assert sent[0]["encrypted_content"] == "gAAAAAB-sealed"
    assert sent[3]["call_id"] == sent[5]["call_id"] == second.output[1].call_id
    assert far.calls[0].json["include"] == ["reasoning.encrypted_content"]


async def test_structured_output_is_parsed(speaking):
    class Person(BaseModel):
        name: str
        age: int

    client, far, _ = await speaking("structured", "structured")
    parsed = await client.responses.parse(model=MODEL, input="Who?", text_format=Person)
    assert parsed.output_parsed == Person(name="Ada", age=36)
    async with client.responses.stream(model=MODEL, input="Who?", text_format=Person) as stream:
        assert (await stream.get_final_response()).output_parsed == Person(name="Ada", age=36)
    form = far.calls[0].json["text"]["format"]
    assert (form["type"], form["schema"]["required"]) == ("json_schema", SCHEMA["required"])


async def test_an_earlier_response_is_gone_on_from(speaking):
    client, far, _ = await speaking("text", "tool_call", "text", "text")
    first = await client.responses.create(model=MODEL, input="One?", instructions="Be brief.")
    second = await client.responses.create(model=MODEL, input="Two?", tools=[FUNCTION], previous_response_id=first.id)
    assert second.previous_response_id == first.id
    result = {"type": "function_call_output", "call_id": second.output[0].call_id, "output": "sunny"}
    third = await client.responses.create(
        model=MODEL, input=[result], instructions="In German.", previous_response_id=second.id
    )
    assert third.output_text
    sent = far.calls[2].json
    assert sent["instructions"] == "In German."
    assert [i["type"] for i in sent["input"]] == [*["message"] * 3, "function_call", "function_call_output"]
    assert [i["content"][0]["text"] for i in sent["input"][:3]] == ["One?", CASES["text"].text, "Two?"]
    assert "previous_response_id" not in sent


async def test_an_earlier_response_that_is_not_there_is_named(speaking):
    client, _, _ = await speaking("text")
    kept = await client.responses.create(model=MODEL, input="One?", store=False)
    for previous in ("resp_never", kept.id):
        with pytest.raises(openai.BadRequestError) as caught:
            await client.responses.create(model=MODEL, input="Two?", previous_response_id=previous)
        assert caught.value.param == "previous_response_id"


async def test_a_refusal_a_limit_and_failures_are_told(speaking):
    client, _, _ = await speaking("refusal", "length", "error_before", "error_after")
    refused = await client.responses.create(model=MODEL, input="Hello?")
    assert refused.output[0].content[0].refusal == "I can't help with that."
    assert refused.incomplete_details.reason == "content_filter"
    cut = await client.responses.create(model=MODEL, input="Hello?", max_output_tokens=16)
    assert cut.incomplete_details.reason == "max_output_tokens"
    with pytest.raises(openai.RateLimitError, match=ERROR):
        await client.responses.create(model=MODEL, input="Hello?")
    with pytest.raises(openai.APIError, match=ERROR):
        async for _ in await client.responses.create(model=MODEL, input="Hello?", stream=True):
            pass


async def test_chat_completions_are_answered_by_a_responses_host(speaking):
    client, far, _ = await speaking("tool_call")
    tools = [{"type": "function", "function": TOOL}]
    messages = [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "Hello?"}]
    got = await client.chat.completions.create(model=MODEL, messages=messages, tools=tools)
    assert got.choices[0].message.tool_calls[0].function.name == "get_weather"
    assert far.calls[0].json["instructions"] == "Be brief."


async def test_leaving_closes_the_connection_to_the_host(speaking):
    client, far, _ = await speaking("text", stall=True)
    stream = await client.responses.create(model=MODEL, input="Hello?", stream=True)
    async for event in stream:
        if event.type == "response.output_text.delta":
            break
    await stream.close()
    await eventually(far.calls[0].gone.is_set)
    assert len(far.calls) == 1


async def test_cancelling_an_answer_in_the_background_cancels_it_at_the_host(speaking):
    client, far, _ = await speaking("text", stall=True, background=True)
    stream = await client.responses.create(model=MODEL, input="Hello?", stream=True, background=True)
    async for event in stream:
        if event.type == "response.output_text.delta":
            break
    assert (
        await client.responses.cancel(event.item_id.replace("msg", "resp").rpartition("_")[0])
    ).status == "cancelled"
    await eventually(far.calls[0].gone.is_set)
    assert far.calls[-1].path == "/v1/responses/resp_1/cancel"
    await stream.close()


async def test_an_image_comes_whole_and_streamed(speaking):
    client, far, tidewire = await speaking()
    whole = await client.images.generate(model=MODEL, prompt="A cat", n=2, size="1024x1024")
    assert [base64.b64decode(i.b64_json) for i in whole.data] == [b"\x89PNG\0", b"\x89PNG\1"]
    assert whole.usage.total_tokens == 8
    stream = await client.images.generate(model=MODEL, prompt="A cat", stream=True, partial_images=2)
    events = [event async for event in stream]
    kinds = [e.type.removeprefix("image_generation.") for e in events]
    assert kinds == ["partial_image", "partial_image", "completed"]
    assert base64.b64decode(events[-1].b64_json) == b"\x89PNG\2"
    assert far.calls[1].json == {"model": "m", "prompt": "A cat", "stream": True, "partial_images": 2}
    status, _, body = await tidewire.ask("GET", "/v1/streams")
    assert status == 200
    [kept] = [s for s in json.loads(body)["streams"] if s["stream"] == stream.response.headers["x-tidewire-stream"]]
    status, _, body = await tidewire.ask("GET", f"/v1/streams/{kept['stream']}/events?as=ndjson")
    blobs = [json.loads(line) for line in body.split(b"\n") if b'"type":"blob"' in line]
    assert [base64.b64decode(b["data"]) for b in blobs] == [b"\x89PNG\0", b"\x89PNG\1", b"\x89PNG\2"]


async def test_a_model_that_makes_no_images_says_so(speaking):
    client, _, _ = await speaking()
    with pytest.raises(openai.APIStatusError) as caught:
        await client.images.generate(model="simulated", prompt="sim: tokens=3 ttft_ms=0 interval_ms=0")
    assert caught.value.code == "upstream_no_image"
