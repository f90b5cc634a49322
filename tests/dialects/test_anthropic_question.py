"""What a host of Anthropic Messages is asked: every kind of request in its words, or refused with a sentence."""

from __future__ import annotations

import asyncio
import base64
import json

import pytest

from tidewire.core import events as ev
from tidewire.core.errors import BadRequest, UpstreamError
from tidewire.core.request import (
    Audio,
    File,
    Image,
    Message,
    Request,
    Text,
    Thinking,
    Thought,
    Tool,
    ToolCall,
    ToolResult,
)
from tidewire.dialects.anthropic_host import VERSION, MessagesHost
from tidewire.dialects.anthropic_messages import MAX_TOKENS, generation
from tidewire.providers.hosted import Hosted
from upstream import Call, Upstream, refuses

HOST = MessagesHost()
TOOL = Tool("f", "does", {"type": "object"})


def asked(model: str = "claude-opus-4-6", **more) -> dict:
    return json.loads(question(model, **more).body)


def question(model: str = "claude-opus-4-6", **more):
    request = Request(**({"model": "x/m", "messages": [Message("user", [Text("Hello?")])]} | more))
    return HOST.ask(request, model)


def refused(**more) -> BadRequest:
    with pytest.raises(BadRequest) as caught:
        asked(**more)
    return caught.value


def data(media: str, raw: bytes = b"abc") -> str:
    return f"data:{media};base64,{base64.b64encode(raw).decode()}"


def test_a_plain_question_asks_for_a_stream_with_the_limit_that_the_host_demands():
    q = question()
    assert (q.path, q.headers) == ("/v1/messages", {})
    assert json.loads(q.body) == {
        "model": "claude-opus-4-6",
        "messages": [{"role": "user", "content": [{"type": "text", "text": "Hello?"}]}],
        "max_tokens": MAX_TOKENS,
        "stream": True,
    }


def test_every_kind_of_content_has_its_block():
    pdf, text = data("application/pdf"), "data:text/plain," + "caf%C3%A9"
    messages = [
        Message("system", [Text("Be brief.")]),
        Message(
            "user",
            [
                Text("What"),
                Image("https://a.example/i.png", "low"),
                Image(data("image/png")),
                File(url=pdf, name="A.pdf"),
                File(url="https://a.example/d.pdf"),
                File(url=text),
                File(id="file_1"),
                Text("  "),
            ],
        ),
        Message(
            "assistant",
            [
                Thought("hm", "sig"),
                Thought(signature="EmwK", redacted=True),
                Thought("of another host"),
                Text("So."),
                ToolCall("functions.f:0", "f", '{"a":1}'),
                ToolCall("c2", "f", ""),
                ToolCall("c3", "f", '{"a":'),
            ],
        ),
        Message("user", [Text("And?")]),
        Message("tool", [ToolResult("functions.f:0", "42")]),
        Message("tool", [ToolResult("c2", "no", failed=True), ToolResult("c3", "", images=[Image(data("image/gif"))])]),
    ]
    q = question(messages=messages)
    said = json.loads(q.body)
    source = {"type": "base64", "data": "YWJj"}
    assert said["system"] == [{"type": "text", "text": "Be brief."}]
    assert said["messages"] == [
        {
            "role": "user",
            "content": [
                {"type": "text", "text": "What"},
                {"type": "image", "source": {"type": "url", "url": "https://a.example/i.png"}},
                {"type": "image", "source": source | {"media_type": "image/png"}},
                {"type": "document", "source": source | {"media_type": "application/pdf"}, "title": "A.pdf"},
                {"type": "document", "source": {"type": "url", "url": "https://a.example/d.pdf"}},
                {"type": "document", "source": {"type": "text", "media_type": "text/plain", "data": "café"}},
                {"type": "document", "source": {"type": "file", "file_id": "file_1"}},
            ],
        },
        {
            "role": "assistant",
            "content": [
                {"type": "thinking", "thinking": "hm", "signature": "sig"},
                {"type": "redacted_thinking", "data": "EmwK"},
                {"type": "text", "text": "So."},
                {"type": "tool_use", "id": "functions_f_0", "name": "f", "input": {"a": 1}},
                {"type": "tool_use", "id": "c2", "name": "f", "input": {}},
                {"type": "tool_use", "id": "c3", "name": "f", "input": {"INVALID_JSON": '{"a":'}},
            ],
        },
        {
            "role": "user",  # one message, the results first: the host demands both
            "content": [
                {"type": "tool_result", "tool_use_id": "functions_f_0", "content": "42"},
                {"type": "tool_result", "tool_use_id": "c2", "content": "no", "is_error": True},
                {
                    "type": "tool_result",
                    "tool_use_id": "c3",
                    "content": [{"type": "image", "source": source | {"media_type": "image/gif"}}],
                },
                {"type": "text", "text": "And?"},
            ],
        },
    ]
    assert q.headers == {"anthropic-beta": "files-api-2025-04-14"}


