"""ConverseStream as Bedrock speaks it: recorded answers, exceptions that none of them holds, cut anywhere, and all that could go wrong."""

from __future__ import annotations

import json

import bedrock_streams as streams
import pytest
from bedrock_streams import CUTS, converse, event, exception, pieces, said, seams, well_formed
from botocore.eventstream import EventStreamBuffer
from hypothesis import given
from hypothesis import strategies as st

from tidewire.core import events as ev
from tidewire.core.errors import UpstreamError
from tidewire.core.events import Delta, Finish, PartEnded, PartStarted, Signature, Span, Timing, Usage
from tidewire.core.request import Request
from tidewire.dialects.aws_eventstream import Messages, message, write_headers
from tidewire.dialects.bedrock_host import ConverseHost

RECORDED = streams.binary("/converse-stream") | streams.lines()
needs_recordings = pytest.mark.skipif(not RECORDED, reason=f"no recorded answers at {streams.RECORDINGS}")


def decoded(*cuts: bytes) -> tuple[list[ev.Event], str | None]:
    return streams.decoded(ConverseHost().decoder(Request(model="m", messages=[])), *cuts)


def payloads(wire: bytes) -> list[tuple[str, dict]]:
    """Each event's name and content, by the parser of the SDK."""
    buffer = EventStreamBuffer()
    buffer.add_data(wire)
    return [(m.headers[":event-type"], json.loads(m.payload)) for m in buffer]


@needs_recordings
@pytest.mark.parametrize("name", RECORDED)
def test_a_recorded_answer_is_read_to_its_end(name):
    events, error = decoded(RECORDED[name])
    assert error is None
    well_formed(events)
    told = payloads(RECORDED[name])
    deltas = [p["delta"] for n, p in told if n == "contentBlockDelta"]
    assert "".join(said(events, "text")) == "".join(d.get("text", "") for d in deltas)
    thoughts = [d["reasoningContent"] for d in deltas if "reasoningContent" in d]
    assert "".join(said(events, "thinking")) == "".join(t.get("text", "") for t in thoughts)
    assert [e.value for e in events if isinstance(e, Signature)] == [
        t["signature"] for t in thoughts if "signature" in t
    ]
    starts = [p["start"]["toolUse"] for n, p in told if n == "contentBlockStart" and "toolUse" in p["start"]]
    began = [e for e in events if isinstance(e, PartStarted) and e.kind == "tool_call"]
    assert [(e.call, e.name) for e in began] == [(s["toolUseId"], s["name"]) for s in starts]
    arguments = "".join(d["toolUse"]["input"] for d in deltas if "toolUse" in d)
    assert "".join(said(events, "tool_call")) == (arguments or ("{}" if starts else ""))
    for text in said(events, "tool_call"):
        json.loads(text)
    counted = [p["usage"] for n, p in told if n == "metadata"]
    assert [(e.input, e.output) for e in events if isinstance(e, Usage)] == [
        (u["inputTokens"], u["outputTokens"]) for u in counted
    ]
    latencies = [p["metrics"]["latencyMs"] for n, p in told if n == "metadata" and "metrics" in p]
    assert [e.span for e in events if isinstance(e, Timing)] == [
        Span("host_latency", 0.0, ms, "reported") for ms in latencies
    ]
    [stopped] = [p["stopReason"] for n, p in told if n == "messageStop"]
    meant = {"end_turn": "stop", "tool_use": "tool_calls", "guardrail_intervened": "content_filter"}[stopped]
    assert events[-1] == Finish(reason=meant)


@needs_recordings
@pytest.mark.parametrize("name", RECORDED)
def test_a_recorded_answer_is_the_same_however_it_is_cut(name):
    wire = RECORDED[name]
    expected = decoded(wire)
    for size in CUTS:
        assert decoded(*pieces(wire, size)) == expected
    for at in seams(wire):
        assert decoded(wire[:at], wire[at:]) == expected


# From the reference of Bedrock Runtime: every kind of block that it describes.
START = {"messageStart": {"role": "assistant", "p": "abc"}}
STOP = {"messageStop": {"stopReason": "end_turn"}}
COUNTS = {
    "inputTokens": 3,
    "outputTokens": 5,
    "totalTokens": 19,
    "cacheReadInputTokens": 10,
    "cacheWriteInputTokens": 1,
}
METADATA = {"metadata": {"usage": COUNTS, "metrics": {"latencyMs": 42}, "p": "abcdef"}}


def delta(index: int, **content) -> dict:
    return {"contentBlockDelta": {"contentBlockIndex": index, "delta": content, "p": "abcdefgh"}}


