"""Responses as hosts speak it: recorded answers of OpenAI, Azure, xAI and LM Studio, small ones after the API reference, cut anywhere."""

from __future__ import annotations

import base64
import json
import random
from pathlib import Path

import pytest

from tidewire.core import events as ev
from tidewire.core.errors import UpstreamError
from tidewire.core.events import Blob, Citation, Delta, Finish, Logprobs, PartEnded, PartStarted, Signature, Usage
from tidewire.core.request import Request
from tidewire.dialects.openai_responses_host import ResponsesHost

RECORDINGS = Path(__file__).parents[3] / "shared" / "recordings" / "vercel-ai"
FOLDERS = ("openai/responses", "azure", "xai/responses", "open-responses/responses")
DAMAGED = {  # by whoever kept them: an image with "..." in the middle, a last event that breaks off
    "openai/responses/openai-image-generation-tool.1/0": "upstream_bad_event",
    "openai/responses/parallel-tool-call-wrapper.1/0": "upstream_bad_event",
    "openai/responses/openai-error.1/0": "upstream_error",
}


def recorded() -> dict[str, list[str]]:
    """Name to events. A file may hold several answers, one behind the other."""
    out: dict[str, list[str]] = {}
    for folder in FOLDERS:
        for file in sorted((RECORDINGS / folder).glob("*.chunks.txt")):
            name = f"{folder}/{file.name.removesuffix('.chunks.txt')}"
            lines = [line for line in file.read_text().splitlines() if line.strip()]
            if '"chat.completion.chunk"' in lines[0]:
                continue
            n = -1
            for line in lines:
                n += '"type":"response.created"' in line
                out.setdefault(f"{name}/{n}", []).append(line.strip())
    return out


RECORDED = recorded()
needs_recordings = pytest.mark.skipif(not RECORDED, reason=f"no recorded answers at {RECORDINGS}")


def framed(event: str | dict) -> bytes:
    """As OpenAI frames it."""
    text = event if isinstance(event, str) else json.dumps(event, ensure_ascii=False)
    return b"event: x\ndata: " + text.encode() + b"\n\n"


def decoded(*cuts: bytes) -> tuple[list[ev.Event], str | None]:
    """The events, and the code of the error that ended them."""
    decoder = ResponsesHost().decoder(Request(model="m", messages=[]))
    out: list[ev.Event] = []
    try:
        for cut in cuts:
            out += decoder.feed(cut)
        out += decoder.end()
    except UpstreamError as error:
        return [*out, *error.before], error.kind
    return out, None


def texts(events: list[ev.Event], kind: str) -> str:
    kinds = {e.part: e.kind for e in events if isinstance(e, PartStarted)}
    return "".join(e.text for e in events if isinstance(e, Delta) and kinds[e.part] == kind)


def calls(events: list[ev.Event]) -> list[tuple[str | None, str | None, str]]:
    return [
        (e.call, e.name, "".join(d.text for d in events if isinstance(d, Delta) and d.part == e.part))
        for e in events
        if isinstance(e, PartStarted) and e.kind == "tool_call"
    ]


def well_formed(events: list[ev.Event]) -> None:
    open_parts: set[int] = set()
    begun = 0
    for event in events:
        if isinstance(event, PartStarted):
            assert event.part == begun
            begun += 1
            open_parts.add(event.part)
        elif isinstance(event, Delta):
            assert event.text
        elif isinstance(event, PartEnded):
            open_parts.remove(event.part)
        if isinstance(event, Delta | Blob | Signature | Citation | Logprobs):
            assert event.part in open_parts
    assert not open_parts
    assert isinstance(events[-1], Finish)
    assert sum(isinstance(e, Finish) for e in events) == 1


# Recorded answers


