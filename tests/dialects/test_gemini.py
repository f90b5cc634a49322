"""What Gemini's clients are served: a log as responses, streamed in either form or whole, read back by our own decoder and by Google's types."""

from __future__ import annotations

import base64
import json
from typing import Any

import pytest
from google.genai import types

from tidewire.core import events as ev
from tidewire.core.events import Closed, Delta, ErrorInfo, Event, NewEntry, PartEnded, PartStarted, StoredEntry, encode
from tidewire.core.ports import Meta
from tidewire.dialects.gemini import Gemini
from tidewire.dialects.gemini_decoder import GeminiDecoder

META = Meta(
    stream="st_1",
    tenant="t",
    model="m",
    created=1_700_000_000_000,
    dialect="gemini",
    projection="gemini/1",
    on_disconnect="cancel",
    durability="memory",
)
SIGNATURE = base64.b64encode(b"proof").decode()
OPENED = ev.Opened(
    stream="st_1", model="m", created=1, durability="memory", on_disconnect="cancel", protocol=ev.PROTOCOL, epoch=1
)
USED = {"input_tokens": 7, "output_tokens": 5, "cached_tokens": 4, "reasoning_tokens": 2}
DONE = Closed(status="completed", reason="stop", **USED)
THOUGHT = [PartStarted(part=0, kind="thinking"), Delta(part=0, text="hm"), ev.Signature(part=0, value=SIGNATURE)]
SAID = [PartStarted(part=1, kind="text"), Delta(part=1, text='é"😀'), Delta(part=1, text=" so")]
CALLED = [
    PartStarted(part=2, kind="tool_call", name="f", call="c1"),
    ev.Signature(part=2, value=SIGNATURE),
    Delta(part=2, text='{"a":'),
    Delta(part=2, text='"é"}'),
    PartEnded(part=2),
]
FULL: list[Event] = [
    OPENED,
    ev.Attempt(n=1, provider="p", model="m", reason="start"),
    *THOUGHT,
    PartEnded(part=0),
    *SAID,
    ev.Citation(part=1, start=0, end=2, source="https://a.example", title="a", passage="", uri="https://a.example"),
    ev.Citation(part=1, start=3, end=6, source="docs/1", title="Doc", passage="as found"),
    PartEnded(part=1),
    *CALLED,
    ev.Usage(counted_by="host", input=7, output=5, cached=4, reasoning=2),
    Closed(status="completed", reason="tool_calls", **USED),
]


def entries(events: list[Event], *, stored: bool = False) -> list[Any]:
    out: list[Any] = []
    for n, event in enumerate(events, 1):
        out.append(StoredEntry(n, encode(event)) if stored else NewEntry(n, encode(event), event))
    return out


def rendered(events: list[Event], form: Any = "sse", size: int = 10_000, *, stored: bool = False) -> bytes:
    dialect = Gemini().at("m", form)
    renderer = dialect.whole(META) if form == "whole" else dialect.stream(META)
    given = entries(events, stored=stored)
    return b"".join(renderer.feed(given[at : at + size]) for at in range(0, len(given), size))


def chunks(wire: bytes) -> list[dict[str, Any]]:
    assert wire.endswith(b"\r\n\r\n")
    assert b"\n" not in wire.replace(b"\r\n", b"")
    return [json.loads(event.removeprefix(b"data: ")) for event in wire.split(b"\r\n\r\n")[:-1]]


