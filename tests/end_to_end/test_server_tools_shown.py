"""The official OpenAI and Anthropic clients, unmodified, see what the server's tools were asked and answered, and go on from there."""

from __future__ import annotations

import json
from typing import Any, NamedTuple

import anthropic
import openai
import pytest

from serving import serving
from tidewire.server.tools_settings import Tools
from upstream import DONE, Call, Upstream, chat

MCP = "mcp-client-2025-11-20"
SKY = '{"city":"Kiel","sky":"clear"}'


def weather(city: str) -> dict[str, str]:
    """The weather of a city."""
    if city == "Atlantis":
        raise ValueError("it has no weather")
    return {"city": city, "sky": "clear"}


TOOLS = {"weather": Tools(function=f"{__name__}:weather")}


@pytest.fixture
async def tidewire(tmp_path):
    """A host that calls the tool for the city that is asked about, and says how many results it knows once it has one."""

    async def script(call: Call) -> None:
        messages = call.json["messages"]
        call.head(200)
        if messages[-1]["role"] == "user":
            city = messages[-1]["content"]
            calls = [asking(0, f"c{len(messages)}", "weather", {"city": city})]
            calls += (
                [asking(1, "p1", "pick", {})]
                if any(t["function"]["name"] == "pick" for t in call.json["tools"])
                else []
            )
            delta = {"index": 0, "delta": {"tool_calls": calls}, "finish_reason": None}
            said = [chat("Let me see. "), chat(choices=[delta]), chat(finish="tool_calls")]
        else:
            known = sum(m["role"] == "tool" for m in messages)
            said = [chat(f"I know {known}."), chat(finish="stop")]
        for piece in [*said, DONE]:
            call.chunk(piece)
        call.end()

    async with Upstream(script) as upstream, serving(tmp_path, hosts={"far": upstream.url}, tools=TOOLS) as server:
        yield Both(server.url, upstream)


def asking(index: int, call: str, name: str, given: dict[str, str]) -> dict[str, Any]:
    return {"index": index, "id": call, "type": "function", "function": {"name": name, "arguments": json.dumps(given)}}


class Both(NamedTuple):
    url: str
    upstream: Upstream


def told(both: Both) -> list[tuple[str, Any]]:
    """The conversation as the host was told of it last."""
    out = []
    for message in both.upstream.calls[-1].json["messages"]:
        calls = [call["id"] for call in message.get("tool_calls", [])]
        out.append((message["role"], calls or message["content"]))
    return out


TWICE = [
    ("user", "Kiel"),
    ("assistant", ["c1"]),
    ("tool", SKY),
    ("assistant", "I know 1."),
    ("user", "Lübeck"),
    ("assistant", ["c5"]),
    ("tool", SKY.replace("Kiel", "Lübeck")),
]


async def test_the_openai_client_streams_a_response_and_sends_its_items_back(tidewire) -> None:
    async with openai.AsyncOpenAI(base_url=f"{tidewire.url}/v1", api_key="none", max_retries=0) as client:
        asked: list[Any] = [{"role": "user", "content": "Kiel"}]
        async with client.responses.stream(model="far/m", input=asked) as stream:
            kinds = [event.type async for event in stream]
            response = await stream.get_final_response()
        whole = await client.responses.create(model="far/m", input=asked)
        assert [k for k in kinds if "mcp" in k] == [
            "response.mcp_call.in_progress",
            "response.mcp_call_arguments.delta",
            "response.mcp_call_arguments.done",
            "response.mcp_call.completed",
        ]
        assert [item.type for item in response.output] == ["message", "mcp_call", "message"]
        call = response.output[1]
        assert (call.name, call.server_label, call.status) == ("weather", "tidewire", "completed")
        assert (json.loads(call.arguments), call.output) == ({"city": "Kiel"}, SKY)
        assert whole.output[1].model_dump() == call.model_dump()
        assert response.output_text == whole.output_text == "Let me see. I know 1."
        asked += [*response.output, {"role": "user", "content": "Lübeck"}]
        later = await client.responses.create(model="far/m", input=asked)
        assert told(tidewire) == TWICE
        listed = (await client.responses.input_items.list(later.id, order="asc")).data
        assert [item.type for item in listed] == ["message", "message", "mcp_call", "message", "message"]
        assert listed[2].model_dump() == call.model_dump()


