"""AG-UI: what we serve, checked by the order that @ag-ui/client 1.0.0 insists on, and what we take."""

from __future__ import annotations

import base64
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from strategies import logs, meta_of, numbered, opened
from tidewire.core import events as ev
from tidewire.core.errors import BadRequest
from tidewire.core.events import ErrorInfo
from tidewire.core.request import Audio, File, Image, Text, Thinking, Thought, ToolCall, ToolResult
from tidewire.core.sse import Frames
from tidewire.dialects.agui import AGUI

DIALECT = AGUI("simulated")
STOP = ev.Closed(status="completed", reason="stop")


def render(meta, entries, after=0) -> bytes:
    return DIALECT.stream(meta, after).feed(entries)


def told(*events: ev.Event, meta=None) -> list[dict]:
    """All but the first and the last."""
    meta = meta or meta_of()
    return events_of(render(meta, numbered([opened(meta), *events, STOP])))[1:-1]


def events_of(raw: bytes) -> list[dict]:
    return [json.loads(data) for _, data in Frames().feed(raw)]


def types(events: list[dict]) -> list[str]:
    return [e["type"] for e in events]


def in_order(events: list[dict]) -> None:
    """What the official client refuses: anything before RUN_STARTED or after the end, and what goes on or ends unopened."""
    assert events[0]["type"] == "RUN_STARTED"
    assert sum(e["type"] in ("RUN_FINISHED", "RUN_ERROR") for e in events) == 1
    still: set[tuple[str, str]] = set()
    for event in events[1:-1]:
        kind = event["type"]
        family, _, last = kind.rpartition("_")
        name = event.get("toolCallId") or event.get("messageId") or event.get("stepName") or ""
        if last in ("START", "STARTED"):
            assert (family, name) not in still
            still.add((family, name))
        elif last in ("CONTENT", "ARGS", "END", "FINISHED"):
            assert (family, name) in still
            assert event.get("delta") != ""
            if last in ("END", "FINISHED"):
                still.remove((family, name))
        else:
            assert kind in ("CUSTOM", "TOOL_CALL_RESULT", "REASONING_ENCRYPTED_VALUE")
    assert not still
    assert events[-1]["type"] in ("RUN_FINISHED", "RUN_ERROR")


def parse(*messages, headers=None, **fields):
    body = {"threadId": "t1", "runId": "r1", "state": {}, "messages": messages, "tools": [], "context": []} | fields
    return DIALECT.parse(json.dumps(body).encode(), headers or {})[0]


def user(content="Hello?"):
    return {"id": "u", "role": "user", "content": content}


# The stream


@given(logs(), st.data())
def test_the_bytes_do_not_depend_on_where_the_log_is_cut(log, data):
    meta, entries = log
    cuts = sorted(data.draw(st.lists(st.integers(0, len(entries)), max_size=4)))
    renderer = DIALECT.stream(meta)
    pieces = [renderer.feed(entries[a:b]) for a, b in zip([0, *cuts], [*cuts, len(entries)], strict=True)]
    assert b"".join(pieces) == render(meta, entries)
    one_by_one = DIALECT.stream(meta)
    assert b"".join(one_by_one.feed([e]) for e in entries) == render(meta, entries)
    assert renderer.ended


@given(logs())
def test_a_cursor_gives_exactly_the_rest_of_the_frames_and_is_the_number_of_the_frame(log):
    meta, entries = log
    frames = render(meta, entries).split(b"\n\n")[:-1]
    assert [f.split(b"\n")[0] for f in frames] == [b"id: %d" % n for n in range(1, len(frames) + 1)]
    for after in range(len(frames) + 1):
        assert render(meta, entries, after) == b"".join(f + b"\n\n" for f in frames[after:])


@given(logs())
def test_every_log_is_told_in_the_order_that_the_client_insists_on(log):
    in_order(events_of(render(*log)))


def test_a_text_is_a_message():
    got = told(ev.PartStarted(part=0, kind="text"), ev.Delta(part=0, text="é"), ev.Delta(part=0, text=""))
    name = f"{meta_of().stream}-0"
    assert got == [
        {"type": "TEXT_MESSAGE_START", "messageId": name, "role": "assistant"},
        {"type": "TEXT_MESSAGE_CONTENT", "messageId": name, "delta": "é"},
        {"type": "TEXT_MESSAGE_END", "messageId": name},
    ]