@needs_recordings
@pytest.mark.parametrize("name", RECORDED)
def test_a_recorded_answer_of_responses_is_read_to_its_end(name):
    events, error = decoded(b"".join(framed(line) for line in RECORDED[name]))
    assert error == DAMAGED.get(name)
    if error:
        return
    well_formed(events)
    said = [json.loads(line) for line in RECORDED[name]]
    items = [e["item"] for e in said if e["type"] == "response.output_item.done"]
    messages = [p for i in items if i["type"] == "message" for p in i["content"]]
    deltas = [e["delta"] for e in said if e["type"] == "response.output_text.delta"]
    assert texts(events, "text") == "".join(deltas or [p["text"] for p in messages])
    assert calls(events) == [(i["call_id"], i["name"], i["arguments"]) for i in items if i["type"] == "function_call"]
    thoughts = [
        "\n\n".join(p["text"] for p in [*(i.get("content") or []), *i["summary"]]) for i in items if "summary" in i
    ]
    assert texts(events, "thinking") == "".join(thoughts)
    proofs = [i["encrypted_content"] for i in items if i.get("encrypted_content") and i["type"] == "reasoning"]
    assert [e.value for e in events if isinstance(e, Signature)] == proofs
    noted = [n["url"] for p in messages for n in p["annotations"] if n["type"] == "url_citation"]
    assert [e.uri for e in events if isinstance(e, Citation) and e.uri] == noted
    drawn = [base64.b64decode(i["result"]) for i in items if i["type"] == "image_generation_call"]
    assert [e.data for e in events if isinstance(e, Blob) and not e.partial] == drawn
    usage = said[-1]["response"]["usage"]
    [counted] = [e for e in events if isinstance(e, Usage)]
    assert (counted.input, counted.output) == (usage["input_tokens"], usage["output_tokens"])
    assert counted.cached == usage["input_tokens_details"]["cached_tokens"]
    assert counted.reasoning == usage["output_tokens_details"]["reasoning_tokens"]


@needs_recordings
@pytest.mark.parametrize("name", RECORDED)
def test_a_recorded_answer_of_responses_is_the_same_however_it_is_cut(name):
    lines = RECORDED[name] if len(RECORDED[name]) <= 40 else RECORDED[name][:20] + RECORDED[name][-20:]
    wire = b"".join(framed(line) for line in lines)[:200_000]
    expected = decoded(wire)
    for size in (7, 64) if len(wire) > 60_000 else (1, 2, 3, 7, 64):
        assert decoded(*(wire[i : i + size] for i in range(0, len(wire), size))) == expected
    assert decoded(wire.replace(b"\n", b"\r\n")) == expected
    rng = random.Random(name)
    for _ in range(10):
        places = sorted(rng.sample(range(len(wire)), 3))
        assert decoded(*(wire[a:b] for a, b in zip([0, *places], [*places, len(wire)], strict=True))) == expected


# After the API reference


def at(index: int = 0, **more) -> dict:
    return {"item_id": f"item_{index}", "output_index": index, **more}


def event(kind: str, **more) -> bytes:
    return framed({"type": f"response.{kind}", **more})


def over(kind: str = "completed", **response) -> bytes:
    return event(kind, response={"id": "resp_1", "object": "response", "status": kind, **response})


def item(index: int, when: str, **fields) -> bytes:
    return event(f"output_item.{when}", output_index=index, item={"id": f"item_{index}", **fields})


def word(text: str, index: int = 0, content: int = 0, **more) -> bytes:
    return event("output_text.delta", **at(index), content_index=content, delta=text, **more)


CREATED = event("created", response={"id": "resp_1", "status": "in_progress"})
USAGE = {
    "input_tokens": 11,
    "input_tokens_details": {"cached_tokens": 4, "cache_write_tokens": 2},
    "output_tokens": 7,
    "output_tokens_details": {"reasoning_tokens": 3},
    "total_tokens": 18,
}
PIXEL = b"\x89PNG....."
SMALL = (
    CREATED
    + item(0, "added", type="reasoning", summary=[], encrypted_content="early")
    + event("reasoning_summary_text.delta", **at(0), summary_index=0, delta="hm")
    + event("reasoning_summary_text.done", **at(0), summary_index=0, text="hm")
    + event("reasoning_summary_text.delta", **at(0), summary_index=1, delta="so")
    + item(0, "done", type="reasoning", summary=[], encrypted_content="sealed")
    + item(1, "added", type="message", content=[])
    + event("content_part.added", **at(1), content_index=0, part={"type": "output_text", "text": ""})
    + word("é😀\r\n", 1)
    + word("!", 1, logprobs=[{"token": "!", "logprob": -0.1, "top_logprobs": []}])
    + event("output_text.done", **at(1), content_index=0, text="é😀\r\n!")
    + event("content_part.done", **at(1), content_index=0, part={"type": "output_text", "text": "é😀\r\n!"})
    + item(1, "done", type="message", content=[])
    + b": a comment\n\n"
    + item(2, "added", type="function_call", call_id="c1", name="f", arguments="")
    + item(3, "added", type="function_call", call_id="c2", name="g", arguments="")
    + event("function_call_arguments.delta", **at(2), delta='{"a":')
    + event("function_call_arguments.delta", **at(3), delta="{}")
    + event("function_call_arguments.delta", **at(2), delta="1}")
    + event("function_call_arguments.done", **at(2), arguments='{"a":1}')
    + event("function_call_arguments.done", **at(3), arguments="{}")
    + item(2, "done", type="function_call", call_id="c1", name="f", arguments='{"a":1}')
    + item(3, "done", type="function_call", call_id="c2", name="g", arguments="{}")
    + event("image_generation_call.partial_image", **at(4), partial_image_b64=base64.b64encode(PIXEL).decode())
    + item(4, "done", type="image_generation_call", result=base64.b64encode(PIXEL + b"!").decode(), output_format="png")
    + event("shell_call_output_content.delta", **at(5), delta={"stdout": "x"})
    + event("something.new", anything=[1])
    + over(usage=USAGE, metrics={"queue_time_ms": 5.0, "time_to_first_token_ms": 20.0, "generation_time_ms": None})
)


