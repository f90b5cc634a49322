"""What clients of Anthropic Messages send becomes a request, and goes to an Anthropic host as it was; what cannot is refused."""

from __future__ import annotations

import base64
import contextlib
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tidewire.core.errors import BadRequest
from tidewire.core.request import File, Image, Message, Text, Thinking, Thought, Tool, ToolCall, ToolResult
from tidewire.dialects.anthropic import AnthropicMessages
from tidewire.dialects.anthropic_host import MessagesHost
from tidewire.dialects.anthropic_request import IMAGE

DIALECT = AnthropicMessages()
PNG = {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": "YWJj"}}
PDF = {"type": "document", "source": {"type": "base64", "media_type": "application/pdf", "data": "YWJj"}, "title": "A"}
TOOL = {"name": "f", "description": "does", "input_schema": {"type": "object"}, "strict": True}


def parse(body, **headers):
    raw = body if isinstance(body, bytes) else json.dumps(body).encode()
    return DIALECT.parse(raw, headers)


def ask(*content, **more):
    return {"model": "m", "max_tokens": 50, "messages": [{"role": "user", "content": list(content) or "Hello?"}]} | more


def read(*content, **more):
    return parse(ask(*content, **more))[0]


def refused(body, **headers) -> BadRequest:
    with pytest.raises(BadRequest) as caught:
        parse(body, **headers)
    assert caught.value.message
    return caught.value


def test_a_plain_message_is_a_request():
    request, streamed = parse(ask(stream=True, system="Be brief.", temperature=0.5, top_p=0.9, stop_sequences=["END"]))
    assert streamed
    assert request.messages == [Message("system", [Text("Be brief.")]), Message("user", [Text("Hello?")])]
    assert (request.model, request.max_tokens, request.dialect) == ("m", 50, "anthropic")
    assert (request.temperature, request.top_p, request.stop) == (0.5, 0.9, ["END"])
    assert request.record == {"stop": "END"}
    assert str(request.on_disconnect) == "cancel"
    assert request.options == {}
    assert request.stream.startswith("msg_")
    assert not parse(ask())[1]


def test_every_block_becomes_content():
    turns = [
        {"role": "user", "content": [{"type": "text", "text": "What"}, PNG, PDF]},
        {
            "role": "user",
            "content": [
                {"type": "image", "source": {"type": "url", "url": "https://a.example/i.png"}},
                {"type": "document", "source": {"type": "url", "url": "https://a.example/d.pdf"}},
                {"type": "document", "source": {"type": "text", "media_type": "text/plain", "data": "café"}},
                {"type": "document", "source": {"type": "file", "file_id": "file_1"}},
            ],
        },
        {
            "role": "assistant",
            "content": [
                {"type": "thinking", "thinking": "hm", "signature": "Eq"},
                {"type": "thinking", "thinking": "unsigned", "signature": ""},
                {"type": "redacted_thinking", "data": "Em"},
                {"type": "text", "text": "So.", "citations": []},
                {"type": "tool_use", "id": "t1", "name": "f", "input": {"a": 1}},
                {"type": "tool_use", "id": "t2", "name": "f", "input": {}},
            ],
        },
        {"role": "system", "content": "Hurry."},
        {
            "role": "user",
            "content": [
                {"type": "tool_result", "tool_use_id": "t1", "content": "42"},
                {
                    "type": "tool_result",
                    "tool_use_id": "t2",
                    "content": [{"type": "text", "text": "no"}, PNG, {"type": "text", "text": "never"}],
                    "is_error": True,
                },
                {"type": "text", "text": "And?"},
            ],
        },
        {"role": "user", "content": [{"type": "tool_result", "tool_use_id": "t3"}]},
    ]
    text = base64.b64encode("café".encode()).decode()
    assert read(messages=turns).messages == [
        Message(
            "user",
            [Text("What"), Image("data:image/png;base64,YWJj"), File("data:application/pdf;base64,YWJj", name="A")],
        ),
        Message(
            "user",
            [
                Image("https://a.example/i.png"),
                File("https://a.example/d.pdf"),
                File(f"data:text/plain;base64,{text}"),
                File(id="file_1"),
            ],
        ),
        Message(
            "assistant",
            [
                Thought("hm", "Eq"),
                Thought("unsigned"),
                Thought(signature="Em", redacted=True),
                Text("So."),
                ToolCall("t1", "f", '{"a":1}'),
                ToolCall("t2", "f", "{}"),
            ],
        ),
        Message("system", [Text("Hurry.")]),
        Message(
            "tool",
            [
                ToolResult("t1", "42"),
                ToolResult("t2", "no\nnever", failed=True, images=[Image("data:image/png;base64,YWJj")]),
            ],
        ),
        Message("user", [Text("And?")]),
        Message("tool", [ToolResult("t3", "")]),
    ]


@pytest.mark.parametrize(
    ("choice", "said", "options"),
    [
        ({"type": "auto"}, "auto", {}),
        ({"type": "any", "disable_parallel_tool_use": True}, "required", {"parallel_tool_calls": False}),
        ({"type": "none"}, "none", {}),
        ({"type": "tool", "name": "f"}, {"type": "function", "function": {"name": "f"}}, {}),
    ],
)
def test_tools_and_their_choice_are_understood(choice, said, options):
    request = read(tools=[TOOL, {"type": "custom", "name": "g", "input_schema": {}}], tool_choice=choice)
    assert request.tools == [Tool("f", "does", {"type": "object"}, strict=True), Tool("g", None, {})]
    assert (request.tool_choice, request.options) == (said, options)


@pytest.mark.parametrize(
    ("given_", "meant"),
    [
        ({"thinking": {"type": "enabled", "budget_tokens": 2048}}, Thinking(budget=2048)),
        ({"thinking": {"type": "adaptive", "display": "omitted"}}, Thinking(show=False)),
        ({"thinking": {"type": "adaptive"}, "output_config": {"effort": "max"}}, Thinking("max")),
        ({"thinking": {"type": "disabled"}}, Thinking("none")),
        ({"output_config": {"effort": "low"}}, Thinking("low")),
        ({}, None),
    ],
)
def test_how_much_to_think_is_understood(given_, meant):
    assert read(**given_).thinking == meant


def test_a_schema_is_understood_by_its_new_name_and_its_old_one():
    schema = {"type": "json_schema", "schema": {"type": "object"}}
    for fields in ({"output_config": {"format": schema, "effort": "low"}}, {"output_format": schema}):
        said = read(**fields).response_format
        assert (said["type"], said["json_schema"]["schema"]) == ("json_schema", {"type": "object"})


FULL = {
    "model": "m",
    "max_tokens": 3000,
    "system": [{"type": "text", "text": "Be brief."}],
    "messages": [
        {"role": "user", "content": [{"type": "text", "text": "What"}, PNG, PDF | {"citations": {"enabled": True}}]},
        {
            "role": "assistant",
            "content": [
                {"type": "thinking", "thinking": "hm", "signature": "Eq"},
                {"type": "redacted_thinking", "data": "Em"},
                {"type": "tool_use", "id": "t1", "name": "f", "input": {"a": {"b": [1, "é"]}}},
            ],
        },
        {
            "role": "user",
            "content": [
                {"type": "tool_result", "tool_use_id": "t1", "content": "no", "is_error": True},
                {"type": "text", "text": "And?"},
            ],
        },
    ],
    "tools": [TOOL],
    "tool_choice": {"type": "tool", "name": "f", "disable_parallel_tool_use": True},
    "thinking": {"type": "enabled", "budget_tokens": 1024, "display": "omitted"},
    "output_config": {"effort": "low", "format": {"type": "json_schema", "schema": {"type": "object"}}},
    "stop_sequences": ["END", "FIN"],
    "temperature": 1.0,
    "top_p": 0.9,
    "top_k": 5,
    "metadata": {"user_id": "u"},
    "service_tier": "auto",
    "cache_control": {"type": "ephemeral"},
}


def test_a_request_reaches_an_anthropic_host_as_it_was_sent():
    request, _ = parse(FULL, **{"anthropic-beta": "a-1, b-2"})
    question = MessagesHost().ask(request, "m")
    assert json.loads(question.body) == FULL | {"stream": True}
    assert question.headers == {"anthropic-beta": "a-1,b-2"}


def test_marks_for_the_cache_on_single_blocks_become_one_for_the_whole():
    mark = {"type": "ephemeral", "ttl": "1h"}
    request = read(
        {"type": "text", "text": "Hello?", "cache_control": mark},
        tools=[TOOL | {"cache_control": {"type": "ephemeral"}}],
    )
    assert json.loads(MessagesHost().ask(request, "m").body)["cache_control"] == mark
    assert "cache_control" not in json.loads(MessagesHost().ask(read(), "m").body)


@pytest.mark.parametrize(
    ("more", "param"),
    [
        ({"messages": []}, "messages"),
        ({"messages": "Hello?"}, "messages"),
        ({"messages": ["Hello?"]}, "messages[0].role"),
        ({"messages": [{"role": "tool", "content": "x"}]}, "messages[0].role"),
        ({"messages": [{"role": "user"}]}, "messages[0].content"),
        ({"messages": [{"role": "user", "content": [1]}]}, "messages[0].content[0]"),
        ({"messages": [{"role": ["user"], "content": "x"}]}, "messages[0].role"),
        ({"model": None}, "model"),
        ({"max_tokens": 0}, "max_tokens"),
        ({"max_tokens": "5"}, "max_tokens"),
        ({"time_limit": 0}, "time_limit"),
        ({"system": [{"type": "hologram"}]}, "system[0].type"),
        ({"tools": [1]}, "tools[0]"),
        ({"tools": [{"name": "f"}]}, "tools[0].input_schema"),
        ({"tools": [{"input_schema": {}}]}, "tools[0].name"),
        ({"tools": [TOOL | {"defer_loading": True}]}, "tools[0]"),
        ({"tools": [{"type": "web_search_20250305", "name": "web_search"}]}, "tools[0]"),
        ({"tool_choice": {"type": "tool"}}, "tool_choice"),
        ({"tool_choice": {"type": []}}, "tool_choice"),
        ({"thinking": {"type": "enabled"}}, "thinking"),
        ({"thinking": {"type": "wild"}}, "thinking"),
        ({"output_config": {"format": {"type": "json_object"}}}, "output_config.format"),
        ({"output_config": {"effort": 5}}, "output_config"),
    ],
)
def test_what_cannot_be_read_is_refused_with_its_field(more, param):
    assert refused(ask(**more)).param == param


@pytest.mark.parametrize(
    "block",
    [
        {"type": "server_tool_use", "id": "s", "name": "web_search", "input": {}},
        {"type": "search_result", "source": "s", "title": "t", "content": []},
        {"type": "image", "source": {"type": "file", "file_id": "f"}},
        {"type": "image", "source": "https://a.example"},
        {"type": "image", "source": {"type": "base64", "media_type": "image/png"}},
        {"type": "document", "source": {"type": "content", "content": []}},
        PDF | {"context": "of the archive"},
        {"type": "text"},
        {"type": "text", "text": None},
        {"type": "thinking", "thinking": "x", "signature": 5},
        {"type": "tool_use", "name": "f", "input": {}},
        {"type": "tool_result", "content": "x"},
        {"type": "tool_result", "tool_use_id": "t", "content": 5},
        {"type": "tool_result", "tool_use_id": "t", "content": [PDF]},
        {"type": ["text"]},
    ],
)
def test_blocks_that_cannot_be_said_here_are_refused(block):
    assert refused(ask(block)).param.startswith("messages[0].content[0]")


json_values = st.recursive(
    st.none() | st.booleans() | st.integers(-3, 3) | st.sampled_from(["", "text", "user", "x", "enabled", "tool"]),
    lambda inner: (
        st.lists(inner, max_size=2)
        | st.dictionaries(
            st.sampled_from(["type", "text", "role", "content", "source", "name", "input_schema"]), inner, max_size=3
        )
    ),
    max_leaves=6,
)


@given(st.sampled_from([*FULL, "output_format", "stream", "time_limit"]), json_values)
def test_a_field_of_the_wrong_shape_is_a_bad_request_and_nothing_else(field, value):
    with contextlib.suppress(BadRequest):
        request, _ = parse(FULL | {field: value})
        MessagesHost().ask(request, "m")


@pytest.mark.parametrize("at", [0, 1, 2])
@given(block=json_values)
def test_a_block_of_the_wrong_shape_is_a_bad_request_and_nothing_else(at, block):
    messages = [m | {"content": [*m["content"], block]} if n == at else m for n, m in enumerate(FULL["messages"])]
    with contextlib.suppress(BadRequest):
        parse(FULL | {"messages": messages})


def test_a_lost_connection_may_mean_something_else_by_header():
    assert str(parse(ask(), **{"x-tidewire-on-disconnect": "continue"})[0].on_disconnect) == "continue"


def test_tokens_are_estimated_by_characters_and_images():
    def count(*content, **more):
        return DIALECT.estimated(json.dumps(ask(*content, **more)).encode(), {})

    assert count({"type": "text", "text": "x" * 400}) == 100
    assert count({"type": "text", "text": "x" * 401}) == 101
    assert count({"type": "text", "text": "x" * 400}, system="y" * 400) == 200
    assert count({"type": "text", "text": "x" * 400}, PNG, PDF) == 100 + IMAGE
    assert count({"type": "text", "text": "x" * 400}, tools=[TOOL]) > 110
    document = {"type": "document", "source": {"type": "text", "media_type": "text/plain", "data": "x" * 4000}}
    assert 1000 <= count(document) <= 1010
    calls = [
        {"type": "tool_use", "id": "t", "name": "ffff", "input": {}},
        {"type": "tool_result", "tool_use_id": "t", "content": "x" * 40},
    ]
    assert count(*calls) == 12