def test_the_run_is_named_as_the_client_named_it():
    meta = meta_of(thread="thread 1", run="run/1", parent="r0")
    first, *_, last = events_of(render(meta, numbered([opened(meta), STOP])))
    assert first == {
        "type": "RUN_STARTED",
        "threadId": "thread 1",
        "runId": "run/1",
        "protocolVersion": "1.0",
        "parentRunId": "r0",
    }
    assert (last["threadId"], last["runId"], last["outcome"]) == ("thread 1", "run/1", {"type": "success"})
    assert last["result"] == {"status": "completed", "reason": "stop"}


def test_a_thought_is_a_span_of_reasoning_with_its_signature():
    got = told(
        ev.PartStarted(part=0, kind="thinking"),
        ev.Delta(part=0, text="hm"),
        ev.Signature(part=0, value="sig"),
        ev.PartEnded(part=0),
    )
    assert types(got) == [
        "REASONING_START",
        "REASONING_MESSAGE_START",
        "REASONING_MESSAGE_CONTENT",
        "REASONING_ENCRYPTED_VALUE",
        "REASONING_MESSAGE_END",
        "REASONING_END",
    ]
    assert got[1]["role"] == "reasoning"
    assert (got[3]["subtype"], got[3]["entityId"], got[3]["encryptedValue"]) == ("message", got[1]["messageId"], "sig")


def test_calls_belong_to_the_message_before_them_and_to_their_own_behind_a_thought():
    got = told(
        ev.PartStarted(part=0, kind="text"),
        ev.PartEnded(part=0),
        ev.PartStarted(part=1, kind="tool_call", name="f", call="a"),
        ev.Delta(part=1, text="{}"),
        ev.PartEnded(part=1),
        ev.PartStarted(part=2, kind="thinking"),
        ev.PartEnded(part=2),
        ev.PartStarted(part=3, kind="tool_call", name="g", call="b"),
        ev.Signature(part=3, value="sig"),
        ev.PartStarted(part=4, kind="tool_call", name="h"),
    )
    starts = [e for e in got if e["type"] == "TOOL_CALL_START"]
    stream = meta_of().stream
    assert [(e["toolCallId"], e["toolCallName"], e["parentMessageId"]) for e in starts] == [
        ("a", "f", f"{stream}-0"),
        ("b", "g", f"{stream}-3"),
        ("call_4", "h", f"{stream}-3"),
    ]
    [signed] = [e for e in got if e["type"] == "REASONING_ENCRYPTED_VALUE"]
    assert (signed["subtype"], signed["entityId"]) == ("tool-call", "b")


def test_calls_whose_arguments_are_whole_are_pending_and_a_call_cut_off_is_not():
    meta = meta_of()
    log = [
        opened(meta),
        ev.PartStarted(part=0, kind="tool_call", name="f", call="a"),
        ev.PartEnded(part=0),
        ev.PartStarted(part=1, kind="tool_call", name="f", call="b"),
        ev.Delta(part=1, text='{"x":'),
        ev.PartStarted(part=2, kind="tool_call", name="f", call="c"),
        ev.PartStarted(part=3, kind="tool_result", call="c"),
        ev.Delta(part=3, text="42"),
        ev.PartEnded(part=3),
        ev.Closed(status="incomplete", reason="length"),
    ]
    *before, last = events_of(render(meta, numbered(log)))
    assert last["outcome"] == {"type": "success", "pendingToolCallIds": ["a"]}
    assert last["result"]["reason"] == "length"
    [result] = [e for e in before if e["type"] == "TOOL_CALL_RESULT"]
    assert (result["toolCallId"], result["content"], result["role"]) == ("c", "42", "tool")


def test_progress_is_steps_that_end_where_the_answer_begins():
    got = told(
        ev.Progress(stage="queued"),
        ev.Progress(stage="waiting", detail="waiting for m"),
        ev.Progress(stage="waiting"),
        ev.PartStarted(part=0, kind="text"),
        ev.Progress(stage="drafting"),
    )
    assert [(e["type"], e.get("stepName")) for e in got] == [
        ("STEP_STARTED", "queued"),
        ("STEP_FINISHED", "queued"),
        ("STEP_STARTED", "waiting"),
        ("STEP_FINISHED", "waiting"),
        ("TEXT_MESSAGE_START", None),
        ("STEP_STARTED", "drafting"),
        ("TEXT_MESSAGE_END", None),
        ("STEP_FINISHED", "drafting"),
    ]
    assert got[2]["metadata"] == {"detail": "waiting for m"}