def start(index: int, **content) -> dict:
    return {"contentBlockStart": {"contentBlockIndex": index, "start": content}}


def stop(index: int) -> dict:
    return {"contentBlockStop": {"contentBlockIndex": index}}


def call(index: int, name: str = "f", use: str = "c1") -> dict:
    return start(index, toolUse={"toolUseId": use, "name": name})


CITED = {"title": "A page", "source": "s1", "sourceContent": [{"text": "the "}, {"text": "words"}]}
EVERYTHING = converse(
    START,
    delta(0, reasoningContent={"text": "hm"}),
    delta(0, reasoningContent={"signature": "sig="}),
    stop(0),
    delta(1, reasoningContent={"redactedContent": "c2VjcmV0"}),
    stop(1),
    delta(2, citation=CITED | {"location": {"web": {"url": "https://example.com/a"}}}),
    delta(2, text="é😀\r\n"),
    delta(2, text="!"),
    stop(2),
    call(3),
    delta(3, toolUse={"input": '{"a":'}),
    delta(3, toolUse={"input": '"ü"}'}),
    stop(3),
    start(4, toolResult={"toolUseId": "s9", "type": "x"}),
    delta(4, toolResult=[{"text": "found "}, {"json": {"n": 1}}]),
    stop(4),
    start(5, image={"format": "png"}),
    delta(5, image={"source": {"bytes": "AAEC"}}),
    stop(5),
    {"messageStop": {"stopReason": "tool_use", "additionalModelResponseFields": {"x": 1}}},
    METADATA,
)
MEANT = [
    PartStarted(part=0, kind="thinking"),
    Delta(part=0, text="hm"),
    Signature(part=0, value="sig="),
    PartEnded(part=0),
    PartStarted(part=1, kind="thinking"),
    Signature(part=1, value="c2VjcmV0", redacted=True),
    PartEnded(part=1),
    PartStarted(part=2, kind="text"),
    Delta(part=2, text="é😀\r\n"),
    Delta(part=2, text="!"),
    ev.Citation(part=2, start=0, end=5, source="s1", title="A page", passage="the words", uri="https://example.com/a"),
    PartEnded(part=2),
    PartStarted(part=3, kind="tool_call", name="f", call="c1"),
    Delta(part=3, text='{"a":'),
    Delta(part=3, text='"ü"}'),
    PartEnded(part=3),
    PartStarted(part=4, kind="tool_result", call="s9"),
    Delta(part=4, text="found "),
    Delta(part=4, text='{"n":1}'),
    PartEnded(part=4),
    PartStarted(part=5, kind="image", media="image/png"),
    ev.Blob(part=5, data=b"\0\1\2"),
    PartEnded(part=5),
    Timing(span=Span("host_latency", 0.0, 42, "reported")),
    Usage(counted_by="host", input=14, output=5, cached=10, cache_write=1),
    Finish(reason="tool_calls"),
]


def test_every_kind_of_block_is_a_part_of_its_own():
    assert decoded(EVERYTHING) == (MEANT, None)


def test_every_single_cut_gives_the_same_events():
    for at in range(len(EVERYTHING) + 1):
        assert decoded(EVERYTHING[:at], EVERYTHING[at:]) == (MEANT, None)
    for size in CUTS:
        assert decoded(*pieces(EVERYTHING, size)) == (MEANT, None)


TEXT = (START, delta(0, text="one "))


@pytest.mark.parametrize(
    "events",
    [
        (*TEXT, stop(0), STOP, METADATA),
        (*TEXT, stop(0), METADATA, STOP),  # the other order
        (*TEXT, METADATA, STOP),  # no stop of the block
        (*TEXT, stop(0), STOP),  # no metadata
        (start(0), *TEXT, stop(0), stop(0), STOP),  # a start without content, a stop too many
        (*TEXT, start(0), stop(0), STOP),
        (*TEXT, STOP, {"somethingNew": {"a": 1}}, METADATA),
        (*TEXT, STOP, METADATA, delta(0, text="after the end")),
    ],
)
def test_the_end_comes_in_several_shapes(events):
    got, error = decoded(converse(*events))
    assert error is None
    well_formed(got)
    assert said(got, "text") == ["one "]


def test_nothing_counts_after_the_last_word():
    decoder = ConverseHost().decoder(Request(model="m", messages=[]))
    wire = converse(*TEXT, STOP, METADATA)
    assert decoder.feed(wire + b"garbage")[-1] == Finish(reason="stop")
    assert decoder.feed(b"more garbage" + wire) == []
    assert decoder.end() == []


