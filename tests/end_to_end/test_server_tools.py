"""Tools that the server runs, over sockets: a scripted model host, functions of this file, clients of several protocols."""

from __future__ import annotations

import asyncio
import json
import threading
import time
from typing import Any

import openai
import pytest

from serving import serving
from tidewire.core.errors import SettingsError
from tidewire.server.tools_settings import Tools
from tidewire.toolbox.port import CallContext
from upstream import DONE, Call, Upstream, chat

made: list[str] = []  # a side effect, by the key of its call
gate = threading.Event()
went: list[str] = []  # how calls ended that were cancelled


async def weather(city: str, call: CallContext) -> dict[str, str]:
    """The weather of a city."""
    made.append(call.key)
    try:
        while not gate.is_set():
            await asyncio.sleep(0.01)
    except asyncio.CancelledError:
        went.append("cancelled")
        raise
    return {"city": city, "sky": "clear"}


def patient(call: CallContext) -> str:
    """Waits in a thread."""
    made.append(call.key)
    while not (gate.is_set() or call.asked_to_stop()):
        time.sleep(0.005)
    went.append("told to stop" if call.asked_to_stop() else "done")
    return "done"


@pytest.fixture(autouse=True)
def _fresh():
    made.clear()
    went.clear()
    gate.set()
    yield
    gate.set()


WEATHER = {"weather": Tools(function=f"{__name__}:weather", timeout_s=60.0)}
PATIENT = {"patient": Tools(function=f"{__name__}:patient", timeout_s=60.0)}


def asks(*calls: tuple[str, dict[str, Any]]) -> list[bytes]:
    out = [chat("Let me see. ")]
    for index, (name, arguments) in enumerate(calls):
        given = {"name": name, "arguments": json.dumps(arguments)}
        call = {"index": index, "id": f"call_{index}", "type": "function", "function": given}
        delta = {"choices": [{"index": 0, "delta": {"tool_calls": [call]}, "finish_reason": None}]}
        out.append(chat(**delta))
    return [*out, chat(finish="tool_calls"), DONE]


def host(*calls: tuple[str, dict[str, Any]]) -> Upstream:
    """Calls these tools, and says what it was told of the results once it has them."""

    async def script(call: Call) -> None:
        results = [m["content"] for m in call.json["messages"] if m["role"] == "tool"]
        said = [chat(f"It says {' and '.join(results)}."), chat(finish="stop"), DONE] if results else asks(*calls)
        call.head(200)
        for piece in said:
            call.chunk(piece)
        call.end()

    return Upstream(script)


def told(body: bytes) -> list[dict[str, Any]]:
    """The events of an SSE body."""
    lines = (line.partition("data:")[2].strip() for line in body.decode().splitlines() if line.startswith("data:"))
    return [json.loads(line) for line in lines if line.startswith("{")]


KIEL = ("weather", {"city": "Kiel"})
SAID = 'Let me see. It says {"city":"Kiel","sky":"clear"}.'


async def test_the_openai_client_reads_one_answer_and_is_asked_for_nothing(tmp_path) -> None:
    async with host(KIEL) as upstream, serving(tmp_path, hosts={"far": upstream.url}, tools=WEATHER) as tidewire:
        async with openai.AsyncOpenAI(base_url=f"{tidewire.url}/v1", api_key="none", max_retries=0) as client:
            question = [{"role": "user", "content": "How is the weather in Kiel?"}]
            stream = await client.chat.completions.create(model="far/m", messages=question, stream=True)
            chunks = [chunk async for chunk in stream]
            whole = await client.chat.completions.create(model="far/m", messages=question)
        assert "".join(c.choices[0].delta.content or "" for c in chunks if c.choices) == SAID
        assert not any(c.choices[0].delta.tool_calls for c in chunks if c.choices)
        assert [c.choices[0].finish_reason for c in chunks if c.choices][-1] == "stop"
        assert whole.choices[0].message.content == SAID
        assert whole.choices[0].message.tool_calls is None
        offered = upstream.calls[0].json["tools"][0]["function"]
        assert offered["name"] == "weather"
        assert offered["description"] == "The weather of a city."
        assert offered["parameters"]["required"] == ["city"]
        assert len(set(made)) == len(made) == 2


async def test_a_client_that_leaves_while_a_tool_runs_comes_back_to_the_same_stream_and_one_side_effect(
    tmp_path,
) -> None:
    gate.clear()
    async with host(KIEL) as upstream, serving(tmp_path, hosts={"far": upstream.url}, tools=WEATHER) as tidewire:
        peer = await tidewire.peer()
        ask = {"model": "far/m", "input": "Weather?", "stream": "st_one", "on_disconnect": "grace:30"}
        peer.ask("POST", "/v1/streams", ask, accept="text/event-stream")
        await peer.head()
        await peer.until(b'"stage":"calling"')
        peer.reset()
        gate.set()
        status, _, rest = await tidewire.ask("GET", "/v1/streams/st_one/events?after=3", accept="text/event-stream")
        assert status == 200
        _, _, all_of_it = await tidewire.ask("GET", "/v1/streams/st_one/events?after=0", accept="text/event-stream")
        events, later = told(all_of_it), told(rest)
        assert [e["seq"] for e in events] == list(range(1, len(events) + 1))
        assert later == events[3:]
        kinds = [e["kind"] for e in events if e["type"] == "part"]
        assert kinds == ["text", "server_call", "tool_result", "text"]
        assert events[-1]["type"] == "closed"
        assert "tool_weather" in [span["name"] for span in events[-1]["spans"]]
        assert len(made) == 1


