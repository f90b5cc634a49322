"""What we serve as Responses, read by the decoder that reads Responses hosts: the same words, thoughts, calls, images and proofs."""

from __future__ import annotations

import base64
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st
from openai.types.responses import Response, ResponseStreamEvent
from pydantic import TypeAdapter

from strategies import meta_of, numbered, opened, texts
from tidewire.core import events as ev
from tidewire.core.errors import UpstreamError
from tidewire.core.request import File, Image, Message, Request, Text, Thought, ToolCall, ToolResult
from tidewire.core.sse import Frames
from tidewire.dialects.openai_responses import OpenAIResponses
from tidewire.dialects.openai_responses_host import ResponsesHost

DIALECT = OpenAIResponses()
EVENT = TypeAdapter(ResponseStreamEvent)
PROBABLE = meta_of(top_logprobs=1)
PNG = b"\x89PNG\r\n"
KINDS = ("text", "refusal", "thinking", "tool_call", "image", "audio")


@st.composite
def answers(draw):
    """Events of one answer as a run logs them, parts that take turns included."""
    events: list[ev.Event] = []
    kinds: list[str] = []
    open_parts: list[int] = []
    for _ in range(draw(st.integers(0, 16))):
        if not open_parts or draw(st.integers(0, 3)) == 0:
            part, kind = len(kinds), draw(st.sampled_from(KINDS))
            call = {"name": "f", "call": f"call_{part}"} if kind == "tool_call" else {}
            events.append(ev.PartStarted(part=part, kind=kind, media="image/png" if kind == "image" else None, **call))
            kinds.append(kind)
            open_parts.append(part)
            continue
        part = draw(st.sampled_from(open_parts))
        kind = kinds[part]
        if draw(st.integers(0, 3)) == 0:
            if kind == "thinking":
                said = any(isinstance(e, ev.Delta) and e.part == part for e in events)
                events.append(ev.Signature(part=part, value="sealed", redacted=not said))
            elif kind == "image":
                events.append(ev.Blob(part=part, data=PNG + bytes([len(events)])))
            events.append(ev.PartEnded(part=part))
            open_parts.remove(part)
        elif kind == "image":
            events.append(ev.Blob(part=part, data=PNG + bytes([len(events)]), partial=True))
        elif kind == "audio":
            events.append(ev.Blob(part=part, data=b"\0\1"))
        else:
            text = draw(texts.filter(bool))
            events.append(ev.Delta(part=part, text=text))
            if kind == "text" and draw(st.booleans()):
                probs = [{"token": text, "logprob": -0.5, "bytes": [1], "top_logprobs": []}]
                events.append(ev.Logprobs(part=part, content=probs))
            if kind == "text" and draw(st.booleans()):
                events.append(
                    ev.Citation(part=part, start=1, end=2, source="https://a", title="A", passage="", uri="https://a")
                )
    events.extend(ev.PartEnded(part=part) for part in open_parts)
    return events


def usage() -> ev.Usage:
    return ev.Usage(counted_by="host", input=11, output=7, cached=4, reasoning=2, cache_write=1)


def closed(reason: ev.Reason = "stop", status: ev.Status = "completed", **more) -> ev.Event:
    return ev.Closed(status=status, reason=reason, input_tokens=11, output_tokens=7, **more)


def rendered(events: list[ev.Event], meta=PROBABLE) -> bytes:
    return DIALECT.stream(meta).feed(numbered([opened(meta), *events]))


def read(wire: bytes) -> list[ev.Event]:
    decoder = ResponsesHost().decoder(Request(model="m", messages=[]))
    return [*decoder.feed(wire), *decoder.end()]


def told(events: list[ev.Event], part: int) -> tuple:
    """All that a part says."""
    of = [e for e in events if getattr(e, "part", None) == part]
    started = of[0]
    assert isinstance(started, ev.PartStarted)
    return (
        (started.kind, started.name, started.call, started.media),
        "".join(e.text for e in of if isinstance(e, ev.Delta)),
        [(e.data, e.partial) for e in of if isinstance(e, ev.Blob)],
        [(e.value, e.redacted) for e in of if isinstance(e, ev.Signature)],
        [p["token"] for e in of if isinstance(e, ev.Logprobs) for p in e.content],
        [(e.start, e.end, e.uri) for e in of if isinstance(e, ev.Citation)],
    )


