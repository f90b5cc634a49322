"""Chat Completions as clients see it: every prefix renders the same, and the official types read it."""

from __future__ import annotations

import contextlib
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st
from openai.types.chat import ChatCompletion, ChatCompletionChunk

from strategies import logs, meta_of, numbered, opened
from tidewire.core import events as ev
from tidewire.core.errors import BadRequest, NotFound, Overloaded, Unauthorized
from tidewire.core.request import Image, Text, ToolCall, ToolResult
from tidewire.core.sse import Frames
from tidewire.dialects.openai_chat import OpenAIChat

DIALECT = OpenAIChat()
CLIENT = ("text", "thinking", "tool_call")  # a tool's result comes from a client, never from a host


def parse(body, headers=None):
    raw = body if isinstance(body, bytes) else json.dumps(body).encode()
    return DIALECT.parse(raw, headers or {})


def ask(**more):
    return {"model": "m", "messages": [{"role": "user", "content": "Hello?"}]} | more


def chunks_of(raw: bytes) -> list[dict]:
    told = [data for _, data in Frames().feed(raw)]
    assert told[-1] == b"[DONE]"
    return [json.loads(data) for data in told[:-1]]


def gathered(chunks: list[dict]) -> dict:
    """What a client makes of a stream, by the rules of the reference: texts joined, calls by index."""
    out: dict = {"content": "", "reasoning": "", "calls": {}, "finish": None, "annotations": []}
    for chunk in chunks:
        for choice in chunk.get("choices", []):
            delta = choice["delta"]
            out["content"] += delta.get("content") or ""
            out["reasoning"] += delta.get("reasoning_content") or ""
            out["annotations"] += delta.get("annotations") or []
            for call in delta.get("tool_calls") or []:
                known = out["calls"].setdefault(call["index"], {"arguments": ""})
                known["arguments"] += call["function"].get("arguments") or ""
                known |= {k: v for k, v in (("id", call.get("id")), ("name", call["function"].get("name"))) if v}
            out["finish"] = choice["finish_reason"] or out["finish"]
    return out


# Views of a log


@given(logs(kinds=CLIENT), st.data())
def test_however_a_log_is_handed_over_the_bytes_are_the_same(made, data):
    meta, entries = made
    at = data.draw(st.integers(0, len(entries)))
    whole = DIALECT.stream(meta).feed(entries)
    for batches in ([entries[:at], entries[at:]], [[e] for e in entries]):
        renderer = DIALECT.stream(meta)
        assert b"".join(renderer.feed(batch) for batch in batches if batch) == whole
        assert renderer.ended


@given(logs(kinds=CLIENT), st.booleans())
def test_the_official_types_read_every_chunk_and_find_what_the_log_says(made, usage):
    meta, entries = made
    meta.record["usage"] = usage
    renderer = DIALECT.stream(meta)
    chunks = chunks_of(renderer.feed(entries))
    errors = [c for c in chunks if "error" in c]
    for chunk in chunks:
        if "error" not in chunk:
            ChatCompletionChunk.model_validate(chunk, strict=True)
    events = [e.event for e in entries]
    kinds = {e.part: e for e in events if isinstance(e, ev.PartStarted)}

    def said(kind):
        return "".join(e.text for e in events if isinstance(e, ev.Delta) and kinds[e.part].kind == kind)

    got = gathered(chunks)
    assert (got["content"], got["reasoning"]) == (said("text"), said("thinking"))
    calls = [k for k in kinds.values() if k.kind == "tool_call"]
    assert [(c["id"], c["name"]) for c in got["calls"].values()] == [(k.call, k.name) for k in calls]
    assert list(got["calls"]) == list(range(len(calls)))
    assert len(got["annotations"]) == sum(isinstance(e, ev.Citation) for e in events)
    closed = events[-1]
    good = closed.status in ("completed", "incomplete")
    assert (len(errors), got["finish"] is not None) == ((0, True) if good else (1, False))
    assert [c for c in chunks if c.get("usage")] == (chunks[-1:] if usage and good else [])
    assert (renderer.failure is None) == good


