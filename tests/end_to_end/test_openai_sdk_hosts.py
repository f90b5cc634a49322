"""The official clients, unmodified, on what the simulated provider has no words for: the host is scripted, the rest is the real server.

`openai` with several choices, log probabilities, refusals and its streaming helper; `huggingface_hub`, streamed and whole.
"""

from __future__ import annotations

import asyncio
import json

import httpx
import openai
import pydantic
import pytest
from huggingface_hub import AsyncInferenceClient, InferenceClient
from huggingface_hub.errors import HfHubHTTPError, OverloadedError

from matrix.cases import CALLS, ERROR, PROMPT, SCHEMA, TOOL
from matrix.hosts import compatible, groq, llamacpp, vllm
from serving import serving
from tidewire.server.settings import Provider
from upstream import Call, Upstream

MESSAGES = [{"role": "user", "content": PROMPT}]
TOOLS = [{"type": "function", "function": TOOL | {"strict": True, "parameters": SCHEMA}}]


class Person(pydantic.BaseModel):
    name: str
    age: int


def replies(reply):
    async def script(call: Call) -> None:
        call.head(reply.status, **reply.headers)
        for at in range(0, len(reply.body), 100):
            call.chunk(reply.body[at : at + 100])
            await asyncio.sleep(0)
        call.end()

    return script


@pytest.fixture
async def asked(tmp_path):
    """asked(reply or script) gives the address of a server whose model far/m answers so, and the scripted host."""
    stack: list = []

    async def start(reply, kind="compatible"):
        far = Upstream(reply if callable(reply) else replies(reply))
        await far.__aenter__()
        stack.append(far)
        given = {"far": Provider(kind=kind, base_url=f"{far.url}/v1", models=["m"], retries=0)}
        running = serving(tmp_path, providers=given)
        served = await running.__aenter__()
        stack.append(running)
        return served.url, far

    yield start
    for context in reversed(stack):
        await context.__aexit__(None, None, None)


def sdk(url: str) -> openai.AsyncOpenAI:
    return openai.AsyncOpenAI(base_url=f"{url}/v1", api_key="none", max_retries=0)


def choice(index: int, delta: dict, finish: str | None = None, **more) -> dict:
    return {"index": index, "delta": delta, "finish_reason": finish, "logprobs": None} | more


def chunks(*choices: dict) -> compatible.Reply:
    made = [compatible.event(compatible.HEAD | {"choices": [one], "usage": None}) for one in choices]
    return compatible.streamed(*made, compatible.chunk(usage=compatible.COUNTED))


TOKEN = {"token": "A", "logprob": -0.5, "bytes": [65], "top_logprobs": [{"token": "B", "logprob": -1.0, "bytes": [66]}]}
SEVERAL = chunks(
    choice(0, {"role": "assistant", "content": ""}),
    choice(1, {"role": "assistant", "content": ""}),
    choice(0, {"content": "One"}),
    choice(1, {"content": "Two"}),
    choice(1, {}, "length"),
    choice(0, {"content": "."}),
    choice(0, {}, "stop"),
)


async def test_several_choices_come_whole(asked):
    url, far = await asked(SEVERAL)
    async with sdk(url) as client:
        answer = await client.chat.completions.create(model="far/m", messages=MESSAGES, n=2)
    assert [(c.index, c.message.content, c.finish_reason) for c in answer.choices] == [
        (0, "One.", "stop"),
        (1, "Two", "length"),
    ]
    assert far.calls[0].json["n"] == 2
    assert answer.usage.prompt_tokens_details.cached_tokens == 4


async def test_several_choices_take_turns_in_a_stream(asked):
    url, _ = await asked(SEVERAL)
    said = {0: "", 1: ""}
    ends = {}
    async with sdk(url) as client:
        async for chunk in await client.chat.completions.create(model="far/m", messages=MESSAGES, n=2, stream=True):
            for one in chunk.choices:
                said[one.index] += one.delta.content or ""
                if one.finish_reason:
                    ends[one.index] = one.finish_reason
    assert said == {0: "One.", 1: "Two"}
    assert ends == {1: "length", 0: "stop"}