@given(answers())
def test_what_is_served_is_read_back(events):
    got = read(rendered([*events, usage(), closed()]))
    spoken = [e for e in events if isinstance(e, ev.PartStarted) and e.kind != "audio"]
    drawn = [e for e in spoken if e.kind != "image" or any(isinstance(b, ev.Blob) and b.part == e.part for b in events)]
    given = sorted(repr(told(events, e.part)) for e in drawn)
    assert sorted(repr(told(got, e.part)) for e in got if isinstance(e, ev.PartStarted)) == given
    assert got[-2] == usage()
    assert got[-1] == ev.Finish(reason="tool_calls" if any(e.kind == "tool_call" for e in spoken) else "stop")


@given(answers(), st.sampled_from([meta_of(), PROBABLE]), st.data())
def test_bytes_with_every_kind_of_part_do_not_depend_on_where_the_log_is_cut(events, meta, data):
    entries = numbered([opened(meta), *events, closed()])
    cuts = sorted(data.draw(st.lists(st.integers(0, len(entries)), max_size=4)))
    renderer = DIALECT.stream(meta)
    pieces = [renderer.feed(entries[a:b]) for a, b in zip([0, *cuts], [*cuts, len(entries)], strict=True)]
    assert b"".join(pieces) == DIALECT.stream(meta).feed(entries)
    frames = b"".join(pieces).split(b"\n\n")
    after = data.draw(st.integers(0, len(frames) - 1))
    assert DIALECT.stream(meta, after).feed(entries) == b"\n\n".join(frames[after:])


@given(answers())
def test_every_kind_of_part_is_of_the_official_types(events):
    documents = [json.loads(raw) for _, raw in Frames().feed(rendered([*events, closed()]))]
    for document in documents:
        EVENT.validate_python(document)
    whole = DIALECT.whole(PROBABLE)
    final = whole.feed(numbered([opened(PROBABLE), *events, closed()]))
    Response.model_validate_json(final)
    assert json.loads(final) == documents[-1]["response"]


@pytest.mark.parametrize(
    ("event", "reason"),
    [
        (closed("length", "incomplete"), "length"),
        (closed("content_filter", "incomplete"), "content_filter"),
        (closed("time_limit", "incomplete"), "length"),  # for which Responses has no word
    ],
)
def test_how_it_ended_is_read_back(event, reason):
    assert read(rendered([event]))[-1] == ev.Finish(reason=reason)


@pytest.mark.parametrize(
    ("event", "code"),
    [
        (closed("error", "failed", error=ev.ErrorInfo(code="x", message="honestly")), "upstream_error"),
        (closed("client", "cancelled"), "upstream_cancelled"),
    ],
)
def test_an_end_that_is_none_is_read_back_as_a_failure(event, code):
    with pytest.raises(UpstreamError) as caught:
        read(rendered([ev.PartStarted(part=0, kind="text"), ev.Delta(part=0, text="Half"), event]))
    assert caught.value.kind == code
    assert [e.text for e in caught.value.before if isinstance(e, ev.Delta)] == ["Half"]


def test_log_probabilities_come_with_their_words():
    probs = [{"token": "Hi", "logprob": -0.1, "bytes": None, "top_logprobs": [{"token": "Hi", "logprob": -0.1}]}]
    entries = numbered(
        [
            opened(PROBABLE),
            ev.PartStarted(part=0, kind="text"),
            ev.Delta(part=0, text="Hi"),
            ev.Logprobs(part=0, content=probs),
            ev.Delta(part=0, text="!"),
            ev.PartEnded(part=0),
            closed(),
        ]
    )
    documents = [json.loads(raw) for _, raw in Frames().feed(DIALECT.stream(PROBABLE).feed(entries))]
    deltas = [(d["delta"], [p["token"] for p in d["logprobs"]]) for d in documents if "delta" in d]
    assert deltas == [("Hi", ["Hi"]), ("!", [])]
    [done] = [d for d in documents if d["type"] == "response.output_text.done"]
    assert [p["token"] for p in done["logprobs"]] == ["Hi"]
    part = documents[-1]["response"]["output"][0]["content"][0]
    assert part["logprobs"] == [{"token": "Hi", "logprob": -0.1, "bytes": [], "top_logprobs": probs[0]["top_logprobs"]}]