def joined(responses: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The parts of candidate 0, texts of one kind in a row put together."""
    out: list[dict[str, Any]] = []
    for response in responses:
        for candidate in response.get("candidates", []):
            for part in candidate.get("content", {}).get("parts", []):
                last = out[-1] if out else {}
                if "text" in part and "text" in last and part.get("thought") == last.get("thought"):
                    out[-1] = last | part | {"text": last["text"] + part["text"]}
                else:
                    out.append(part)
    return out


def test_a_stream_says_all_that_gemini_has_words_for():
    responses = chunks(rendered(FULL))
    assert joined(responses) == [
        {"text": "hm", "thought": True, "thoughtSignature": SIGNATURE},
        {"text": 'é"😀 so'},
        {"functionCall": {"id": "c1", "name": "f", "args": {"a": "é"}}, "thoughtSignature": SIGNATURE},
    ]
    last = responses[-1]
    assert last["usageMetadata"] == {
        "promptTokenCount": 7,
        "candidatesTokenCount": 3,
        "thoughtsTokenCount": 2,
        "cachedContentTokenCount": 4,
        "totalTokenCount": 12,
    }
    [candidate] = last["candidates"]
    assert candidate["finishReason"] == "STOP"
    assert [s["segment"] for s in candidate["groundingMetadata"]["groundingSupports"]] == [
        {"startIndex": 0, "endIndex": 3, "text": 'é"'},
        {"startIndex": 7, "endIndex": 10, "text": " so"},
    ]
    assert all((r["modelVersion"], r["responseId"]) == ("m", "st_1") for r in responses)


@pytest.mark.parametrize("form", ["sse", "array", "whole"])
def test_the_bytes_are_the_same_however_the_log_is_cut(form):
    expected = rendered(FULL, form)
    for size in range(1, len(FULL) + 1):
        assert rendered(FULL, form, size) == expected
        assert rendered(FULL, form, size, stored=True) == expected


def test_an_array_is_json_and_holds_what_the_events_hold():
    assert json.loads(rendered(FULL, "array")) == chunks(rendered(FULL))
    assert json.loads(rendered([OPENED, DONE], "array")) == chunks(rendered([OPENED, DONE]))


def test_a_whole_answer_says_what_the_stream_says():
    whole = json.loads(rendered(FULL, "whole"))
    responses = chunks(rendered(FULL))
    assert whole["candidates"][0]["content"]["parts"] == joined(responses)
    last = responses[-1]["candidates"][0]
    assert {k: v for k, v in whole["candidates"][0].items() if k != "content"} == last
    assert whole["usageMetadata"] == responses[-1]["usageMetadata"]


def test_our_own_decoder_reads_the_same_events_back():
    decoder = GeminiDecoder()
    got = decoder.feed(rendered(FULL)) + decoder.end()
    told = (PartStarted, Delta, PartEnded, ev.Signature, ev.Usage)
    pieces = [e for e in got if isinstance(e, told)]
    expected = [e for e in FULL if isinstance(e, told)]
    call = [Delta(part=2, text='{"a":"é"}')]  # whole, as Gemini has it
    at = next(i for i, e in enumerate(expected) if isinstance(e, Delta) and e.part == 2)
    expected[at : at + 2] = call
    assert [plain(e) for e in pieces] == [plain(e) for e in expected]
    cited = [(c.start, c.end, c.source, c.title, c.passage, c.uri) for c in got if isinstance(c, ev.Citation)]
    assert cited == [(c.start, c.end, c.source, c.title, c.passage, c.uri) for c in FULL if isinstance(c, ev.Citation)]
    assert got[-1] == ev.Finish(reason="tool_calls")


def plain(event: Event) -> bytes:
    event.seq = event.at = -1
    return encode(event)


def test_googles_own_types_take_every_response():
    for response in [*chunks(rendered(FULL)), json.loads(rendered(FULL, "whole"))]:
        read = types.GenerateContentResponse.model_validate(response)
        unknown = set(response) - {"candidates", "usageMetadata", "modelVersion", "responseId"}
        assert not unknown
        if read.candidates and read.candidates[0].finish_reason:
            assert read.usage_metadata.total_token_count == 12


@pytest.mark.parametrize(
    ("reason", "finish"),
    [
        ("stop", "STOP"),
        ("stop_string", "STOP"),
        ("tool_calls", "STOP"),
        ("length", "MAX_TOKENS"),
        ("time_limit", "MAX_TOKENS"),
        ("content_filter", "SAFETY"),
    ],
)
def test_reasons_of_an_end(reason, finish):
    closed = Closed(status="completed", reason=reason)
    for form in ("sse", "whole"):
        wire = rendered([OPENED, closed], form)
        last = json.loads(wire) if form == "whole" else chunks(wire)[-1]
        assert last["candidates"] == [{"finishReason": finish, "index": 0}]


def test_a_refusal_is_text_that_ends_for_safety():
    events = [OPENED, PartStarted(part=0, kind="refusal"), Delta(part=0, text="No."), PartEnded(part=0), DONE]
    whole = json.loads(rendered(events, "whole"))["candidates"][0]
    assert (whole["content"]["parts"], whole["finishReason"]) == ([{"text": "No."}], "SAFETY")
    assert chunks(rendered(events))[-1]["candidates"][0]["finishReason"] == "SAFETY"


@pytest.mark.parametrize("arguments", ["{", "[1]", '"x"'])
def test_arguments_that_are_no_object_are_said_to_be_malformed(arguments):
    call = PartStarted(part=0, kind="tool_call", name="f", call="c")
    events = [OPENED, call, Delta(part=0, text=arguments), PartEnded(part=0), DONE]
    for last in (chunks(rendered(events))[-1], json.loads(rendered(events, "whole"))):
        assert last["candidates"][0]["finishReason"] == "MALFORMED_FUNCTION_CALL"
        assert "content" not in last["candidates"][0]


def test_images_audio_and_log_probabilities():
    probs = [{"token": "a", "logprob": -1.0, "bytes": [97], "top_logprobs": [{"token": "b", "logprob": -2.0}]}]
    events = [
        OPENED,
        PartStarted(part=0, kind="image", media="image/png"),
        ev.Blob(part=0, data=b"sketch", partial=True),
        ev.Blob(part=0, data=b"done"),
        PartEnded(part=0),
        PartStarted(part=1, kind="audio", media="audio/wav"),
        ev.Blob(part=1, data=b"1"),
        ev.Blob(part=1, data=b"2"),
        PartEnded(part=1),
        PartStarted(part=2, kind="text"),
        Delta(part=2, text="a"),
        ev.Logprobs(part=2, content=probs),
        PartEnded(part=2),
        DONE,
    ]

    def inline(mime: str, data: bytes) -> dict[str, Any]:
        return {"inlineData": {"mimeType": mime, "data": base64.b64encode(data).decode()}}

    responses = chunks(rendered(events))
    assert joined(responses) == [
        inline("image/png", b"sketch") | {"thought": True},
        inline("image/png", b"done"),
        inline("audio/wav", b"1"),
        inline("audio/wav", b"2"),
        {"text": "a"},
    ]
    whole = json.loads(rendered(events, "whole"))["candidates"][0]
    assert whole["content"]["parts"] == [inline("image/png", b"done"), inline("audio/wav", b"12"), {"text": "a"}]
    result = {
        "chosenCandidates": [{"token": "a", "logProbability": -1.0}],
        "topCandidates": [{"candidates": [{"token": "b", "logProbability": -2.0}]}],
    }
    assert whole["logprobsResult"] == result
    assert [c["candidates"][0]["logprobsResult"] for c in responses if "logprobsResult" in c["candidates"][0]] == [
        result
    ]


def test_several_choices_are_candidates():
    events = [
        OPENED,
        PartStarted(part=0, kind="text"),
        PartStarted(part=1, kind="text", choice=1),
        Delta(part=1, text="x"),
        Delta(part=0, text="a"),
        PartEnded(part=1),
        ev.ChoiceEnded(choice=1, reason="length"),
        PartEnded(part=0),
        ev.ChoiceEnded(choice=0, reason="stop"),
        DONE,
    ]
    responses = chunks(rendered(events))
    said = [(c["index"], c.get("finishReason")) for r in responses for c in r.get("candidates", [])]
    assert said == [(1, None), (0, None), (1, "MAX_TOKENS"), (0, "STOP")]
    assert set(responses[-1]) == {"usageMetadata", "modelVersion", "responseId"}
    whole = json.loads(rendered(events, "whole"))["candidates"]
    assert [(c["content"]["parts"][0]["text"], c["finishReason"]) for c in whole] == [
        ("a", "STOP"),
        ("x", "MAX_TOKENS"),
    ]


FAILED = Closed(
    status="failed", reason="error", error=ErrorInfo("upstream_cut", "it broke", status=502, retry_after=1.5)
)


def test_a_failure_in_the_middle_is_json_by_itself():
    events = [OPENED, *SAID, PartEnded(part=1), FAILED]
    wire = rendered(events)
    *_, last = wire.split(b"\r\n\r\n")
    error = json.loads(last)["error"]
    assert (error["code"], error["message"], error["status"]) == (502, "it broke", "UNAVAILABLE")
    assert {d["@type"].rpartition(".")[2] for d in error["details"]} == {"ErrorInfo", "RetryInfo"}
    array = json.loads(rendered(events, "array"))
    assert array[-1] == {"error": error}
    assert array[:-1] == chunks(wire[: -len(last)])


@pytest.mark.parametrize(("status", "word"), [(400, "INVALID_ARGUMENT"), (429, "RESOURCE_EXHAUSTED"), (418, "INVALID_ARGUMENT"), (599, "INTERNAL")])  # fmt: skip
def test_an_error_has_googles_shape(status, word):
    error = json.loads(Gemini().error(ErrorInfo("a_code", "no", status=status, param="x")))["error"]
    assert (error["code"], error["status"]) == (status, word)
    assert error["details"][0]["reason"] == "a_code"
    assert error["details"][1]["fieldViolations"] == [{"field": "x", "description": "no"}]


def test_a_cancelled_stream_is_no_answer_that_came_to_its_end():
    renderer = Gemini().at("m", "sse").stream(META)
    renderer.feed(entries([OPENED, *SAID, Closed(status="cancelled", reason="client")]))
    assert renderer.ended
    assert renderer.failure is not None
    assert renderer.failure.status == 499