async def test_a_host_of_one_answer_refuses_several_before_it_is_asked(asked):
    url, far = await asked(groq.reply("text"), kind="groq")
    async with sdk(url) as client:
        with pytest.raises(openai.BadRequestError) as caught:
            await client.chat.completions.create(model="far/m", messages=MESSAGES, n=2, stream=True)
    assert (caught.value.param, caught.value.code) == ("n", "unsupported_value")
    assert far.calls == []


async def test_log_probabilities_are_gathered_by_the_helper(asked):
    said = [choice(0, {"content": "A"}, logprobs={"content": [TOKEN], "refusal": None}) for _ in range(2)]
    url, far = await asked(chunks(*said, choice(0, {}, "stop")))
    async with sdk(url) as client:
        more = {"logprobs": True, "top_logprobs": 1}
        async with client.chat.completions.stream(model="far/m", messages=MESSAGES, **more) as stream:
            kinds = [event.type async for event in stream]
            final = await stream.get_final_completion()
        whole = await client.chat.completions.create(model="far/m", messages=MESSAGES, **more)
    assert kinds.count("logprobs.content.delta") == 2
    for answer in (final, whole):
        assert [t.token for t in answer.choices[0].logprobs.content] == ["A", "A"]
        assert answer.choices[0].logprobs.content[0].top_logprobs[0].token == "B"
    assert (far.calls[0].json["logprobs"], far.calls[0].json["top_logprobs"]) == (True, 1)


async def test_a_refusal_is_one(asked):
    url, _ = await asked(compatible.reply("refusal"))
    async with sdk(url) as client:
        async with client.chat.completions.stream(model="far/m", messages=MESSAGES) as stream:
            kinds = {event.type async for event in stream}
        whole = await client.chat.completions.create(model="far/m", messages=MESSAGES)
    assert {"refusal.delta", "refusal.done"} <= kinds
    assert (whole.choices[0].message.refusal, whole.choices[0].message.content) == ("I can't help with that.", None)


async def test_the_helper_parses_tools_and_structured_answers(asked):
    url, far = await asked(compatible.reply("structured"))
    more = {"model": "far/m", "messages": MESSAGES, "response_format": Person}
    async with sdk(url) as client, client.chat.completions.stream(**more) as stream:
        async for _ in stream:
            pass
        final = await stream.get_final_completion()
    assert final.choices[0].message.parsed == Person(name="Ada", age=36)
    assert far.calls[0].json["response_format"]["type"] == "json_schema"


async def test_the_helper_gathers_parallel_tool_calls(asked):
    url, far = await asked(compatible.reply("parallel_tool_calls"))
    async with sdk(url) as client:
        more = {"model": "far/m", "messages": MESSAGES, "tools": TOOLS, "stream_options": {"include_usage": True}}
        async with client.chat.completions.stream(**more) as stream:
            done = [e.name async for e in stream if e.type == "tool_calls.function.arguments.done"]
            final = await stream.get_final_completion()
    assert done == ["get_weather", "get_weather"]
    calls = final.choices[0].message.tool_calls
    assert [(c.function.name, json.loads(c.function.arguments)) for c in calls] == list(CALLS)
    assert final.usage.total_tokens == 18
    assert far.calls[0].json["tools"] == TOOLS


@pytest.mark.parametrize("kind", ["compatible", "groq"])
async def test_an_error_of_the_host_has_its_place(asked, kind):
    host = {"compatible": compatible, "groq": groq}[kind]
    url, _ = await asked(host.reply("error_after"), kind=kind)
    async with sdk(url) as client:
        stream = await client.chat.completions.create(model="far/m", messages=MESSAGES, stream=True)
        with pytest.raises(openai.APIError, match=ERROR):
            async for _ in stream:
                pass