def test_what_has_no_event_is_custom():
    got = told(
        ev.Notice(code="degraded", message="a smaller model answers"),
        ev.PartStarted(part=0, kind="text"),
        ev.Citation(part=0, start=1, end=4, source="d", title="Tides", passage="High.", uri="https://e.org"),
        ev.Field(part=0, path="/name", value=None),
        ev.Checked(part=0, valid=False, problems=["age is missing"]),
        ev.Logprobs(part=0, content=[]),
        ev.PartEnded(part=0),
        ev.PartStarted(part=1, kind="image", media="image/webp"),
        ev.Blob(part=1, data=b"\x00\xff", partial=True),
        ev.PartEnded(part=1),
        ev.PartStarted(part=2, kind="audio", media="audio/mpeg"),
        ev.Blob(part=2, data=b"snd"),
    )
    name = meta_of().stream
    custom = {e["name"]: e["value"] for e in got if e["type"] == "CUSTOM"}
    assert custom["notice"] == {"code": "degraded", "message": "a smaller model answers"}
    assert custom["citation"]["uri"] == "https://e.org"
    assert (custom["citation"]["start"], custom["citation"]["end"]) == (1, 4)
    assert custom["field"] == {"messageId": f"{name}-0", "path": "/name", "value": None}
    assert custom["checked"] == {"messageId": f"{name}-0", "valid": False, "problems": ["age is missing"]}
    assert custom["image"] == {"messageId": f"{name}-1", "mimeType": "image/webp", "data": "AP8=", "partial": True}
    assert base64.b64decode(custom["audio"]["data"]) == b"snd"
    assert len(custom) == 6


def test_a_refusal_is_a_message_that_says_so():
    got = told(ev.PartStarted(part=0, kind="refusal"), ev.Delta(part=0, text="No."))
    assert got[0]["metadata"] == {"refusal": True}
    assert types(got) == ["TEXT_MESSAGE_START", "TEXT_MESSAGE_CONTENT", "TEXT_MESSAGE_END"]


def test_of_several_answers_the_first_is_told():
    got = told(
        ev.PartStarted(part=0, kind="text"),
        ev.PartStarted(part=1, kind="text", choice=1),
        ev.Delta(part=1, text="second"),
        ev.Signature(part=1, value="s"),
        ev.PartEnded(part=1),
        ev.ChoiceEnded(choice=1, reason="stop"),
        ev.Delta(part=0, text="first"),
    )
    assert [e["delta"] for e in got if "delta" in e] == ["first"]
    assert len(got) == 3


def test_a_cancelled_run_finishes_as_cancelled():
    meta = meta_of()
    log = [opened(meta), ev.PartStarted(part=0, kind="text"), ev.Closed(status="cancelled", reason="client")]
    last = events_of(render(meta, numbered(log)))[-1]
    assert (last["type"], last["outcome"]) == ("RUN_FINISHED", {"type": "cancelled"})


def test_a_failed_run_ends_with_its_error_and_what_it_used():
    meta = meta_of()
    error = ErrorInfo("upstream_rate_limited", "too much", status=429, retryable=True, retry_after=2.0)
    closed = ev.Closed(status="failed", reason="error", error=error, input_tokens=3, output_tokens=1)
    last = events_of(render(meta, numbered([opened(meta), closed])))[-1]
    assert last == {
        "type": "RUN_ERROR",
        "message": "too much",
        "code": "upstream_rate_limited",
        "metadata": {"status": 429, "retryable": True, "retryAfter": 2.0},
        "usage": [{"model": "simulated", "inputTokens": 3, "outputTokens": 1, "totalTokens": 4}],
    }


def test_usage_counts_parts_as_parts_of_the_totals():
    meta = meta_of()
    closed = ev.Closed(
        status="completed",
        reason="stop",
        input_tokens=11,
        output_tokens=7,
        cached_tokens=4,
        reasoning_tokens=2,
        cache_write_tokens=1,
    )
    [used] = events_of(render(meta, numbered([opened(meta), closed])))[-1]["usage"]
    assert used == {
        "model": "simulated",
        "inputTokens": 11,
        "outputTokens": 7,
        "totalTokens": 18,
        "reasoningTokens": 2,
        "cachedInputTokens": 4,
        "cacheWriteInputTokens": 1,
    }