def test_an_image_is_sketched_and_then_delivered():
    events = [
        ev.PartStarted(part=0, kind="image", media="image/webp"),
        ev.Blob(part=0, data=b"sketch", partial=True),
        ev.Blob(part=0, data=b"picture"),
        ev.PartEnded(part=0),
        closed(),
    ]
    documents = [json.loads(raw) for _, raw in Frames().feed(rendered(events))]
    kinds = [d["type"].removeprefix("response.") for d in documents]
    assert kinds[2:-1] == [
        "output_item.added",
        "image_generation_call.in_progress",
        "image_generation_call.generating",
        "image_generation_call.partial_image",
        "image_generation_call.completed",
        "output_item.done",
    ]
    assert documents[5]["partial_image_b64"] == base64.b64encode(b"sketch").decode()
    item = documents[-1]["response"]["output"][0]
    assert (item["result"], item["status"], item["output_format"]) == (
        base64.b64encode(b"picture").decode(),
        "completed",
        "webp",
    )


def test_what_a_client_hands_back_is_what_it_was_given():
    events = [
        ev.PartStarted(part=0, kind="thinking"),
        ev.Delta(part=0, text="hm"),
        ev.Signature(part=0, value="sealed"),
        ev.PartEnded(part=0),
        ev.PartStarted(part=1, kind="thinking"),
        ev.Signature(part=1, value="hidden", redacted=True),
        ev.PartEnded(part=1),
        ev.PartStarted(part=2, kind="text"),
        ev.Delta(part=2, text="Wait."),
        ev.PartEnded(part=2),
        ev.PartStarted(part=3, kind="tool_call", name="f", call="c"),
        ev.Delta(part=3, text="{}"),
        ev.Signature(part=3, value="signed"),
        ev.PartEnded(part=3),
        ev.PartStarted(part=4, kind="image", media="image/png"),
        ev.Blob(part=4, data=b"\0\0"),
        ev.PartEnded(part=4),
        closed(),
    ]
    output = json.loads(DIALECT.whole(PROBABLE).feed(numbered([opened(PROBABLE), *events])))["output"]
    result = {
        "type": "function_call_output",
        "call_id": "c",
        "output": [{"type": "input_image", "image_url": "data:x"}],
    }
    request, _ = DIALECT.parse(json.dumps({"model": "m", "input": [*output, result]}).encode(), {})
    assert request.messages == [
        Message(
            "assistant",
            [
                Thought("hm", "sealed"),
                Thought("", "hidden", redacted=True),
                Text("Wait."),
                ToolCall("c", "f", "{}", signature="signed"),
                Image("data:image/png;base64,AAA="),
            ],
        ),
        Message("tool", [ToolResult("c", "", images=[Image("data:x")])]),
    ]


def test_files_are_taken_by_data_by_address_and_by_id():
    content = [
        {"type": "input_file", "filename": "a.txt", "file_data": "data:text/plain;base64,AA=="},
        {"type": "input_file", "file_data": "AA=="},
        {"type": "input_file", "file_url": "https://x/a.pdf"},
        {"type": "input_file", "file_id": "file_1"},
    ]
    request, _ = DIALECT.parse(json.dumps({"model": "m", "input": [{"role": "user", "content": content}]}).encode(), {})
    assert request.messages[0].content == [
        File(url="data:text/plain;base64,AA==", name="a.txt"),
        File(url="data:application/pdf;base64,AA=="),
        File(url="https://x/a.pdf"),
        File(id="file_1"),
    ]
