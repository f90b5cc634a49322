"""Anthropic Messages as clients see it: every prefix renders the same, the official types read it, and our own decoder reads it back."""

from __future__ import annotations

import json

import pytest
from anthropic._models import construct_type
from anthropic.lib.streaming._messages import accumulate_event
from anthropic.types import Message as OfficialMessage
from anthropic.types import RawMessageStreamEvent
from hypothesis import given
from hypothesis import strategies as st
from pydantic import TypeAdapter

from strategies import logs, meta_of, numbered, opened
from tidewire.core import events as ev
from tidewire.core.errors import NotFound, Overloaded, ShuttingDown, TooLarge, Unauthorized
from tidewire.core.request import Request
from tidewire.core.sse import Frames
from tidewire.dialects.anthropic import AnthropicMessages
from tidewire.dialects.anthropic_host import MessagesHost

DIALECT = AnthropicMessages()
CLIENT = ("text", "thinking", "tool_call")
official = TypeAdapter(RawMessageStreamEvent)


def rendered(entries, meta=None) -> bytes:
    return DIALECT.stream(meta or meta_of()).feed(entries)


def events_of(raw: bytes) -> list[dict]:
    out = []
    for name, data in Frames().feed(raw):
        out.append(json.loads(data))
        assert name.decode() == out[-1]["type"]
    return out


def gathered(events: list[dict]) -> dict | None:
    """What the official client's own code makes of a stream; None where it would raise an error."""
    if any(e["type"] == "error" for e in events):
        return None
    snapshot = None
    bufs: dict[int, bytes] = {}
    for event in events:
        typed = official.validate_python(event)
        snapshot = accumulate_event(event=typed, current_snapshot=snapshot, json_bufs=bufs)
    assert snapshot is not None
    return snapshot.model_dump()


def log(*events: ev.Event, reason="stop", meta=None, **closing):
    meta = meta or meta_of()
    status = {"length": "incomplete", "content_filter": "incomplete"}.get(reason, "completed")
    closed = ev.Closed(status=closing.pop("status", status), reason=reason, **closing)
    return numbered([opened(meta), *events, closed])


def part(n: int, kind: str, *pieces: ev.Event, **more) -> list[ev.Event]:
    return [ev.PartStarted(part=n, kind=kind, **more), *pieces, ev.PartEnded(part=n)]


def said(n: int, *texts: str) -> list[ev.Event]:
    return [ev.Delta(part=n, text=text) for text in texts]


# Views of a log


@given(logs(kinds=CLIENT), st.data())
def test_however_a_log_is_handed_over_the_messages_are_the_same(made, data):
    meta, entries = made
    at = data.draw(st.integers(0, len(entries)))
    whole = rendered(entries, meta)
    for batches in ([entries[:at], entries[at:]], [[e] for e in entries]):
        renderer = DIALECT.stream(meta)
        assert b"".join(renderer.feed(batch) for batch in batches if batch) == whole
        assert renderer.ended


@given(logs(kinds=CLIENT))
def test_blocks_follow_each_other_one_at_a_time(made):
    meta, entries = made
    events = events_of(rendered(entries, meta))
    open_block, begun = -1, 0
    for event in events:
        match event["type"]:
            case "content_block_start":
                assert (open_block, event["index"]) == (-1, begun)
                open_block = begun
                begun += 1
            case "content_block_delta":
                assert event["index"] == open_block
            case "content_block_stop":
                assert event["index"] == open_block
                open_block = -1
            case "message_delta":
                assert open_block == -1
    good = entries[-1].event.status in ("completed", "incomplete")
    assert events[-1]["type"] == ("message_stop" if good else "error")
    spoken = any(isinstance(e.event, ev.PartStarted) for e in entries)
    assert [e["type"] for e in events].count("message_start") == (1 if good or spoken else 0)


@given(logs(kinds=("text", "thinking")))
def test_the_whole_message_says_what_its_stream_adds_up_to(made):
    meta, entries = made
    renderer = DIALECT.whole(meta)
    document = renderer.feed(entries)
    streamed = gathered(events_of(rendered(entries, meta)))
    if streamed is None:
        assert (document, renderer.failure is not None) == (b"", True)
        return
    whole = construct_type(type_=OfficialMessage, value=json.loads(document)).model_dump()
    for block, other in zip(whole["content"], streamed["content"], strict=True):
        if block["type"] == "text":  # a citation that comes when a later block has begun is in the whole one only
            there, here = other.pop("citations") or [], block.pop("citations") or []
            assert there == here[: len(there)]
        assert block == {k: v for k, v in other.items() if k != "parsed_output"}
    for name in ("id", "model", "role", "stop_reason", "stop_sequence"):
        assert whole[name] == streamed[name]
    assert streamed["usage"]["output_tokens"] == whole["usage"]["output_tokens"] == entries[-1].event.output_tokens