@pytest.mark.parametrize(("model", "stays"), [("claude-opus-4-8", True), ("claude-opus-4-7", False), ("other", False)])
def test_a_later_system_message_stays_in_its_place_where_the_model_takes_it(model, stays):
    turns = [
        Message("system", [Text("a")]),
        Message("user", [Text("b")]),
        Message("system", [Text("c")]),
        Message("user", [Text("d")]),
    ]
    said = asked(model, messages=turns)
    assert [m["role"] for m in said["messages"]] == (["user", "system", "user"] if stays else ["user"])
    assert [b["text"] for b in said["system"]] == (["a"] if stays else ["a", "c"])


@pytest.mark.parametrize(
    ("choice", "parallel", "said"),
    [
        (None, None, None),
        ("auto", None, {"type": "auto"}),
        (None, False, {"type": "auto", "disable_parallel_tool_use": True}),
        ("required", False, {"type": "any", "disable_parallel_tool_use": True}),
        ("none", False, {"type": "none"}),
        ({"type": "function", "function": {"name": "f"}}, True, {"type": "tool", "name": "f"}),
    ],
)
def test_tools_and_their_choice_are_said(choice, parallel, said):
    options = {} if parallel is None else {"parallel_tool_calls": parallel}
    body = asked(tools=[TOOL, Tool("g", strict=True)], tool_choice=choice, options=options, dialect="openai_chat")
    assert body["tools"] == [
        {"name": "f", "description": "does", "input_schema": {"type": "object"}},
        {"name": "g", "input_schema": {"type": "object", "properties": {}}, "strict": True},
    ]
    assert body.get("tool_choice") == said
    assert "parallel_tool_calls" not in body


@pytest.mark.parametrize(
    ("model", "age"),
    [
        ("claude-opus-4-6", (4, 6)),
        ("claude-opus-4-20250514", (4, 0)),
        ("claude-haiku-4-5-20251001", (4, 5)),
        ("claude-3-5-haiku-20241022", (3, 5)),
        ("anthropic/claude-sonnet-4.5", (4, 5)),
        ("us.anthropic.claude-opus-4-5-20251101-v1:0", (4, 5)),
        ("claude-sonnet-5", (5, 0)),
        ("claude-fable-5-1", (5, 1)),
        ("llama-4-8", None),
    ],
)
def test_the_generation_of_a_model_is_read_from_its_name(model, age):
    assert generation(model) == age


ADAPTIVE = {"type": "adaptive", "display": "summarized"}