def test_an_error_before_the_stream_has_the_shape_of_the_event():
    said = json.loads(DIALECT.error(ErrorInfo("invalid_value", "no", status=400, param="runId")))
    assert (said["type"], said["code"], said["metadata"]["param"]) == ("RUN_ERROR", "invalid_value", "runId")


# The whole run


@given(logs())
def test_the_whole_run_holds_what_the_stream_told(log):
    meta, entries = log
    whole = DIALECT.whole(meta)
    raw = b"".join(whole.feed([e]) for e in entries)
    assert whole.ended
    events = events_of(render(meta, entries))
    if whole.failure is not None:
        assert raw == b""
        assert events[-1]["message"] == whole.failure.message
        return
    document = json.loads(raw)
    assert document["outcome"] == events[-1]["outcome"]
    assert document.get("usage") == events[-1].get("usage")
    texts: dict[str, str] = {}
    calls: dict[str, str] = {}
    for event in events:
        if event["type"] in ("TEXT_MESSAGE_START", "REASONING_MESSAGE_START"):
            texts[event["messageId"]] = ""
        elif event["type"] == "TOOL_CALL_START":
            calls[event["toolCallId"]] = ""
        elif event["type"] in ("TEXT_MESSAGE_CONTENT", "REASONING_MESSAGE_CONTENT"):
            texts[event["messageId"]] += event["delta"]
        elif event["type"] == "TOOL_CALL_ARGS":
            calls[event["toolCallId"]] += event["delta"]
        elif event["type"] == "TOOL_CALL_RESULT":
            texts[event["messageId"]] = event["content"]
    messages = document["messages"]
    assert {m["id"]: m["content"] for m in messages if "content" in m} == texts
    made = [c for m in messages for c in m.get("toolCalls", ())]
    assert {c["id"]: c["function"]["arguments"] for c in made} == calls


# The request


def test_a_run_becomes_a_request_under_its_own_names():
    request = parse(user(), parentRunId="r0")
    assert (request.stream, request.chat, request.model, str(request.on_disconnect)) == (
        "r1",
        "t1",
        "simulated",
        "grace:15",
    )
    assert request.messages[0].content == [Text("Hello?")]
    assert request.record == {"thread": "t1", "run": "r1", "parent": "r0", "title": "Hello?"}


def test_names_that_are_no_ids_of_ours_are_kept_and_not_used():
    request = parse(user(), runId="run 1", threadId="ü")
    assert (request.stream, request.chat) == (None, None)
    assert (request.record["run"], request.record["thread"]) == ("run 1", "ü")


def test_the_model_is_that_of_the_run_else_of_a_header_else_the_servers():
    header = {"x-tidewire-model": "m2"}
    assert parse(user(), headers=header, forwardedProps={"model": "m1"}).model == "m1"
    assert parse(user(), headers=header, forwardedProps={"theme": 3}).model == "m2"
    assert parse(user(), forwardedProps="anything").model == "simulated"
    with pytest.raises(BadRequest, match="model"):
        AGUI().parse(json.dumps({"threadId": "t", "runId": "r", "messages": [user()]}).encode(), {})


def test_how_to_answer_is_said_in_the_forwarded_props():
    props = {
        "temperature": 0.5,
        "topP": 0.9,
        "maxTokens": 9,
        "stop": "END",
        "toolChoice": "required",
        "responseFormat": {"type": "json_object"},
        "thinking": {"effort": "low"},
    }
    tool = {"name": "f", "description": "does", "parameters": {"type": "object"}}
    request = parse(user(), tools=[tool], forwardedProps=props)
    assert (request.temperature, request.top_p, request.max_tokens, request.stop) == (0.5, 0.9, 9, ["END"])
    assert (request.tool_choice, request.response_format) == ("required", {"type": "json_object"})
    assert request.thinking == Thinking(effort="low")
    assert (request.tools[0].name, request.tools[0].description) == ("f", "does")