@pytest.mark.parametrize(
    "wire",
    [
        SMALL,
        SMALL.replace(b"\n", b"\r\n"),
        b"\xef\xbb\xbf" + SMALL.replace(b"data: ", b"data:"),
        SMALL + b"data: [DONE]\n\n",
    ],
)
def test_every_single_cut_of_a_responses_answer_gives_the_same_events(wire):
    expected = decoded(SMALL)
    assert expected[1] is None
    well_formed(expected[0])
    for place in range(len(wire) + 1):
        assert decoded(wire[:place], wire[place:]) == expected


def test_each_item_is_a_part_of_its_own():
    events, _ = decoded(SMALL)
    assert [(e.kind, e.name, e.call, e.media) for e in events if isinstance(e, PartStarted)] == [
        ("thinking", None, None, None),
        ("text", None, None, None),
        ("tool_call", "f", "c1", None),
        ("tool_call", "g", "c2", None),
        ("image", None, None, "image/png"),
    ]
    assert texts(events, "thinking") == "hm\n\nso"
    assert texts(events, "text") == "é😀\r\n!"
    assert calls(events) == [("c1", "f", '{"a":1}'), ("c2", "g", "{}")]
    assert [e for e in events if isinstance(e, Signature)] == [Signature(part=0, value="sealed")]
    assert [(e.part, e.content[0]["token"]) for e in events if isinstance(e, Logprobs)] == [(1, "!")]
    assert [(e.data, e.partial) for e in events if isinstance(e, Blob)] == [(PIXEL, True), (PIXEL + b"!", False)]
    [usage] = [e for e in events if isinstance(e, Usage)]
    assert usage == Usage(counted_by="host", input=11, output=7, cached=4, reasoning=3, cache_write=2)
    assert [(e.span.name, e.span.start, e.span.ms, e.span.source) for e in events if isinstance(e, ev.Timing)] == [
        ("host_queue", 0.0, 5.0, "reported"),
        ("host_prefill", 5.0, 20.0, "reported"),
    ]
    assert events[-1] == Finish(reason="tool_calls")


def test_a_thought_that_is_not_shown_is_its_signature_alone():
    events, _ = decoded(item(0, "done", type="reasoning", summary=[], encrypted_content="sealed") + over())
    assert events[:3] == [
        PartStarted(part=0, kind="thinking"),
        Signature(part=0, value="sealed", redacted=True),
        PartEnded(part=0),
    ]


def test_a_thought_that_says_and_proves_nothing_is_no_part():
    assert decoded(item(0, "done", type="reasoning", summary=[]) + over())[0] == [Finish(reason="stop")]


