"""Our own protocol, rendered from any prefix, and its requests read with care."""

from __future__ import annotations

import contextlib
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from strategies import logs, meta_of, numbered, opened
from tidewire.core import events as ev
from tidewire.core.errors import BadRequest
from tidewire.core.request import Image, Text, ToolCall, ToolResult
from tidewire.core.sse import Frames
from tidewire.dialects.native import Native

FORMS = ["sse", "ndjson", "text"]


def parse(body, headers=None):
    raw = body if isinstance(body, bytes) else json.dumps(body).encode()
    return Native().parse(raw, headers or {})[0]


def render(form, meta, batches, after=0):
    renderer = Native(form).stream(meta, after)
    return b"".join(renderer.feed(batch) for batch in batches if batch)


# Views of a log


@pytest.mark.parametrize("form", FORMS)
@given(made=logs(), data=st.data())
def test_however_a_log_is_handed_over_the_bytes_are_the_same(form, made, data):
    meta, entries = made
    at = data.draw(st.integers(0, len(entries)))
    whole = render(form, meta, [entries])
    assert render(form, meta, [entries[:at], entries[at:]]) == whole
    assert render(form, meta, [[e] for e in entries]) == whole


@pytest.mark.promise("P3")
@given(made=logs(), data=st.data())
def test_a_resumed_view_and_the_part_before_make_the_whole(made, data):
    meta, entries = made
    after = data.draw(st.integers(0, len(entries)))
    for form in FORMS:
        dialect = Native(form)
        tail = dialect.stream(meta, after).feed(entries[dialect.origin(after) :]) if after < len(entries) else b""
        assert render(form, meta, [entries[:after]]) + tail == render(form, meta, [entries])


@given(logs())
def test_each_event_is_framed_with_its_number_its_type_and_its_bytes(made):
    meta, entries = made
    wire = render("sse", meta, [entries])
    assert wire.count(b"\n\n") == len(entries)
    told = Frames().feed(wire)
    assert [data for _, data in told] == [e.raw for e in entries]
    assert [name.decode() for name, _ in told] == [json.loads(e.raw)["type"] for e in entries]
    numbers = [line[4:] for line in wire.split(b"\n") if line.startswith(b"id: ")]
    assert [int(n) for n in numbers] == [e.seq for e in entries]
    assert render("ndjson", meta, [entries]).split(b"\n")[:-1] == [e.raw for e in entries]


@given(logs())
def test_a_view_has_ended_with_the_last_event_and_not_before(made):
    meta, entries = made
    for form in FORMS:
        renderer = Native(form).stream(meta)
        if len(entries) > 1:
            renderer.feed(entries[:-1])
            assert not renderer.ended
        renderer.feed(entries[-1:])
        assert renderer.ended


@given(logs())
def test_the_document_says_what_the_log_says(made):
    meta, entries = made
    renderer = Native().whole(meta)
    assert renderer.feed(entries[:-1]) == b""
    document = json.loads(renderer.feed(entries[-1:]))
    events = [e.event for e in entries]
    kinds = {e.part: e.kind for e in events if isinstance(e, ev.PartStarted)}
    said = {  # part by part
        kind: "".join(
            e.text
            for part in kinds
            for e in events
            if isinstance(e, ev.Delta) and e.part == part and kinds[part] == kind
        )
        for kind in ("text", "thinking")
    }
    assert document["text"] == said["text"]
    assert document.get("thinking", "") == said["thinking"]
    assert len(document["tool_calls"]) == list(kinds.values()).count("tool_call")
    assert len(document["citations"]) == sum(isinstance(e, ev.Citation) for e in events)
    assert (document["status"], document["reason"]) == (events[-1].status, events[-1].reason)
    assert ("error" in document) == (events[-1].error is not None)
    assert renderer.failure == events[-1].error


def test_a_document_says_whether_its_json_fits():
    checked = ev.Checked(part=0, valid=False, problems=["/age is missing"])
    ended = ev.Closed(status="completed", reason="stop")
    for events, said in (([checked, ended], {"valid": False, "problems": ["/age is missing"]}), ([ended], None)):
        document = json.loads(Native().whole(meta_of()).feed(numbered([opened(meta_of()), *events])))
        assert document.get("checked") == said


def test_a_document_that_still_grows_says_so():
    renderer = Native().whole(meta_of())
    renderer.feed(numbered([opened(meta_of()), ev.PartStarted(part=0, kind="text"), ev.Delta(part=0, text="Hel")]))
    assert renderer.state() | {"text": "Hel", "status": "running"} == renderer.state()


def text_of(*events, after=0):
    return render("text", meta_of(), [numbered([opened(meta_of()), *events])], after).decode()


def test_the_text_form_is_the_text_alone():
    said = text_of(
        ev.Progress(stage="waiting"),
        ev.PartStarted(part=0, kind="thinking"),
        ev.Delta(part=0, text="hm"),
        ev.PartStarted(part=1, kind="text"),
        ev.Delta(part=1, text="Hello"),
        ev.Delta(part=1, text=" world"),
        ev.PartStarted(part=2, kind="text"),
        ev.Delta(part=2, text="And"),
        ev.Closed(status="completed", reason="stop"),
    )
    assert said == "Hello world\n\nAnd\n"


def test_the_text_form_says_in_a_last_line_what_went_wrong():
    error = ev.ErrorInfo(code="upstream_cut", message="the host broke off")
    assert text_of(ev.Closed(status="failed", reason="error", error=error)) == "\n[upstream_cut: the host broke off]\n"
    assert text_of(ev.Closed(status="cancelled", reason="client")) == "\n[cancelled]\n"