@pytest.mark.parametrize(
    ("tools", "call", "word"), [(WEATHER, KIEL, "cancelled"), (PATIENT, ("patient", {}), "told to stop")]
)
async def test_a_cancel_reaches_a_tool_that_runs(tmp_path, tools, call, word) -> None:
    gate.clear()
    async with host(call) as upstream, serving(tmp_path, hosts={"far": upstream.url}, tools=tools) as tidewire:
        peer = await tidewire.peer()
        peer.ask(
            "POST", "/v1/streams", {"model": "far/m", "input": "?", "stream": "st_one"}, accept="text/event-stream"
        )
        await peer.head()
        await peer.until(b'"stage":"calling"')
        async with asyncio.timeout(30):
            while not made:
                await asyncio.sleep(0.005)
        status, _, _ = await tidewire.ask("POST", "/v1/streams/st_one/cancel")
        assert status == 200
        await peer.until(b'"status":"cancelled"')
        async with asyncio.timeout(30):
            while not went:
                await asyncio.sleep(0.005)
        assert went == [word]
        assert len(upstream.calls) == 1


async def test_use_chat_is_shown_the_call_and_its_result(tmp_path) -> None:
    async with host(KIEL) as upstream, serving(tmp_path, hosts={"far": upstream.url}, tools=WEATHER) as tidewire:
        message = {"id": "q", "role": "user", "parts": [{"type": "text", "text": "Weather?"}]}
        _, _, body = await tidewire.ask("POST", "/api/chat", {"id": "c", "messages": [message], "model": "far/m"})
        chunks = told(body)
        kinds = [c["type"] for c in chunks if c["type"].startswith("tool")]
        assert kinds == ["tool-input-start", "tool-input-delta", "tool-input-available", "tool-output-available"]
        assert chunks[-1] == {"type": "finish", "finishReason": "stop"}
        assert next(c for c in chunks if c["type"] == "tool-output-available")["output"] == {
            "city": "Kiel",
            "sky": "clear",
        }


async def test_a_client_with_a_tool_of_its_own_goes_on_and_the_model_finds_both_results(tmp_path) -> None:
    both = [KIEL, ("pick", {"colour": "red"})]
    async with host(*both) as upstream, serving(tmp_path, hosts={"far": upstream.url}, tools=WEATHER) as tidewire:
        async with openai.AsyncOpenAI(base_url=f"{tidewire.url}/v1", api_key="none", max_retries=0) as client:
            pick: Any = [{"type": "function", "function": {"name": "pick", "parameters": {"type": "object"}}}]
            messages: list[Any] = [{"role": "user", "content": "?"}]
            first = await client.chat.completions.create(model="far/m", messages=messages, tools=pick)
            [call] = first.choices[0].message.tool_calls or []
            assert first.choices[0].finish_reason == "tool_calls"
            messages += [
                first.choices[0].message.model_dump(exclude_none=True),
                {"role": "tool", "tool_call_id": call.id, "content": "red it is"},
            ]
            second = await client.chat.completions.create(model="far/m", messages=messages, tools=pick)
        assert second.choices[0].message.content == 'It says {"city":"Kiel","sky":"clear"} and red it is.'
        assert len(made) == 1


async def test_tools_are_only_for_the_models_that_are_named(tmp_path) -> None:
    only = {"weather": Tools(function=f"{__name__}:weather", models=["other"])}
    async with host(KIEL) as upstream, serving(tmp_path, hosts={"far": upstream.url}, tools=only) as tidewire:
        await tidewire.ask("POST", "/v1/streams", {"model": "far/m", "input": "?"}, accept="application/json")
        assert "tools" not in upstream.calls[0].json


async def test_metrics_count_calls(tmp_path) -> None:
    async with host(KIEL) as upstream, serving(tmp_path, hosts={"far": upstream.url}, tools=WEATHER) as tidewire:
        await tidewire.ask("POST", "/v1/streams", {"model": "far/m", "input": "?"}, accept="application/json")
        _, _, body = await tidewire.ask("GET", "/metrics")
        assert b'tidewire_tool_calls_total{result="ok",tool="weather"} 1.0' in body
        assert b'tidewire_tool_seconds_count{tool="weather"} 1.0' in body


@pytest.mark.parametrize(
    ("given", "says"),
    [
        (Tools(function="no_such_module:f"), "cannot be imported"),
        (Tools(function=f"{__name__}:made"), "which is a list and no function"),
        (Tools(kind="magic"), "there is no tool of kind 'magic'"),
    ],
)
async def test_a_tool_that_cannot_be_had_is_said_at_start(tmp_path, given, says) -> None:
    with pytest.raises(SettingsError) as error:
        async with serving(tmp_path, tools={"t": given}):
            raise AssertionError("it started")
    assert says in error.value.message