@pytest.mark.parametrize(
    ("arguments", "said_"),
    [("", {}), ('{"a":[1]}', {"a": [1]}), ('{"a":', {"INVALID_JSON": '{"a":'}), ("[1]", {"INVALID_JSON": "[1]"})],
)
def test_arguments_of_a_whole_message_are_always_an_object(arguments, said_):
    entries = log(*part(0, "tool_call", *said(0, arguments), name="f", call="c"), reason="tool_calls")
    document = json.loads(DIALECT.whole(meta_of()).feed(entries))
    OfficialMessage.model_validate(document)
    assert document["content"] == [{"type": "tool_use", "id": "c", "name": "f", "input": said_}]


def test_parts_that_take_turns_come_one_after_the_other():
    events = [
        ev.PartStarted(part=0, kind="tool_call", name="f", call="a"),
        ev.PartStarted(part=1, kind="tool_call", name="g", call="b"),
        *said(1, '{"b"'),
        *said(0, '{"a"'),
        *said(1, ":2}"),
        *said(0, ":1}"),
        ev.PartEnded(part=1),
        ev.PartEnded(part=0),
    ]
    got = gathered(events_of(rendered(log(*events, reason="tool_calls"))))
    assert [(b["id"], b["input"]) for b in got["content"]] == [("a", {"a": 1}), ("b", {"b": 2})]
    assert got["stop_reason"] == "tool_use"


def cited(n: int = 0, **more) -> ev.Citation:
    return ev.Citation(**{"part": n, "start": 0, "end": 3, "source": "doc1", "title": "A", "passage": "P"} | more)


def test_a_citation_may_follow_its_text_until_the_next_block_begins():
    events = [*part(0, "text", *said(0, "one")), cited(uri="https://a.example"), *part(1, "text", *said(1, "two"))]
    got = gathered(events_of(rendered(log(*events, cited(), cited(1)))))
    first, second = (block["citations"] for block in got["content"])
    assert [c["type"] for c in first] == ["web_search_result_location"]
    assert first[0]["url"] == "https://a.example"
    assert [(c["type"], c["source"], c["cited_text"]) for c in second] == [("search_result_location", "doc1", "P")]
    whole = json.loads(DIALECT.whole(meta_of()).feed(log(*events, cited(), cited(1))))
    assert [len(b["citations"]) for b in whole["content"]] == [2, 1]


def test_thoughts_keep_their_proof_and_hidden_ones_their_secret():
    events = [
        *part(0, "thinking", *said(0, "hm"), ev.Signature(part=0, value="EqoB")),
        *part(1, "thinking", ev.Signature(part=1, value="EmwK", redacted=True)),
        *part(2, "thinking", ev.Signature(part=2, value="only")),
        *part(3, "thinking"),
    ]
    got = gathered(events_of(rendered(log(*events))))
    expected = [
        {"type": "thinking", "thinking": "hm", "signature": "EqoB"},
        {"type": "redacted_thinking", "data": "EmwK"},
        {"type": "thinking", "thinking": "", "signature": "only"},
        {"type": "thinking", "thinking": "", "signature": ""},
    ]
    assert got["content"] == expected
    assert json.loads(DIALECT.whole(meta_of()).feed(log(*events)))["content"] == expected


def test_what_the_protocol_has_no_word_for_is_left_out():
    events = [
        ev.Progress(stage="waiting"),
        *part(0, "image", ev.Blob(part=0, data=b"x"), media="image/png"),
        *part(1, "text", *said(1, "one"), choice=1),
        *part(2, "text", *said(2, "two"), ev.Logprobs(part=2, content=[]), ev.Field(part=2, path="", value=1)),
        ev.Checked(part=2, valid=True),
        *part(3, "tool_call", *said(3, "{}"), ev.Signature(part=3, value="Gemini's"), name="f", call="c"),
        ev.Notice(code="c", message="m"),
    ]
    got = gathered(events_of(rendered(log(*events))))
    assert [b["type"] for b in got["content"]] == ["text", "tool_use"]


@pytest.mark.parametrize("reason", ["stop", "content_filter"])
def test_a_refusal_is_a_stop_reason_with_its_explanation(reason):
    entries = log(*part(0, "refusal", *said(0, "I ", "may not.")), reason=reason)
    for got in (gathered(events_of(rendered(entries))), json.loads(DIALECT.whole(meta_of()).feed(entries))):
        assert (got["content"], got["stop_reason"]) == ([], "refusal")
        assert got["stop_details"] == {"type": "refusal", "category": None, "explanation": "I may not."}


def test_the_one_stop_string_of_a_request_is_named():
    for record, met in (({"stop": "END"}, "END"), ({}, None)):
        meta = meta_of(**record)
        got = gathered(events_of(rendered(log(reason="stop_string", meta=meta), meta)))
        assert (got["stop_reason"], got["stop_sequence"]) == ("stop_sequence", met)