def test_the_text_after_the_last_event_is_empty():
    error = ev.ErrorInfo(code="upstream_cut", message="the host broke off")
    renderer = Native("text").stream(meta_of(), 2)
    entries = numbered([opened(meta_of()), ev.Closed(status="failed", reason="error", error=error)])
    assert (renderer.feed(entries), renderer.ended, renderer.failure) == (b"", True, None)


# Requests


def test_a_text_is_one_message_of_the_user():
    request = parse({"model": "m", "input": "Hello?"})
    assert (request.model, request.question) == ("m", "Hello?")
    assert str(request.on_disconnect) == "grace:15"
    assert request.record == {"title": "Hello?"}


def test_every_field_has_its_place():
    request = parse(
        {
            "model": "m",
            "messages": [
                {"role": "system", "content": "Be brief."},
                {"role": "user", "content": [{"type": "text", "text": "What"}, {"type": "image", "url": "data:x"}]},
                {"role": "assistant", "content": [{"type": "tool_call", "call": "c", "name": "f", "arguments": "{}"}]},
                {"role": "tool", "content": [{"type": "tool_result", "call": "c", "text": "42"}]},
            ],
            "stream": "s1",
            "chat": "c1",
            "max_tokens": 5,
            "temperature": 0.5,
            "top_p": 0.9,
            "stop": ["x"],
            "tools": [{"name": "f", "parameters": {"type": "object"}}],
            "tool_choice": "auto",
            "response_format": {"type": "json_object"},
            "time_limit": 2.5,
            "on_disconnect": "continue",
            "options": {"seed": 1},
        }
    )
    assert [m.role for m in request.messages] == ["system", "user", "assistant", "tool"]
    assert [type(c) for m in request.messages for c in m.content] == [Text, Text, Image, ToolCall, ToolResult]
    assert (request.stream, request.chat, request.max_tokens, request.stop) == ("s1", "c1", 5, ["x"])
    assert (request.temperature, request.top_p, request.time_limit) == (0.5, 0.9, 2.5)
    assert (str(request.on_disconnect), request.options, request.tools[0].name) == ("continue", {"seed": 1}, "f")


def test_whoever_will_come_later_is_not_waited_for():
    assert str(parse({"model": "m", "input": "x"}, {"prefer": "respond-async"}).on_disconnect) == "continue"
    said = {"model": "m", "input": "x", "on_disconnect": "cancel"}
    assert str(parse(said, {"prefer": "respond-async"}).on_disconnect) == "cancel"


ASK = {"model": "m", "input": "x"}


@pytest.mark.parametrize(
    ("body", "param"),
    [
        (b"", None),
        (b"   ", None),
        (b"{", None),
        (b"[]", None),
        (b"null", None),
        (b'"x"', None),
        (b"7", None),
        (b"\xff\xfe{}", None),
        (b'{"model":"m","input":"\xff"}', None),
        (b'{"model":"m","input":"\\ud800"}', None),
        (b"[" * 200_000, None),
        (b'{"model":"m","input":"x","options":' + b"[" * 100_000 + b"]" * 100_000 + b"}", None),
        ({"input": "x"}, None),
        ({"model": 5, "input": "x"}, "model"),
        ({"model": "m"}, "input"),
        ({"model": "m", "input": "x", "messages": [{"role": "user", "content": "x"}]}, "input"),
        ({"model": "m", "messages": []}, "messages"),
        ({"model": "m", "messages": [{"role": "robot", "content": "x"}]}, "messages[0].role"),
        ({"model": "m", "messages": [{"role": "user", "content": 7}]}, "messages[0].content"),
        (
            {"model": "m", "messages": [{"role": "user", "content": [{"type": "video"}]}]},
            "messages[0].content[0].type",
        ),
        ({**ASK, "colour": "red"}, None),
        ({**ASK, "stream": True}, "stream"),
        ({**ASK, "stream": "a b"}, "stream"),
        ({**ASK, "stream": ""}, "stream"),
        ({**ASK, "chat": "x" * 65}, "chat"),
        ({**ASK, "max_tokens": 0}, "max_tokens"),
        ({**ASK, "max_tokens": "7"}, "max_tokens"),
        ({**ASK, "time_limit": 0}, "time_limit"),
        ({**ASK, "time_limit": -1}, "time_limit"),
        ({**ASK, "stop": "x"}, "stop"),
        ({**ASK, "stop": [1]}, "stop[0]"),
        ({**ASK, "tools": [{}]}, "tools[0]"),
        ({**ASK, "on_disconnect": "grace"}, "on_disconnect"),
        ({**ASK, "options": []}, "options"),
    ],
)
def test_what_cannot_be_understood_is_refused_and_the_field_named(body, param):
    with pytest.raises(BadRequest) as caught:
        parse(body)
    assert caught.value.status == 400
    assert caught.value.param == param
    assert len(caught.value.message) < 400


@given(st.binary(max_size=60))
def test_any_bytes_are_a_request_or_refused(raw):
    with contextlib.suppress(BadRequest):
        parse(raw)


@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
        lambda inner: (
            st.lists(inner, max_size=3)
            | st.dictionaries(
                st.sampled_from(["model", "input", "messages", "role", "content", "type", "tools", "stop"]), inner
            )
        ),
        max_leaves=12,
    )
)
def test_any_json_is_a_request_or_refused(value):
    with contextlib.suppress(BadRequest):
        parse(json.dumps(value).encode())