@pytest.mark.parametrize(
    ("model", "thinking", "limit", "said", "effort", "most"),
    [
        ("claude-opus-4-6", Thinking("high"), None, ADAPTIVE, "high", MAX_TOKENS),
        ("claude-opus-4-6", Thinking("minimal"), 100, ADAPTIVE, "low", 100),
        ("claude-opus-5", Thinking(show=False), 100, {"type": "adaptive", "display": "omitted"}, None, 100),
        ("unheard-of", Thinking("max"), None, ADAPTIVE, "max", MAX_TOKENS),
        ("claude-opus-4-6", Thinking("none"), None, {"type": "disabled"}, None, MAX_TOKENS),
        ("claude-opus-4-5", Thinking(budget=0), None, {"type": "disabled"}, None, MAX_TOKENS),
        ("claude-opus-4-5", Thinking(budget=-1), 9000, {"type": "enabled", "budget_tokens": 4500}, None, 9000),
        (
            "claude-opus-4-5",
            Thinking("high"),
            None,
            {"type": "enabled", "budget_tokens": 16384},
            None,
            MAX_TOKENS + 16384,
        ),
        ("claude-opus-4-5", Thinking("high"), 1000, None, None, 1000),  # no room for thoughts
        ("claude-opus-4-6", Thinking(budget=2000), 3000, {"type": "enabled", "budget_tokens": 2000}, None, 3000),
        (
            "claude-opus-4-6",
            Thinking(budget=2000),
            None,
            {"type": "enabled", "budget_tokens": 2000},
            None,
            MAX_TOKENS + 2000,
        ),
    ],
)
def test_how_much_to_think_is_said_as_the_model_takes_it(model, thinking, limit, said, effort, most):
    body = asked(model, thinking=thinking, max_tokens=limit)
    assert body.get("thinking") == said
    assert body.get("output_config", {}).get("effort") == effort
    assert body["max_tokens"] == most


def test_a_schema_limits_and_stop_strings_are_said():
    schema = {"type": "object", "additionalProperties": False}
    body = asked(
        response_format={"type": "json_schema", "json_schema": {"name": "p", "schema": schema}},
        max_tokens=5,
        temperature=0.5,
        top_p=0.9,
        stop=["END", "\n"],
    )
    assert body["output_config"] == {"format": {"type": "json_schema", "schema": schema}}
    assert (body["max_tokens"], body["temperature"], body["top_p"]) == (5, 0.5, 0.9)
    assert body["stop_sequences"] == ["END"]  # a blank one the host refuses, and the stage keeps
    assert "output_config" not in asked(response_format={"type": "text"})


@pytest.mark.parametrize(
    ("more", "param"),
    [
        ({"n": 2}, "n"),
        ({"logprobs": 0}, "logprobs"),
        ({"temperature": 1.5}, "temperature"),
        ({"response_format": {"type": "json_object"}}, "response_format"),
        ({"response_format": {"type": "json_schema", "json_schema": None}}, "response_format"),
        ({"thinking": Thinking(budget=500)}, "thinking"),
        ({"thinking": Thinking(budget=5000), "model": "claude-opus-4-7"}, "thinking"),
        ({"tools": [TOOL], "tool_choice": {"type": "allowed_tools"}}, "tool_choice"),
        ({"messages": [Message("user", [Audio("YQ==", "wav")])]}, "messages[0]"),
        ({"messages": [Message("user", [Image(data("text/plain"))])]}, "messages[0]"),
        ({"messages": [Message("user", [Image("ftp://a.example/x.png")])]}, "messages[0]"),
        ({"messages": [Message("user", [File(url=data("application/zip"))])]}, "messages[0]"),
        ({"messages": [Message("user", [File(url="data:text/plain;base64,/w==")])]}, "messages[0]"),
        ({"messages": [Message("assistant", [Image(data("image/png"))])]}, "messages[0]"),
        ({"messages": [Message("system", [Image(data("image/png"))])]}, "messages[0]"),
        ({"messages": [Message("system", [Text("only")])]}, "messages"),
        ({"messages": [Message("user", [Text(" ")])]}, "messages"),
    ],
)
def test_what_the_protocol_cannot_say_is_refused(more, param):
    error = refused(**more)
    assert error.param == param
    assert error.info().status == 400


def test_options_go_to_the_host_only_from_a_client_of_its_own_protocol():
    options = {
        "top_k": 5,
        "thinking": {"type": "between_tools"},
        "output_config": {"effort": "low"},
        "anthropic_beta": ["a-1", "b-2"],
        "citations": True,
        "model": "other",
        "stream": False,
    }
    messages = [Message("user", [File(id="file_1"), Text("Hello?")])]
    own = question(messages=messages, options=options, dialect="anthropic", thinking=Thinking("none"))
    body = json.loads(own.body)
    assert (body["top_k"], body["model"], body["stream"]) == (5, "claude-opus-4-6", True)
    assert (body["thinking"], body["output_config"]) == ({"type": "between_tools"}, {"effort": "low"})
    assert body["messages"][0]["content"][0]["citations"] == {"enabled": True}
    assert "citations" not in body
    assert own.headers == {"anthropic-beta": "a-1,b-2,files-api-2025-04-14"}
    other = question(options=options, dialect="openai_chat")
    assert "top_k" not in json.loads(other.body)
    assert other.headers == {}