def test_what_came_in_no_delta_is_taken_from_the_events_behind():
    events, error = decoded(
        event("output_text.done", **at(0), content_index=0, text="whole")
        + item(0, "done", type="message", content=[{"type": "output_text", "text": "whole"}])
        + item(1, "done", type="message", content=[{"type": "refusal", "refusal": "no"}])
        + item(2, "done", type="reasoning", content=[{"type": "reasoning_text", "text": "a"}, {"text": "b"}])
        + item(3, "added", type="function_call", call_id="c", name="f", arguments="")
        + item(3, "done", type="function_call", call_id="c", name="f", arguments="{}")
        + item(4, "done", type="function_call", call_id="d", name="g", arguments="[]")
        + over()
    )
    assert error is None
    well_formed(events)
    assert (texts(events, "text"), texts(events, "refusal"), texts(events, "thinking")) == ("whole", "no", "a\n\nb")
    assert calls(events) == [("c", "f", "{}"), ("d", "g", "[]")]


def test_sources_count_once_however_often_they_are_told():
    url = {"type": "url_citation", "url": "https://a", "title": "A", "start_index": 1, "end_index": 3}
    file = {"type": "file_citation", "file_id": "f1", "filename": "a.md", "index": 4}
    part = {"type": "output_text", "text": "x", "annotations": [url, file, {"type": "file_path"}, None]}
    events, _ = decoded(
        word("x")
        + event("output_text.annotation.added", **at(0), content_index=0, annotation=url)
        + event("content_part.done", **at(0), content_index=0, part=part)
        + item(0, "done", type="message", content=[part])
        + over()
    )
    assert [e for e in events if isinstance(e, Citation)] == [
        Citation(part=0, start=1, end=3, source="https://a", title="A", passage="", uri="https://a"),
        Citation(part=0, start=4, end=4, source="f1", title="a.md", passage=""),
    ]


@pytest.mark.parametrize(
    ("last", "reason"),
    [
        (over(), "stop"),
        (over("incomplete", incomplete_details={"reason": "max_output_tokens"}), "length"),
        (over("incomplete", incomplete_details={"reason": "content_filter"}), "content_filter"),
        (over("incomplete", incomplete_details={"reason": "something new"}), "length"),
        (over("incomplete", incomplete_details=None), "length"),
    ],
)
def test_why_a_response_ended_is_said_in_our_words(last, reason):
    assert decoded(word("x") + last)[0][-1] == Finish(reason=reason)


ONE = CREATED + word("one ")


@pytest.mark.parametrize(
    ("wire", "text", "code"),
    [
        (b"", "", "upstream_cut"),
        (ONE, "one ", "upstream_cut"),
        (ONE + b"data: [DONE]\n\n", "one ", "upstream_unfinished"),
        (ONE + over() + word("more"), "one ", None),
        (ONE + framed({"type": "error", "code": "server_error", "message": "too much"}), "one ", "upstream_error"),
        (ONE + framed({"type": "error", "error": {"message": "too much"}}) + over("failed"), "one ", "upstream_error"),
        (ONE + framed({"error": {"message": "too much"}}), "one ", "upstream_error"),
        (ONE + over("failed", error={"code": "server_error", "message": "no"}), "one ", "upstream_error"),
        (ONE + over("failed", error=None), "one ", "upstream_error"),
        (ONE + over("cancelled"), "one ", "upstream_cancelled"),
        (ONE + event("incomplete", response={"status": "cancelled"}), "one ", "upstream_cancelled"),
        (ONE + framed("not json"), "one ", "upstream_bad_event"),
        (ONE + framed("[1]"), "one ", "upstream_bad_event"),
        (ONE + framed('{"type":"response.output_text.delta","output_index":"0"}'), "one ", "upstream_bad_event"),
        (ONE + b'data: {"type":"response.output_text.delta","delta":"\xff"}\n\n', "one ", "upstream_bad_event"),
        (ONE + framed('{"type":"response.completed","response":{"status":5}}'), "one ", "upstream_bad_event"),
        (ONE + event("function_call_arguments.delta", **at(7), delta="{"), "one ", "upstream_bad_tool_call"),
        (ONE + item(1, "added", type="function_call", call_id="c"), "one ", "upstream_bad_tool_call"),
        (
            ONE + event("image_generation_call.partial_image", **at(1), partial_image_b64="é"),
            "one ",
            "upstream_bad_event",
        ),
    ],
)
def test_a_response_that_goes_wrong_keeps_what_came_before(wire, text, code):
    expected = decoded(wire)
    assert (texts(expected[0], "text"), expected[1]) == (text, code)
    for place in range(len(wire) + 1):
        assert decoded(wire[:place], wire[place:]) == expected