async def test_the_openai_client_goes_on_from_a_response_by_its_id(tidewire) -> None:
    async with openai.AsyncOpenAI(base_url=f"{tidewire.url}/v1", api_key="none", max_retries=0) as client:
        first = await client.responses.create(model="far/m", input="Kiel")
        await client.responses.create(model="far/m", input="Lübeck", previous_response_id=first.id)
        assert told(tidewire) == TWICE
        failed = await client.responses.create(model="far/m", input="Atlantis")
        assert failed.output[1].status == "failed"
        assert failed.output[1].error.content[0]["text"] == "weather refused: it has no weather"


PICKED = [("user", "Kiel"), ("assistant", ["c1", "p1"]), ("tool", SKY), ("tool", "red")]


async def test_the_openai_client_with_a_tool_of_its_own_sends_both_back_and_the_model_finds_them_once(tidewire) -> None:
    async with openai.AsyncOpenAI(base_url=f"{tidewire.url}/v1", api_key="none", max_retries=0) as client:
        tools: list[Any] = [{"type": "function", "name": "pick", "parameters": {"type": "object"}, "strict": False}]
        asked: list[Any] = [{"role": "user", "content": "Kiel"}]
        first = await client.responses.create(model="far/m", input=asked, tools=tools)
        assert [item.type for item in first.output] == ["message", "mcp_call", "function_call"]
        picked: Any = {"type": "function_call_output", "call_id": "p1", "output": "red"}
        second = await client.responses.create(model="far/m", input=[*asked, *first.output, picked], tools=tools)
        one_by_one = [PICKED[0], ("assistant", ["c1"]), PICKED[2], ("assistant", ["p1"]), PICKED[3]]
        assert second.output_text == "I know 2."
        assert told(tidewire) == one_by_one
        await client.responses.create(model="far/m", input=[picked], previous_response_id=first.id, tools=tools)
        assert told(tidewire) == one_by_one


async def test_the_anthropic_client_with_a_tool_of_its_own_does_so_too(tidewire) -> None:
    async with anthropic.AsyncAnthropic(base_url=tidewire.url, api_key="none", max_retries=0) as client:
        fields: dict[str, Any] = {"model": "far/m", "max_tokens": 100, "betas": [MCP]}
        fields["tools"] = [{"name": "pick", "input_schema": {"type": "object"}}]
        messages: list[Any] = [{"role": "user", "content": "Kiel"}]
        first = await client.beta.messages.create(**fields, messages=messages)
        assert [block.type for block in first.content] == ["text", "mcp_tool_use", "tool_use", "mcp_tool_result"]
        assert first.stop_reason == "tool_use"
        picked = {"type": "tool_result", "tool_use_id": "p1", "content": "red"}
        messages += [{"role": "assistant", "content": first.content}, {"role": "user", "content": [picked]}]
        second = await client.beta.messages.create(**fields, messages=messages)
        assert second.content[0].text == "I know 2."
        assert told(tidewire) == PICKED


@pytest.mark.parametrize("beta", [True, False])
async def test_the_anthropic_client_that_asks_for_it_is_shown_the_call_and_sends_it_back(tidewire, beta) -> None:
    async with anthropic.AsyncAnthropic(base_url=tidewire.url, api_key="none", max_retries=0) as client:
        messages: list[Any] = [{"role": "user", "content": "Kiel"}]
        fields: dict[str, Any] = {"model": "far/m", "max_tokens": 100}
        fields |= {"betas": [MCP]} if beta else {"extra_headers": {"anthropic-beta": MCP}}
        known: Any = client.beta.messages if beta else client.messages
        async with known.stream(**fields, messages=messages) as stream:
            words = "".join([piece async for piece in stream.text_stream])
            final = await stream.get_final_message()
        whole = await known.create(**fields, messages=messages)
        assert words == "Let me see. I know 1."
        assert [block.type for block in final.content] == ["text", "mcp_tool_use", "mcp_tool_result", "text"]
        assert (final.content[1].name, final.content[1].server_name) == ("weather", "tidewire")
        assert final.content[1].input == {"city": "Kiel"}
        assert final.content[2].is_error is False
        assert [block.to_dict() for block in final.content] == [block.to_dict() for block in whole.content]
        later = [*messages, {"role": "assistant", "content": final.content}, {"role": "user", "content": "Lübeck"}]
        await known.create(**fields, messages=later)
        assert told(tidewire) == TWICE


async def test_the_anthropic_client_that_does_not_ask_for_it_reads_words_alone(tidewire) -> None:
    async with anthropic.AsyncAnthropic(base_url=tidewire.url, api_key="none", max_retries=0) as client:
        asked: list[Any] = [{"role": "user", "content": "Kiel"}]
        message = await client.messages.create(model="far/m", max_tokens=100, messages=asked)
        assert [block.type for block in message.content] == ["text", "text"]