# Over a socket


def sse(kind: str, **more) -> bytes:
    return f"event: {kind}\ndata: {json.dumps({'type': kind} | more, ensure_ascii=False)}\n\n".encode()


WIRE = (
    sse("message_start", message={"id": "msg_1", "usage": {"input_tokens": 3, "output_tokens": 1}})
    + sse("content_block_start", index=0, content_block={"type": "text", "text": ""})
    + sse("ping")
    + sse("content_block_delta", index=0, delta={"type": "text_delta", "text": "Wörld 👋"})
    + sse("content_block_stop", index=0)
    + sse("message_delta", delta={"stop_reason": "end_turn"}, usage={"output_tokens": 4})
    + sse("message_stop")
)


class Gathered:
    full = False

    def __init__(self) -> None:
        self.events: list[ev.Event] = []

    def feed(self, events) -> None:
        self.events += events

    async def room(self) -> None: ...


async def answered(host: Upstream, **more) -> list[ev.Event]:
    provider = Hosted("a", host.url, HOST, headers={"x-api-key": "k", "anthropic-version": VERSION}, retries=0)
    sink = Gathered()
    try:
        await provider.answer(Request(model="claude-opus-4-6", messages=[Message("user", [Text("Hello?")])]), sink)
    finally:
        await provider.close()
    return [e for e in sink.events if not isinstance(e, ev.Attempt | ev.Progress | ev.Timing)]


@pytest.mark.parametrize("chunked", [True, False])
@pytest.mark.parametrize("size", [1, 7, 64, 10_000])
async def test_over_a_socket_the_events_are_the_same_with_chunks_and_without(chunked, size):
    decoder = HOST.decoder(Request(model="m", messages=[]))
    expected = [*decoder.feed(WIRE), *decoder.end()]

    async def script(call: Call) -> None:
        call.head(
            chunked=chunked, length=None if chunked else len(WIRE), content_type="text/event-stream; charset=utf-8"
        )
        for at in range(0, len(WIRE), size):
            call.chunk(WIRE[at : at + size])
            await asyncio.sleep(0)
        if chunked:
            call.end()

    async with Upstream(script) as host:
        assert await answered(host) == expected
        [call] = host.calls
        assert (call.path, call.headers["x-api-key"]) == ("/v1/messages", "k")
        assert call.headers["anthropic-version"] == VERSION


@pytest.mark.parametrize(
    ("status", "kind", "code", "again"),
    [
        (429, "rate_limit_error", "upstream_rate_limited", True),
        (529, "overloaded_error", "upstream_unavailable", True),
        (401, "authentication_error", "upstream_auth", False),
        (400, "invalid_request_error", "upstream_refused", False),
    ],
)
async def test_a_refusal_carries_the_hosts_sentence(status, kind, code, again):
    body = {"type": "error", "error": {"type": kind, "message": "Not now."}, "request_id": "req_1"}
    async with Upstream(refuses(status, body)) as host:
        with pytest.raises(UpstreamError) as caught:
            await answered(host)
    assert (caught.value.kind, caught.value.retryable) == (code, again)
    assert "Not now." in caught.value.message


async def test_the_hosts_models_are_listed():
    rows = [
        {"type": "model", "id": "claude-opus-5", "display_name": "Opus", "created_at": "2026-07-24T00:00:00Z"},
        {"id": "m"},
    ]
    async with Upstream(refuses(200, {"data": rows, "has_more": False})) as host:
        provider = Hosted("a", host.url, HOST, prefix="a/")
        assert [(m.id, m.created) for m in await provider.models()] == [("a/claude-opus-5", 1784851200), ("a/m", 0)]
        await provider.close()
        assert host.calls[0].path == "/v1/models?limit=1000"
    with pytest.raises(UpstreamError):
        HOST.models(b'{"data": 1}')
