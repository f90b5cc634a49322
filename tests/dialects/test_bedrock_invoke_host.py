"""InvokeModelWithResponseStream for Anthropic's models: recorded answers, and those of its reference, cut anywhere."""

from __future__ import annotations

import base64
import json

import bedrock_streams as streams
import pytest
from bedrock_streams import CUTS, chunk, event, exception, pieces, said, seams, well_formed
from botocore.eventstream import EventStreamBuffer

from tidewire.core import events as ev
from tidewire.core.errors import BadRequest, UpstreamError
from tidewire.core.events import Delta, Finish, Span, Timing, Usage
from tidewire.core.request import File, Image, Message, Request, Text, Thinking
from tidewire.dialects.anthropic_host import MessagesHost
from tidewire.dialects.bedrock_invoke_host import InvokeHost

INVOKED = streams.binary("/invoke-with-response-stream")
RECORDED = {name: wire for name, wire in INVOKED.items() if "anthropic" in name}
OTHERS = {name: wire for name, wire in INVOKED.items() if "anthropic" not in name}
missing = f"no recorded answers at {streams.RECORDINGS}"


def decoded(*cuts: bytes) -> tuple[list[ev.Event], str | None]:
    return streams.decoded(InvokeHost().decoder(Request(model="m", messages=[])), *cuts)


@pytest.mark.skipif(not RECORDED, reason=missing)
@pytest.mark.parametrize("name", RECORDED)
def test_a_recorded_answer_is_read_to_its_end_however_it_is_cut(name):
    wire = RECORDED[name]
    expected = decoded(wire)
    events, error = expected
    assert error is None
    well_formed(events)
    buffer = EventStreamBuffer()
    buffer.add_data(wire)
    told = [json.loads(base64.b64decode(json.loads(m.payload)["bytes"])) for m in buffer]
    texts = [t["delta"]["text"] for t in told if t["type"] == "content_block_delta"]
    assert said(events, "text") == ["".join(texts)]
    metrics = told[-1]["amazon-bedrock-invocationMetrics"]
    assert [e.span for e in events if isinstance(e, Timing)] == [
        Span("host_first_byte", 0.0, metrics["firstByteLatency"], "reported"),
        Span("host_latency", 0.0, metrics["invocationLatency"], "reported"),
    ]
    usage = [e for e in events if isinstance(e, Usage)][-1]
    assert (usage.input, usage.output) == (metrics["inputTokenCount"], metrics["outputTokenCount"])
    for size in CUTS:
        assert decoded(*pieces(wire, size)) == expected


@pytest.mark.skipif(not OTHERS, reason=missing)
@pytest.mark.parametrize("name", OTHERS)
def test_the_words_of_another_vendor_are_an_error_and_not_an_empty_answer(name):
    assert decoded(OTHERS[name])[1] in ("upstream_cut", "upstream_bad_event")


# From Anthropic's reference of streaming, in Bedrock's framing.
EVENTS = [
    {"type": "message_start", "message": {"id": "m", "role": "assistant", "usage": {"input_tokens": 3}}},
    {"type": "content_block_start", "index": 0, "content_block": {"type": "thinking", "thinking": "", "signature": ""}},
    {"type": "ping"},
    {"type": "content_block_delta", "index": 0, "delta": {"type": "thinking_delta", "thinking": "hm"}},
    {"type": "content_block_delta", "index": 0, "delta": {"type": "signature_delta", "signature": "sig"}},
    {"type": "content_block_stop", "index": 0},
    {"type": "content_block_start", "index": 1, "content_block": {"type": "text", "text": ""}},
    {"type": "content_block_delta", "index": 1, "delta": {"type": "text_delta", "text": "é😀\r\n"}},
    {"type": "content_block_stop", "index": 1},
    {
        "type": "content_block_start",
        "index": 2,
        "content_block": {"type": "tool_use", "id": "t", "name": "f", "input": {}},
    },
    {"type": "content_block_delta", "index": 2, "delta": {"type": "input_json_delta", "partial_json": '{"a":'}},
    {"type": "content_block_delta", "index": 2, "delta": {"type": "input_json_delta", "partial_json": "1}"}},
    {"type": "content_block_stop", "index": 2},
    {"type": "message_delta", "delta": {"stop_reason": "tool_use"}, "usage": {"output_tokens": 7}},
    {"type": "message_stop", "amazon-bedrock-invocationMetrics": {"invocationLatency": 9, "firstByteLatency": None}},
]
WIRE = b"".join(chunk(e) for e in EVENTS)