def test_usage_sets_the_cache_apart_and_what_is_known_early_is_said_early():
    early = ev.Usage(counted_by="host", input=30, cached=20, cache_write=7)
    closing = {
        "input_tokens": 30,
        "output_tokens": 9,
        "cached_tokens": 20,
        "cache_write_tokens": 7,
        "reasoning_tokens": 4,
    }
    events = events_of(rendered(log(early, *part(0, "text", *said(0, "one")), **closing)))
    cache = {"input_tokens": 3, "cache_read_input_tokens": 20, "cache_creation_input_tokens": 7}
    assert events[0]["message"]["usage"] == cache | {"output_tokens": 0}
    assert events[-2]["usage"] == cache | {"output_tokens": 9, "output_tokens_details": {"thinking_tokens": 4}}


# Read back by our own decoder


@st.composite
def answers(draw):
    """What a host of this protocol can say, in our words: parts one after the other."""
    events: list[ev.Event] = []
    words = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=8)
    for n in range(draw(st.integers(0, 4))):
        kind = draw(st.sampled_from(["text", "thinking", "redacted", "tool_call"]))
        pieces = said(n, *draw(st.lists(words, max_size=3)))
        length = sum(len(p.text) for p in pieces)
        match kind:
            case "text":
                web = {"source": "https://a.example", "uri": "https://a.example"}
                places = draw(st.lists(st.sampled_from([web, {"source": "doc1"}]), max_size=2))
                events += part(n, "text", *pieces, *(cited(n, end=length, **place) for place in places))
            case "thinking":
                proof = [ev.Signature(part=n, value="Eq")] if draw(st.booleans()) else []
                events += part(n, "thinking", *pieces, *proof)
            case "redacted":
                events += part(n, "thinking", ev.Signature(part=n, value="Em", redacted=True))
            case _:
                pieces = said(n, '{"a":', "1}")
                events += part(n, "tool_call", *pieces, name="f", call=f"c{n}")
    if draw(st.booleans()):
        events += part(sum(type(e) is ev.PartStarted for e in events), "refusal", *said_once(events))
        return events, "content_filter"
    return events, draw(st.sampled_from(["stop", "length", "tool_calls", "stop_string"]))


def said_once(events) -> list[ev.Event]:
    return said(sum(type(e) is ev.PartStarted for e in events), "I may not.")


@given(answers(), st.integers(1, 70))
def test_our_decoder_reads_what_our_renderer_writes(made, size):
    events, reason = made
    counted = {"input": 30, "output": 9, "cached": 20, "cache_write": 7, "reasoning": 4}
    start = ev.Usage(counted_by="host", input=30, cached=20, cache_write=7)
    wire = rendered(log(start, *events, reason=reason, **{f"{k}_tokens": v for k, v in counted.items()}))
    decoder = MessagesHost().decoder(Request(model="m", messages=[]))
    got = [e for at in range(0, len(wire), size) for e in decoder.feed(wire[at : at + size])] + decoder.end()
    for event in events:
        event.seq = event.at = -1
    usage = ev.Usage(counted_by="host", **counted)
    start.seq = start.at = -1
    body = [e for e in got if type(e) is not ev.Usage]
    assert body == [*events, ev.Finish(reason=reason)]
    assert [e for e in got if type(e) is ev.Usage] == [start, usage]


# Errors


@pytest.mark.parametrize(
    ("error", "kind"),
    [
        (Unauthorized("no"), "authentication_error"),
        (NotFound("no"), "not_found_error"),
        (TooLarge("no"), "request_too_large"),
        (Overloaded("no"), "rate_limit_error"),
        (ShuttingDown("no"), "overloaded_error"),
    ],
)
def test_errors_have_the_protocols_own_shape(error, kind):
    info = error.info()
    body = json.loads(DIALECT.error(info))
    assert body == {
        "type": "error",
        "error": {"type": kind, "message": "no", "details": {"error_code": info.code}},
    }


@pytest.mark.parametrize("begun", [False, True])
def test_a_stream_that_fails_ends_in_an_error_event(begun):
    info = ev.ErrorInfo(code="upstream_error", message="the host refused", status=502)
    entries = log(*(part(0, "text", *said(0, "one")) if begun else []), reason="error", status="failed", error=info)
    renderer = DIALECT.stream(meta_of())
    events = events_of(renderer.feed(entries))
    assert renderer.failure == info
    assert events[-1] == json.loads(DIALECT.error(info))
    assert len(events) == (4 if begun else 1)


def test_a_stopped_stream_is_no_natural_end():
    entries = log(*part(0, "text", *said(0, "one")), reason="client", status="cancelled")
    assert events_of(rendered(entries))[-1]["error"]["details"] == {"error_code": "cancelled"}