@pytest.mark.parametrize(
    ("code", "status", "retryable"),
    [
        ("rate_limit_exceeded", 429, True),
        ("insufficient_quota", 429, False),
        ("server_error", 502, True),
        ("invalid_prompt", 400, False),
        ("image_too_large", 400, False),
        ("something_new", 502, True),
    ],
)
def test_a_failure_of_the_host_says_whether_to_try_again(code, status, retryable):
    decoder = ResponsesHost().decoder(Request(model="m", messages=[]))
    with pytest.raises(UpstreamError, match="honestly") as caught:
        decoder.feed(over("failed", error={"code": code, "message": "honestly"}))
    assert (caught.value.status, caught.value.retryable) == (status, retryable)
    assert decoder.feed(word("x")) == []


def test_an_index_that_is_used_twice_begins_a_new_item():
    events, error = decoded(
        item(0, "added", type="message", content=[])
        + word("a")
        + item(0, "added", type="function_call", call_id="c", name="f", arguments="")
        + event("function_call_arguments.delta", **at(0), delta="{}")
        + item(0, "added", type="message", content=[])
        + word("b")
        + over()
    )
    assert error is None
    well_formed(events)
    assert [e.kind for e in events if isinstance(e, PartStarted)] == ["text", "tool_call", "text"]


def test_items_without_an_index_are_known_by_their_ids():
    def loose(kind, **fields):
        return event(kind, **fields)

    events, error = decoded(
        loose("output_item.added", item_id="a", item={"type": "function_call", "call_id": "c1", "name": "f"})
        + loose("output_item.added", item_id="b", item={"type": "function_call", "call_id": "c2", "name": "g"})
        + loose("function_call_arguments.delta", item_id="a", delta="1")
        + loose("function_call_arguments.delta", item_id="b", delta="2")
        + over()
    )
    assert error is None
    assert calls(events) == [("c1", "f", "1"), ("c2", "g", "2")]


def test_ids_that_change_from_event_to_event_change_nothing():
    wire = b"".join(
        framed(
            {
                "type": "response.output_text.delta",
                "item_id": f"x{n}",
                "output_index": 0,
                "content_index": 0,
                "delta": t,
            }
        )
        for n, t in enumerate("abc")
    )
    events, _ = decoded(wire + over())
    assert [e for e in events if isinstance(e, PartStarted)] == [PartStarted(part=0, kind="text")]
    assert texts(events, "text") == "abc"


@pytest.mark.parametrize(
    "nonsense", [None, 5, [], {}, "x", [None], {"type": None}, {"type": []}, {"type": "message", "content": 3}]
)
def test_fields_of_the_wrong_type_never_break_the_decoder(nonsense):
    for kind in ("output_item.added", "output_item.done", "content_part.added", "content_part.done"):
        wire = event(kind, **at(0), content_index=0, item=nonsense, part=nonsense)
        assert decoded(wire + over())[1] is None
    for kind in ("output_text.delta", "refusal.delta", "reasoning_text.delta", "output_text.annotation.added"):
        wire = event(kind, **at(0), content_index=0, delta=nonsense, annotation=nonsense, logprobs=nonsense)
        events, error = decoded(wire + over(usage=nonsense, metrics=nonsense, incomplete_details=nonsense))
        assert error is None
        well_formed(events)


def test_deep_nesting_of_a_responses_host_is_an_error_and_not_a_crash():
    assert decoded(framed('{"item":' + "[" * 100_000))[1] == "upstream_bad_event"


def test_an_answer_goes_on_where_its_connection_broke():
    frames = [f + b"\n\n" for f in SMALL.split(b"\n\n")[:-1] if not f.startswith(b":")]
    numbered = [f.replace(b'{"type"', b'{"sequence_number": %d, "type"' % n, 1) for n, f in enumerate(frames)]
    expected = decoded(b"".join(numbered))[0]
    for cut in range(1, len(numbered)):
        decoder = ResponsesHost().decoder(Request(model="m", messages=[]))
        half = numbered[cut][: len(numbered[cut]) // 2]
        events = decoder.feed(b"".join(numbered[:cut]) + half)
        assert (decoder.response, decoder.cursor) == ("resp_1", cut - 1)
        decoder.again()
        events += decoder.feed(b"".join(numbered[cut - 1 :]))  # a host that repeats the last event does no harm
        assert events + decoder.end() == expected