@given(logs(kinds=CLIENT))
def test_the_whole_answer_says_the_same_as_its_stream(made):
    meta, entries = made
    renderer = DIALECT.whole(meta)
    document = json.loads(renderer.feed(entries)) if entries[-1].event.status in ("completed", "incomplete") else None
    if document is None:
        renderer.feed(entries)
        assert renderer.failure is not None
        return
    completion = ChatCompletion.model_validate(document)
    got = gathered(chunks_of(DIALECT.stream(meta).feed(entries)))
    message = completion.choices[0].message
    thought = document["choices"][0]["message"].get("reasoning_content") or ""
    # the document goes part by part, the stream as it came: the same words, where parts take turns in another order
    assert sorted(message.content or "") == sorted(got["content"])
    assert sorted(thought) == sorted(got["reasoning"])
    calls = [(c.id, c.function.name, c.function.arguments) for c in message.tool_calls or []]
    assert calls == [(c["id"], c["name"], c["arguments"]) for c in got["calls"].values()]
    assert completion.choices[0].finish_reason == got["finish"]
    assert len(message.annotations or []) == len(got["annotations"])


def test_the_result_of_a_tool_is_not_told_as_a_call():
    events = [
        opened(meta_of()),
        ev.PartStarted(part=0, kind="tool_result", call="c1"),
        ev.Delta(part=0, text="42"),
        ev.PartEnded(part=0),
        ev.Closed(status="completed", reason="stop"),
    ]
    assert gathered(chunks_of(DIALECT.stream(meta_of()).feed(numbered(events))))["calls"] == {}


@pytest.mark.parametrize(
    ("reason", "finish"),
    [
        ("stop", "stop"),
        ("stop_string", "stop"),
        ("length", "length"),
        ("time_limit", "length"),
        ("size_limit", "length"),
        ("tool_calls", "tool_calls"),
        ("content_filter", "content_filter"),
    ],
)
def test_every_natural_end_has_its_finish_reason(reason, finish):
    status = "completed" if finish in ("stop", "tool_calls") else "incomplete"
    entries = numbered([opened(meta_of()), ev.Closed(status=status, reason=reason)])
    assert gathered(chunks_of(DIALECT.stream(meta_of()).feed(entries)))["finish"] == finish
    assert json.loads(DIALECT.whole(meta_of()).feed(entries))["choices"][0]["finish_reason"] == finish


@pytest.mark.parametrize("reason", ["client", "disconnect", "shutdown", "error"])
def test_an_end_that_is_none_is_told_as_an_error_before_done(reason):
    status = "cancelled" if reason in ("client", "disconnect") else "failed"
    error = ev.ErrorInfo(code="upstream_cut", message="broke off", status=502) if status == "failed" else None
    entries = numbered([opened(meta_of()), ev.Closed(status=status, reason=reason, error=error)])
    renderer = DIALECT.stream(meta_of())
    [told] = chunks_of(renderer.feed(entries))
    assert told["error"]["code"] == ("upstream_cut" if error else "cancelled")
    assert renderer.failure is not None
    assert renderer.failure.status == (502 if error else 499)


# Requests


def test_every_field_has_its_place():
    request, streamed = parse(
        ask(
            messages=[
                {"role": "developer", "content": "Be brief."},
                {
                    "role": "user",
                    "content": [
                        {"type": "text", "text": "a"},
                        {"type": "image_url", "image_url": {"url": "u", "detail": "low"}},
                    ],
                },
                {
                    "role": "assistant",
                    "content": None,
                    "tool_calls": [{"id": "c", "type": "function", "function": {"name": "f", "arguments": "{}"}}],
                },
                {"role": "tool", "tool_call_id": "c", "content": "42"},
            ],
            stream=True,
            stream_options={"include_usage": True},
            max_completion_tokens=9,
            stop="x",
            temperature=1,
            top_p=0.5,
            tools=[{"type": "function", "function": {"name": "f", "parameters": {"type": "object"}}}],
            tool_choice="auto",
            response_format={"type": "json_object"},
            seed=4,
            user="u",
        )
    )
    assert streamed
    assert [m.role for m in request.messages] == ["system", "user", "assistant", "tool"]
    assert [type(c) for m in request.messages for c in m.content] == [Text, Text, Image, ToolCall, ToolResult]
    assert (request.max_tokens, request.stop, request.temperature, request.top_p) == (9, ["x"], 1.0, 0.5)
    assert request.options == {"seed": 4, "user": "u", "max_completion_tokens": 9}
    assert request.record == {"usage": True}
    assert str(request.on_disconnect) == "cancel"