def test_the_events_are_those_of_the_vendor_itself_and_the_hosts_times():
    sse = b"".join(b"event: %s\ndata: %s\n\n" % (e["type"].encode(), json.dumps(e).encode()) for e in EVENTS)
    theirs, _ = streams.decoded(MessagesHost().decoder(Request(model="m", messages=[])), sse)
    expected = [*theirs, Timing(span=Span("host_latency", 0.0, 9.0, "reported"))]
    got, error = decoded(WIRE)
    assert error is None
    assert sorted(map(repr, got)) == sorted(map(repr, expected))
    assert [e for e in got if not isinstance(e, Timing)] == theirs
    assert got[-1] == Finish(reason="tool_calls")


def test_every_single_cut_gives_the_same_events():
    expected = decoded(WIRE)
    for at in range(len(WIRE) + 1):
        assert decoded(WIRE[:at], WIRE[at:]) == expected
    for at in seams(WIRE):
        assert decoded(WIRE[:at], WIRE[at:]) == expected


BEGUN = b"".join(chunk(e) for e in EVENTS[:8])


@pytest.mark.parametrize(
    ("wire", "code"),
    [
        (b"", "upstream_cut"),
        (chunk({"type": "message_stop"})[:-2], "upstream_cut"),
        (exception("modelTimeoutException", "Too slow."), "upstream_error"),
        (exception("modelStreamErrorException", {"message": "x", "originalStatusCode": 500}), "upstream_error"),
        (chunk({"type": "error", "error": {"type": "overloaded_error", "message": "Busy."}}), "upstream_error"),
        (chunk(b"not json"), "upstream_bad_event"),
        (event("chunk", {"bytes": "%"}), "upstream_bad_event"),
        (event("chunk", {"bytes": "é"}), "upstream_bad_event"),
        (event("chunk", {"bytes": 5}), "upstream_bad_event"),
        (event("chunk", b"["), "upstream_bad_event"),
        (chunk(b'{"amazon-bedrock-invocationMetrics":5}'), "upstream_bad_event"),
        (event("chunk", {}) + event("novelty", {"a": 1}), "upstream_cut"),
        (b"garbage that is no message", "upstream_bad_event"),
    ],
)
def test_an_answer_that_goes_wrong_keeps_what_came_before(wire, code):
    whole = BEGUN + wire
    expected = decoded(whole)
    assert (said(expected[0], "text"), expected[1]) == (["é😀\r\n"], code)
    for at in range(len(whole) + 1):
        assert decoded(whole[:at], whole[at:]) == expected


def test_nothing_counts_after_the_last_word():
    decoder = InvokeHost().decoder(Request(model="m", messages=[]))
    assert isinstance(decoder.feed(WIRE + chunk({"type": "ping"}) + b"garbage")[-1], Finish)
    assert (decoder.feed(b"garbage"), decoder.end()) == ([], [])


def test_a_slow_model_may_be_asked_again():
    decoder = InvokeHost().decoder(Request(model="m", messages=[]))
    with pytest.raises(UpstreamError, match=r"modelTimeoutException: Too slow\.") as caught:
        decoder.feed(BEGUN + exception("modelTimeoutException", "Too slow."))
    assert caught.value.retryable
    assert [e.text for e in caught.value.before if isinstance(e, Delta)] == ["hm", "é😀\r\n"]


# What we say


def asked(model="anthropic.claude-3-haiku-20240307-v1:0", **more):
    return InvokeHost().ask(Request(**({"model": "m", "messages": [Message("user", [Text("Hello?")])]} | more)), model)


def test_the_body_is_the_vendors_own_and_names_neither_model_nor_stream():
    question = asked(max_tokens=5)
    assert question.path == "/model/anthropic.claude-3-haiku-20240307-v1%3A0/invoke-with-response-stream"
    assert json.loads(question.body) == {
        "anthropic_version": "bedrock-2023-05-31",
        "messages": [{"role": "user", "content": [{"type": "text", "text": "Hello?"}]}],
        "max_tokens": 5,
    }
    assert question.headers["Accept"] == "application/vnd.amazon.eventstream"


def test_the_features_of_a_client_that_speaks_messages_stand_in_the_body():
    body = json.loads(asked(dialect="anthropic", options={"anthropic_beta": ["b-1"], "top_k": 3}).body)
    assert (body["anthropic_beta"], body["top_k"]) == (["b-1"], 3)


def test_thinking_and_images_are_said_as_the_vendor_says_them():
    messages = [Message("user", [Text("What"), Image("data:image/png;base64,AAEC")])]
    body = json.loads(asked("anthropic.claude-sonnet-4-v1:0", messages=messages, thinking=Thinking(budget=2000)).body)
    assert body["thinking"] == {"type": "enabled", "budget_tokens": 2000}
    assert body["messages"][0]["content"][1]["source"] == {"type": "base64", "media_type": "image/png", "data": "AAEC"}


def test_a_file_by_its_id_is_refused():
    with pytest.raises(BadRequest) as caught:
        asked(messages=[Message("user", [Text("Read"), File(id="file_1")])])
    assert caught.value.kind == "unsupported_value"