def ended(*events, wire: bytes = b"") -> tuple[str, str | None]:
    """The text that came through, and the code of the error; the same for every cut."""
    whole = converse(*events) + wire
    expected = decoded(whole)
    for at in range(len(whole) + 1):
        assert decoded(whole[:at], whole[at:]) == expected
    return "".join(said(expected[0], "text")), expected[1]


@pytest.mark.parametrize(
    ("wire", "code"),
    [
        (b"", "upstream_cut"),
        (converse(stop(0)), "upstream_cut"),
        (converse(STOP)[:-3], "upstream_cut"),
        (converse({"messageStop": {"stopReason": "malformed_tool_use"}}), "upstream_error"),
        (converse({"messageStop": {"stopReason": "malformed_model_output"}}), "upstream_error"),
        (exception("throttlingException", "Too many tokens"), "upstream_error"),
        (exception("unheardOfException", {}), "upstream_error"),
        (exception("validationException", ["odd"]), "upstream_error"),
        (event("contentBlockDelta", b"not json"), "upstream_bad_event"),
        (event("contentBlockDelta", [1]), "upstream_bad_event"),
        (event("contentBlockDelta", b'{"contentBlockIndex":0,"delta":{"text":"\xff"}}'), "upstream_bad_event"),
        (event("contentBlockDelta", b'{"contentBlockIndex":"0"}'), "upstream_bad_event"),
        (event("contentBlockDelta", b'{"a":' + b"[" * 100_000), "upstream_bad_event"),
        (event("messageStop", {"stopReason": 5}), "upstream_bad_event"),
        (event("metadata", {"usage": {"inputTokens": "3"}}), "upstream_bad_event"),
        (converse(delta(1, toolUse={"input": "{}"})), "upstream_bad_tool_call"),
        (converse(start(1, toolUse={"toolUseId": "c"})), "upstream_bad_tool_call"),
        (converse(delta(1, toolResult=[{"text": "x"}])), "upstream_bad_event"),
        (converse(start(1, image={}), delta(1, image={"source": {"bytes": "%"}})), "upstream_bad_event"),
        (converse(start(1, image={}), delta(1, image={"error": {"message": "no"}})), "upstream_error"),
        (message(write_headers({"a": 1}), b"{}"), "upstream_bad_event"),
        (message(write_headers({":message-type": "error", ":error-code": "x"}), b""), "upstream_error"),
        (b"\n\nnot a message at all", "upstream_bad_event"),
    ],
    ids=range(23),
)
def test_an_answer_that_goes_wrong_keeps_what_came_before(wire, code):
    whole = converse(*TEXT) + wire
    expected = decoded(whole)
    assert ("".join(said(expected[0], "text")), expected[1]) == ("one ", code)
    for at in range(0, len(whole) + 1, 1 if len(whole) < 2000 else 997):
        assert decoded(whole[:at], whole[at:]) == expected


@pytest.mark.parametrize(
    ("name", "status", "asked", "retryable"),
    [
        ("internalServerException", 502, 500, True),
        ("modelStreamErrorException", 502, 424, True),
        ("validationException", 400, 400, False),
        ("throttlingException", 429, 429, True),
        ("serviceUnavailableException", 502, 503, True),
        ("modelTimeoutException", 502, 408, True),
    ],
)
def test_an_exception_says_what_happened_and_whether_to_ask_again(name, status, asked, retryable):
    wire = exception(name, {"message": "It went wrong.", "originalStatusCode": 500})
    buffer = EventStreamBuffer()
    buffer.add_data(wire)
    assert next(buffer).to_response_dict()["status_code"] == 400  # what the SDK raises as an error
    decoder = ConverseHost().decoder(Request(model="m", messages=[]))
    with pytest.raises(UpstreamError, match=f"{name}: It went wrong") as caught:
        decoder.feed(converse(*TEXT) + wire)
    error = caught.value
    assert (error.kind, error.status, error.upstream_status) == ("upstream_error", status, asked)
    assert error.retryable == retryable
    assert [e.text for e in error.before if isinstance(e, Delta)] == ["one "]


def test_an_error_without_a_shape_is_quoted_too():
    wire = message(write_headers({":message-type": "error", ":error-code": "Odd", ":error-message": "No."}), b"")
    with pytest.raises(UpstreamError, match=r"Odd: No\."):
        ConverseHost().decoder(Request(model="m", messages=[])).feed(wire)


def tools(*events) -> list[tuple[str | None, str | None, str]]:
    got, error = decoded(converse(START, *events, {"messageStop": {"stopReason": "tool_use"}}))
    assert error is None
    well_formed(got)
    began = [e for e in got if isinstance(e, PartStarted) and e.kind == "tool_call"]
    return [(e.call, e.name, text) for e, text in zip(began, said(got, "tool_call"), strict=True)]