def test_what_a_lost_connection_means_may_be_said_in_a_header():
    assert str(parse(ask(), {"x-tidewire-on-disconnect": "grace:30"})[0].on_disconnect) == "grace:30"


@pytest.mark.parametrize(
    ("body", "param"),
    [
        (b"", None),
        (b"{", None),
        (b"[]", None),
        ({"messages": []}, None),
        (ask(messages=[]), "messages"),
        (ask(messages=["x"]), "messages[0]"),
        (ask(messages=[{"role": "robot"}]), "messages[0].role"),
        (ask(messages=[{"role": ["user"]}]), "messages[0].role"),
        (ask(messages=[{"role": {}}]), "messages[0].role"),
        (ask(messages=[{"role": "user", "content": 5}]), "messages[0].content"),
        (ask(messages=[{"role": "user", "content": ["x"]}]), "messages[0].content[0].type"),
        (ask(messages=[{"role": "user", "content": [{"type": "text"}]}]), "messages[0].content[0]"),
        (
            ask(messages=[{"role": "user", "content": [{"type": "image_url", "image_url": {}}]}]),
            "messages[0].content[0]",
        ),
        (ask(messages=[{"role": "assistant", "tool_calls": ["x"]}]), "messages[0].tool_calls"),
        (ask(messages=[{"role": "assistant", "tool_calls": 5}]), "messages[0].tool_calls"),
        (ask(n=0), "n"),
        (ask(n=129), "n"),
        (ask(n="two"), "n"),
        (ask(logprobs=5), "logprobs"),
        (ask(top_logprobs=2), "top_logprobs"),
        (ask(logprobs=True, top_logprobs=21), "top_logprobs"),
        (ask(functions=[{"name": "f"}]), "functions"),
        (ask(reasoning_effort=5), "reasoning_effort"),
        (ask(max_tokens=0), "max_tokens"),
        (ask(max_completion_tokens=-1), "max_tokens"),
        (ask(max_tokens="many"), "max_tokens"),
        (ask(tools=["x"]), "tools[0]"),
        (ask(tools=[{"type": "web_search"}]), "tools[0]"),
        (ask(tools=[{"function": {"name": 5}}]), "tools[0]"),
        (ask(tools=[{"function": {"name": "f", "parameters": 5}}]), "tools[0]"),
        (ask(stop=5), "stop"),
        (ask(stream="yes"), "stream"),
        (ask(stream_options=[]), "stream_options"),
        (ask(temperature="hot"), "temperature"),
    ],
)
def test_what_cannot_be_understood_is_refused_and_the_field_named(body, param):
    with pytest.raises(BadRequest) as caught:
        parse(body)
    assert caught.value.param == param


@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.text(max_size=5),
        lambda inner: (
            st.lists(inner, max_size=3)
            | st.dictionaries(
                st.sampled_from(
                    [
                        "model",
                        "messages",
                        "role",
                        "content",
                        "type",
                        "text",
                        "tool_calls",
                        "function",
                        "name",
                        "image_url",
                    ]
                ),
                inner,
            )
        ),
        max_leaves=15,
    )
)
def test_any_messages_are_understood_or_refused(value):
    with contextlib.suppress(BadRequest):
        parse(ask(messages=[value] if not isinstance(value, list) else value))


@pytest.mark.parametrize(
    ("error", "kind"),
    [
        (BadRequest("m", param="p"), "invalid_request_error"),
        (Unauthorized("m"), "authentication_error"),
        (NotFound("m"), "not_found_error"),
        (Overloaded("m"), "rate_limit_error"),
    ],
)
def test_errors_have_the_shape_that_the_sdk_raises(error, kind):
    told = json.loads(DIALECT.error(error.info()))
    assert told == {"error": {"message": "m", "type": kind, "param": error.param, "code": error.kind}}