def test_a_conversation_keeps_its_order_thoughts_in_front_of_what_they_led_to():
    call = {"id": "c1", "type": "function", "function": {"name": "f", "arguments": "{}"}, "encryptedValue": "s2"}
    request = parse(
        {"id": "1", "role": "developer", "content": "Be brief."},
        user(),
        {"id": "3", "role": "reasoning", "content": "hm", "encryptedValue": "s1"},
        {"id": "4", "role": "reasoning", "content": "", "encryptedValue": "hidden"},
        {"id": "5", "role": "assistant", "toolCalls": [call]},
        {"id": "6", "role": "tool", "toolCallId": "c1", "content": "42"},
        {"id": "7", "role": "activity", "activityType": "x", "content": {}},
        {"id": "8", "role": "tool", "toolCallId": "c2", "content": "", "error": "down"},
        {"id": "9", "role": "reasoning", "content": "so"},
        user("And?"),
        context=[{"description": "The page", "value": "Tides"}],
    )
    assert [m.role for m in request.messages] == [
        "system",
        "system",
        "user",
        "assistant",
        "tool",
        "tool",
        "assistant",
        "user",
    ]
    assert request.messages[0].text == "The page:\nTides"
    assert request.messages[3].content == [
        Thought("hm", "s1"),
        Thought("", "hidden", redacted=True),
        ToolCall("c1", "f", "{}", "s2"),
    ]
    assert request.messages[4].content == [ToolResult("c1", "42")]
    assert request.messages[5].content == [ToolResult("c2", "down", failed=True)]
    assert request.messages[6].content == [Thought("so")]


def test_every_kind_of_part_is_read():
    parts = [
        {"type": "text", "text": "See"},
        {"type": "image", "source": {"type": "data", "value": "QQ==", "mimeType": "image/png"}},
        {"type": "image", "source": {"type": "url", "value": "https://e.org/a.png"}},
        {"type": "audio", "source": {"type": "data", "value": "QQ==", "mimeType": "audio/x-wav"}},
        {
            "type": "document",
            "source": {"type": "data", "value": "QQ==", "mimeType": "application/pdf"},
            "metadata": {"filename": "a.pdf"},
        },
        {"type": "image", "source": {"type": "file", "value": "file-1", "provider": "openai"}},
        {"type": "binary", "mimeType": "image/png", "data": "QQ=="},
        {"type": "binary", "mimeType": "text/csv", "url": "https://e.org/a.csv", "filename": "a.csv"},
    ]
    assert parse(user(parts)).messages[0].content == [
        Text("See"),
        Image("data:image/png;base64,QQ=="),
        Image("https://e.org/a.png"),
        Audio("QQ==", "wav"),
        File(url="data:application/pdf;base64,QQ==", name="a.pdf"),
        File(id="file-1"),
        Image("data:image/png;base64,QQ=="),
        File(url="https://e.org/a.csv", name="a.csv"),
    ]


def test_a_tool_may_answer_with_a_picture():
    parts = [{"type": "text", "text": "here"}, {"type": "image", "source": {"type": "url", "value": "https://e.org/a"}}]
    [result] = parse(user(), {"role": "tool", "id": "x", "toolCallId": "c", "content": parts}).messages[1].content
    assert result == ToolResult("c", "here", images=[Image("https://e.org/a")])


@pytest.mark.parametrize(
    ("messages", "fields", "param"),
    [
        ([], {}, "messages"),
        ([{"id": "1", "role": "poet", "content": ""}], {}, "messages[0].role"),
        ([user({"text": 1})], {}, "messages[0].content"),
        ([user([{"type": "text"}])], {}, "messages[0].content[0].type"),
        ([user([{"type": "image", "source": "x"}])], {}, "messages[0].content[0].source"),
        (
            [user([{"type": "image", "source": {"type": "data", "value": "QQ=="}}])],
            {},
            "messages[0].content[0].source.mimeType",
        ),
        ([{"id": "1", "role": "assistant", "content": [1]}], {}, "messages[0].content"),
        ([{"id": "1", "role": "tool", "content": "x"}], {}, "messages[0].toolCallId"),
        ([user()], {"runId": None}, "runId"),
        ([user()], {"resume": [{"interruptId": "i", "status": "resolved"}]}, "resume"),
        ([user()], {"forwardedProps": {"maxTokens": 0}}, "forwardedProps.maxTokens"),
        ([user()], {"forwardedProps": {"temperature": "hot"}}, "forwardedProps.temperature"),
    ],
)
def test_what_cannot_be_read_is_refused_by_name(messages, fields, param):
    with pytest.raises(BadRequest) as caught:
        parse(*messages, **fields)
    assert caught.value.param == param


def test_a_client_that_takes_only_json_gets_the_whole_run():
    body = json.dumps({"threadId": "t", "runId": "r", "messages": [user()]}).encode()
    assert not DIALECT.parse(body, {"accept": "application/json"})[1]
    assert DIALECT.parse(body, {"accept": "text/event-stream"})[1]
    assert DIALECT.parse(body, {})[1]