def piece(index: int, text) -> dict:
    return delta(index, toolUse={"input": text})


def test_parallel_calls_may_take_turns():
    assert tools(
        call(0, "f", "a"), call(1, "g", "b"), piece(0, '{"x"'), piece(1, "{"), piece(0, ":1}"), piece(1, "}")
    ) == [
        ("a", "f", '{"x":1}'),
        ("b", "g", "{}"),
    ]


def test_an_index_that_is_used_again_is_another_call():
    assert tools(call(0, "f", "a"), piece(0, "{}"), call(0, "g", "b"), piece(0, "[]")) == [
        ("a", "f", "{}"),
        ("b", "g", "[]"),
    ]


def test_indices_may_be_shifted_or_missing():
    assert tools(call(7, "f", "a"), piece(7, "{}"), stop(7)) == [("a", "f", "{}")]
    nameless = {"contentBlockStart": {"start": {"toolUse": {"toolUseId": "a", "name": "f"}}}}
    assert tools(nameless, {"contentBlockDelta": {"delta": {"toolUse": {"input": "{}"}}}}) == [("a", "f", "{}")]


def test_a_call_without_arguments_is_one_of_an_empty_object():
    assert tools(call(0), stop(0)) == [("c1", "f", "{}")]
    assert tools(call(0), piece(0, ""), piece(0, None)) == [("c1", "f", "{}")]


def test_arguments_that_come_as_an_object_become_text_and_a_call_without_an_id_gets_one():
    assert tools(start(0, toolUse={"name": "f"}), piece(0, {"a": 1})) == [("call_0", "f", '{"a":1}')]


def test_a_block_that_changes_its_kind_is_two_parts():
    got, error = decoded(converse(delta(0, reasoningContent={"text": "hm"}), delta(0, text="so"), STOP))
    assert error is None
    well_formed(got)
    assert [e.kind for e in got if isinstance(e, PartStarted)] == ["thinking", "text"]


def test_text_that_no_stop_ends_ends_where_the_next_block_begins():
    got, _ = decoded(converse(delta(0, text="a"), call(1), piece(1, "{}"), stop(1), delta(2, text="b"), STOP))
    assert got.index(PartEnded(part=0)) < got.index(PartStarted(part=1, kind="tool_call", name="f", call="c1"))
    assert said(got, "text") == ["a", "b"]


@pytest.mark.parametrize(
    ("reason", "meant"),
    [
        ("end_turn", "stop"),
        ("stop_sequence", "stop_string"),
        ("max_tokens", "length"),
        ("model_context_window_exceeded", "length"),
        ("tool_use", "tool_calls"),
        ("guardrail_intervened", "content_filter"),
        ("content_filtered", "content_filter"),
        ("whatever", "stop"),
        (None, "stop"),
    ],
)
def test_why_it_ended_is_said_in_our_words(reason, meant):
    got, _ = decoded(converse(*TEXT, {"messageStop": {"stopReason": reason}}))
    assert got[-1] == Finish(reason=meant)


@pytest.mark.parametrize("flood", [[call(i) for i in range(2000)], [delta(0, citation=CITED)] * 2000])
def test_what_a_host_never_ends_is_not_held_for_ever(flood):
    assert decoded(converse(*flood))[1] == "upstream_bad_event"


ODD = st.recursive(
    st.none() | st.booleans() | st.integers(-2, 2) | st.text(max_size=3),
    lambda inner: (
        st.lists(inner, max_size=2)
        | st.dictionaries(
            st.sampled_from(
                ["text", "toolUse", "reasoningContent", "citation", "input", "name", "image", "source", "delta"]
            ),
            inner,
            max_size=3,
        )
    ),
    max_leaves=8,
)
ANY = st.lists(
    st.tuples(
        st.sampled_from(["contentBlockStart", "contentBlockDelta", "contentBlockStop", "messageStop", "metadata"]),
        st.fixed_dictionaries(
            {}, optional={n: ODD for n in ("contentBlockIndex", "delta", "start", "stopReason", "usage", "metrics")}
        ),
    ),
    max_size=6,
)


@given(ANY, st.integers(1, 100))
def test_whatever_the_events_hold_they_are_read_or_refused_the_same_for_every_cut(events, size):
    wire = b"".join(event(name, payload) for name, payload in events)
    expected = decoded(wire)
    assert decoded(*pieces(wire, size)) == expected
    if expected[1] is None:
        well_formed(expected[0])


def test_padding_and_headers_are_read_as_they_stand():
    assert [dict(h)[":event-type"] for h, _ in Messages().feed(converse(START, METADATA))] == [
        "messageStart",
        "metadata",
    ]