@pytest.mark.parametrize(
    ("host", "spans"),
    [
        (groq, {"host_queue": 170.0, "host_prefill": 0.8, "host_decode": 3200.0}),
        (vllm, {"host_queue": 1.5, "host_prefill": 20.0, "host_decode": 300.0}),
        (llamacpp, {"host_prefill": 30.5, "host_decode": 70.25}),
    ],
)
async def test_the_times_of_a_host_are_in_the_waterfall(asked, host, spans):
    url, far = await asked(host.reply("text"), kind=host.KIND)
    async with sdk(url) as client, httpx.AsyncClient(base_url=url) as http:
        answer = await client.chat.completions.create(model="far/m", messages=MESSAGES)
        log = (await http.get(f"/v1/streams/{answer.id}/events?as=ndjson")).text.splitlines()
    reported = {s["name"]: s["ms"] for s in json.loads(log[-1])["spans"] if s.get("source") == "reported"}
    assert reported == spans
    assert len(far.calls) == 1


# huggingface_hub


def hub(url: str) -> AsyncInferenceClient:
    return AsyncInferenceClient(base_url=f"{url}/v1", api_key="none")


async def test_the_hub_client_streams_and_reads_whole(asked):
    url, far = await asked(compatible.reply("text"))
    text = ""
    async with hub(url) as client:
        async for chunk in await client.chat_completion(MESSAGES, model="far/m", stream=True, max_tokens=50):
            text += chunk.choices[0].delta.content or "" if chunk.choices else ""
        whole = await client.chat_completion(MESSAGES, model="far/m")
    assert text == whole.choices[0].message.content == "Hello, Wörld! 👋 Goodbye."
    assert (whole.choices[0].finish_reason, whole.usage.total_tokens) == ("stop", 18)
    assert far.calls[0].json["max_tokens"] == 50


async def test_the_hub_client_calls_tools_and_thinks(asked):
    url, _ = await asked(compatible.reply("parallel_tool_calls"))
    async with hub(url) as client:
        whole = await client.chat_completion(MESSAGES, model="far/m", tools=TOOLS)
        stream = await client.chat_completion(MESSAGES, model="far/m", tools=TOOLS, stream=True)
        fragments = [chunk async for chunk in stream]
    calls = [(c.function.name, json.loads(c.function.arguments)) for c in whole.choices[0].message.tool_calls]
    assert calls == list(CALLS)
    named = [
        t.function.name for c in fragments for one in c.choices for t in one.delta.tool_calls or () if t.function.name
    ]
    assert named == ["get_weather", "get_weather"]


async def test_the_hub_client_raises_what_the_host_refuses(asked):
    url, _ = await asked(compatible.reply("error_before"))
    async with hub(url) as client:
        with pytest.raises((HfHubHTTPError, OverloadedError)) as caught:
            await client.chat_completion(MESSAGES, model="far/m")
    assert caught.value.response.status_code == 429


async def test_the_hub_client_for_plain_code_reads_the_same(asked):
    url, _ = await asked(compatible.reply("thinking"))

    def read() -> tuple[str, str]:
        with InferenceClient(base_url=f"{url}/v1", api_key="none") as client:
            stream = client.chat_completion(MESSAGES, model="far/m", stream=True)
            made = [chunk.choices[0].delta for chunk in stream if chunk.choices]
        return "".join(d.content or "" for d in made), "".join(d.get("reasoning_content") or "" for d in made)

    assert await asyncio.to_thread(read) == ("Then speak.", "First, think.")


async def test_a_stream_that_the_hub_client_closes_lets_go_of_the_host(asked):
    async def endless(call: Call) -> None:
        call.head()
        call.chunk(compatible.chunk({"role": "assistant", "content": "one"}))
        await call.stall()

    url, far = await asked(endless)
    async with hub(url) as client:
        stream = await client.chat_completion(MESSAGES, model="far/m", stream=True)
        async for chunk in stream:
            if chunk.choices and chunk.choices[0].delta.content:
                break
        await stream.aclose()
        await far.calls[0].gone.wait()
