"""What the Gemini API and Vertex AI stream, as events: recorded answers, cut anywhere, and everything that may go wrong."""

from __future__ import annotations

import base64
import json
from pathlib import Path

import pytest

from tidewire.core import events as ev
from tidewire.core.errors import UpstreamError
from tidewire.core.events import Delta, Finish, PartEnded, PartStarted, Usage
from tidewire.core.request import Message, Request, Text
from tidewire.dialects.gemini_decoder import GeminiDecoder
from tidewire.dialects.gemini_host import GeminiHost, VertexHost
from tidewire.dialects.gemini_wire import BROKEN, FILTERED
from tidewire.providers.hosted import Hosted
from upstream import Call, Upstream, streams

RECORDINGS = Path(__file__).parents[3] / "shared" / "recordings" / "vercel-ai" / "google"
CUTS = (1, 2, 3, 7, 64)
SIGNATURE = base64.b64encode(b"a proof").decode()


def framed(text: str) -> bytes:
    return b"data: " + text.encode() + b"\r\n\r\n"


RECORDED = {
    file.name.removesuffix(".chunks.txt"): b"".join(framed(x) for x in file.read_text().splitlines() if x.strip())
    for file in sorted(RECORDINGS.glob("google-*.chunks.txt"))
}
needs_recordings = pytest.mark.skipif(not RECORDED, reason=f"no recorded answers at {RECORDINGS}")


def decoded(*cuts: bytes, n: int = 1) -> tuple[list[ev.Event], str | None]:
    """The events, and the code of the error that ended them."""
    decoder = GeminiDecoder(n)
    out: list[ev.Event] = []
    try:
        for cut in cuts:
            out += decoder.feed(cut)
        out += decoder.end()
    except UpstreamError as error:
        return [*out, *error.before], error.kind
    return out, None


def pieces(wire: bytes, size: int) -> list[bytes]:
    return [wire[at : at + size] for at in range(0, len(wire), size)]


def kinds(events: list[ev.Event]) -> list[tuple[int, str]]:
    return [(e.part, e.kind) for e in events if isinstance(e, PartStarted)]


def texts(events: list[ev.Event], kind: str) -> str:
    of = {e.part: e.kind for e in events if isinstance(e, PartStarted)}
    return "".join(e.text for e in events if isinstance(e, Delta) and of[e.part] == kind)


def calls(events: list[ev.Event]) -> list[tuple[str | None, object]]:
    return [
        (e.name, json.loads("".join(d.text for d in events if isinstance(d, Delta) and d.part == e.part)))
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
            assert event.part in open_parts
            assert event.text
        elif isinstance(event, PartEnded):
            open_parts.remove(event.part)
    assert not open_parts
    assert isinstance(events[-1], Finish)
    assert sum(isinstance(e, Finish) for e in events) == 1
    assert sum(isinstance(e, Usage) for e in events) <= 1


# Recorded answers


@needs_recordings
@pytest.mark.parametrize("name", RECORDED)
def test_a_recorded_answer_is_read_to_its_end(name):
    wire = RECORDED[name]
    events, error = decoded(wire)
    assert error is None
    well_formed(events)
    chunks = [json.loads(line[6:]) for line in wire.decode().split("\r\n") if line]
    parts = [p for c in chunks for k in c["candidates"] for p in k["content"]["parts"]]
    assert texts(events, "text") == "".join(p.get("text", "") for p in parts if not p.get("thought"))
    assert texts(events, "thinking") == "".join(p["text"] for p in parts if p.get("thought"))
    signatures = [p["thoughtSignature"] for p in parts if "thoughtSignature" in p]
    assert [e.value for e in events if isinstance(e, ev.Signature)] == signatures
    named = [p["functionCall"] for p in parts if p.get("functionCall", {}).get("name")]
    assert [name for name, _ in calls(events)] == [call["name"] for call in named]
    assert events[-1] == Finish(reason="tool_calls" if named else "stop")
    counted = chunks[-1]["usageMetadata"]
    [usage] = [e for e in events if isinstance(e, Usage)]
    assert (usage.input or 0) + (usage.output or 0) == counted["totalTokenCount"]
    assert (usage.input, usage.reasoning) == (counted["promptTokenCount"], counted["thoughtsTokenCount"])


@needs_recordings
@pytest.mark.parametrize("name", RECORDED)
@pytest.mark.parametrize("size", CUTS)
def test_a_recorded_answer_is_the_same_in_pieces_of(size, name):
    wire = RECORDED[name]
    assert decoded(*pieces(wire, size)) == decoded(wire)


@needs_recordings
def test_arguments_that_came_value_by_value_are_the_json_that_was_meant():
    items = calls(decoded(RECORDED["google-stream-tool-call-array-arguments-missing-terminal-function-call"])[0])
    apple = {"action": "add", "description": "Fresh red apple", "itemid": "apple_001", "price": 0.5}
    banana = {"action": "add", "description": "Ripe yellow banana", "itemid": "banana_001", "price": 0.3}
    assert items == [("writeItems", {"operations": [apple, banana]})]
    assert calls(decoded(RECORDED["google-stream-no-args-tool-call"])[0]) == [
        ("read_theme", {}),
        *(("read_screen", {"id": screen}) for screen in "ABC"),
    ]
    [(name, cooked)] = calls(decoded(RECORDED["google-vertex-stream-tool-call-arguments-nested.1"])[0])
    assert (name, len(cooked["recipe"]["ingredients"]), len(cooked["recipe"]["steps"])) == ("cookRecipe", 10, 10)


# Answers of our own, from the public reference


def chunk(*parts, index=0, finish=None, **more) -> bytes:
    candidate = {"index": index} | ({"content": {"parts": list(parts), "role": "model"}} if parts else {})
    candidate |= {"finishReason": finish} if finish else {}
    outer = {k: more.pop(k) for k in ("usageMetadata", "responseId", "promptFeedback") if k in more}
    return framed(json.dumps({"candidates": [candidate | more]} | outer, ensure_ascii=False))


USED = {"promptTokenCount": 7, "candidatesTokenCount": 3, "thoughtsTokenCount": 2, "cachedContentTokenCount": 4}
STOP = chunk({"text": ""}, finish="STOP", usageMetadata=USED)
SMALL = (
    chunk({"text": "hm", "thought": True}, responseId="r1")
    + chunk({"text": "é😀\r\n"}, usageMetadata={"promptTokenCount": 7})
    + b": a comment\r\n\r\n"
    + chunk({"text": "", "thoughtSignature": SIGNATURE})
    + chunk({"functionCall": {"name": "f", "args": {"ä": [1, {"b": None}]}}, "thoughtSignature": SIGNATURE})
    + chunk({"functionCall": {"id": "c2", "name": "g"}})
    + STOP
)


@pytest.mark.parametrize("wire", [SMALL, SMALL.replace(b"\r\n\r\n", b"\n\n"), SMALL.replace(b"data: ", b"data:")])
def test_every_single_cut_gives_the_same_events(wire):
    expected = decoded(SMALL)
    well_formed(expected[0])
    for at in range(len(wire) + 1):
        assert decoded(wire[:at], wire[at:]) == expected
    for size in CUTS:
        assert decoded(*pieces(wire, size)) == expected


def test_each_kind_of_output_is_a_part_of_its_own():
    events, error = decoded(SMALL)
    assert error is None
    assert kinds(events) == [(0, "thinking"), (1, "text"), (2, "tool_call"), (3, "tool_call")]
    assert texts(events, "text") == "é😀\r\n"
    assert calls(events) == [("f", {"ä": [1, {"b": None}]}), ("g", {})]
    assert [e.call for e in events if isinstance(e, PartStarted)][2:] == ["r1_2", "c2"]
    assert [e.part for e in events if isinstance(e, ev.Signature)] == [1, 2]
    assert events[-2:] == [
        Usage(counted_by="host", input=7, output=5, cached=4, reasoning=2),
        Finish(reason="tool_calls"),
    ]


async def test_an_answer_is_the_same_over_a_socket_chunked_or_not():
    async def plain(call: Call) -> None:
        call.head(chunked=False, connection="close")
        for piece in pieces(SMALL, 7):
            call.chunk(piece)
        call.close()

    for script in (streams(*pieces(SMALL, 3)), plain):
        fed: list[ev.Event] = []
        async with Upstream(script) as host:
            hosted = Hosted("g", host.url, GeminiHost(), models=["m"], retries=0)
            await hosted.answer(Request(model="m", messages=[Message("user", [Text("x")])]), Fed(fed))
            await hosted.close()
            assert host.calls[0].path == "/v1beta/models/m:streamGenerateContent?alt=sse"
        reported = (ev.Attempt, ev.Progress, ev.Timing)
        assert [e for e in fed if not isinstance(e, reported)] == decoded(SMALL)[0]


class Fed:
    """A sink that is a list."""

    full = False

    def __init__(self, events: list[ev.Event]) -> None:
        self.feed = events.extend

    async def room(self) -> None: ...


def test_a_signature_without_text_before_it_has_a_part_of_its_own():
    events, _ = decoded(chunk({"functionCall": {"name": "f"}}) + chunk({"text": "", "thoughtSignature": "cw=="}) + STOP)
    assert kinds(events) == [(0, "tool_call"), (1, "text")]
    assert [(e.part, e.value) for e in events if isinstance(e, ev.Signature)] == [(1, "cw==")]


def test_images_and_audio_come_as_bytes():
    picture, sound = base64.b64encode(b"\x89PNG").decode(), base64.b64encode(b"\1\2").decode()
    image = {"inlineData": {"mimeType": "image/png", "data": picture}}
    audio = {"inlineData": {"mimeType": "audio/L16;rate=24000", "data": sound}}
    events, error = decoded(
        chunk(image | {"thought": True}) + chunk(image, {"text": "so"}) + chunk(audio) + chunk(audio) + STOP
    )
    assert error is None
    well_formed(events)
    assert kinds(events) == [(0, "image"), (1, "image"), (2, "text"), (3, "audio")]
    blobs = [(e.part, e.data, e.partial) for e in events if isinstance(e, ev.Blob)]
    assert blobs == [(0, b"\x89PNG", True), (1, b"\x89PNG", False), (3, b"\1\2", False), (3, b"\1\2", False)]
    assert [e.media for e in events if isinstance(e, PartStarted)] == [
        "image/png",
        "image/png",
        None,
        "audio/L16;rate=24000",
    ]


@pytest.mark.parametrize("reason", sorted(FILTERED))
def test_what_was_filtered_is_said_to_be(reason):
    events, error = decoded(chunk({"text": "a"}) + chunk(finish=reason))
    assert error is None
    assert events[-1] == Finish(reason="content_filter")


@pytest.mark.parametrize("reason", sorted(BROKEN))
def test_an_answer_that_went_wrong_is_an_error_that_quotes_the_reason(reason):
    decoder = GeminiDecoder()
    with pytest.raises(UpstreamError, match=f"ended the answer with {reason}: why") as caught:
        decoder.feed(chunk({"text": "a"}) + chunk(finish=reason, finishMessage="why"))
    assert caught.value.kind == "upstream_error"
    assert texts(list(caught.value.before), "text") == "a"


@pytest.mark.parametrize(
    ("said", "reason"), [("STOP", "stop"), ("MAX_TOKENS", "length"), ("CONTINUATION", "length"), ("NEW_WORD", "stop")]
)
def test_the_reasons_of_a_natural_end(said, reason):
    assert decoded(chunk({"text": "a"}) + chunk(finish=said))[0][-1] == Finish(reason=reason)


def test_a_prompt_that_was_blocked_has_no_answer():
    wire = framed(json.dumps({"promptFeedback": {"blockReason": "SAFETY"}, "usageMetadata": {"promptTokenCount": 5}}))
    assert decoded(wire) == ([Usage(counted_by="host", input=5), Finish(reason="content_filter")], None)


def test_several_candidates_are_choices():
    wire = (
        chunk({"text": "a"})
        + chunk({"text": "x"}, index=1)
        + chunk({"text": "b"})
        + chunk({"text": "z"}, index=7)  # nobody asked for it
        + chunk(index=1, finish="MAX_TOKENS", usageMetadata=USED)
        + chunk(finish="STOP", usageMetadata=USED)
    )
    events, error = decoded(wire, n=2)
    assert error is None
    well_formed(events)
    assert [(e.part, e.choice) for e in events if isinstance(e, PartStarted)] == [(0, 0), (1, 1)]
    said = [(e.part, e.text) for e in events if isinstance(e, Delta)]
    assert said == [(0, "a"), (1, "x"), (0, "b")]
    assert [(e.choice, e.reason) for e in events if isinstance(e, ev.ChoiceEnded)] == [(1, "length"), (0, "stop")]


def test_log_probabilities_come_behind_their_text():
    result = {
        "chosenCandidates": [{"token": "é", "tokenId": 1, "logProbability": -0.5}],
        "topCandidates": [
            {"candidates": [{"token": "é", "logProbability": -0.5}, {"token": "b", "logProbability": -2}]}
        ],
    }
    events, _ = decoded(chunk({"text": "é"}, logprobsResult=result) + STOP)
    [probs] = [e for e in events if isinstance(e, ev.Logprobs)]
    beside = [{"token": "é", "logprob": -0.5, "bytes": [195, 169]}, {"token": "b", "logprob": -2, "bytes": [98]}]
    assert probs.content == [beside[0] | {"top_logprobs": beside}]
    assert [type(e) for e in events[:3]] == [PartStarted, Delta, ev.Logprobs]


def test_places_in_bytes_become_places_in_characters():
    web = {"web": {"uri": "https://a.example/x", "title": "a.example"}}
    own = {"retrievedContext": {"title": "Doc", "text": "as found", "documentName": "docs/1"}}
    supports = [
        {"segment": {"startIndex": 0, "endIndex": 4, "text": "é é"[:2]}, "groundingChunkIndices": [0]},
        {"segment": {"startIndex": 5, "endIndex": 9}, "groundingChunkIndices": [1, 9, "x"]},
        {"segment": {"startIndex": 99, "endIndex": 100}, "groundingChunkIndices": [0]},
    ]
    grounding = {"groundingChunks": [web, own], "groundingSupports": supports}
    quoted = {"citationSources": [{"startIndex": 5, "endIndex": 9, "uri": "https://b.example"}]}
    wire = chunk({"text": "é é"}) + chunk({"text": "tude"})
    events, error = decoded(wire + chunk(finish="STOP", groundingMetadata=grounding, citationMetadata=quoted))
    assert error is None
    cited = [e for e in events if isinstance(e, ev.Citation)]
    assert [(c.part, c.start, c.end, c.source, c.passage, c.uri) for c in cited] == [
        (0, 0, 2, "https://a.example/x", "", "https://a.example/x"),
        (0, 3, 7, "docs/1", "as found", None),
        (0, 3, 7, "https://b.example", "", "https://b.example"),
    ]


ONE = chunk({"text": "one "})
RAW = json.dumps(
    {"error": {"code": 503, "message": "overloaded, honestly", "status": "UNAVAILABLE"}}, indent=2
).encode()


@pytest.mark.parametrize(
    ("wire", "text", "code"),
    [
        (b"", "", "upstream_cut"),
        (ONE, "one ", "upstream_cut"),
        (ONE + b'data: {"candidates', "one ", "upstream_cut"),
        (ONE + b'data: {"candidates"\r\n\r\n', "one ", "upstream_bad_event"),
        (ONE + b"data: []\r\n\r\n", "one ", "upstream_bad_event"),
        (ONE + b"data: {}\r\n\r\n" + STOP, "one ", None),
        (ONE + b'data: {"candidates":null}\r\n\r\ndata: {"candidates":[{}]}\r\n\r\n' + STOP, "one ", None),
        (ONE + framed('{"candidates":[{"content":{"parts":[{"text":5}]}}]}'), "one ", "upstream_bad_event"),
        (
            ONE + framed('{"candidates":[{"content":{"parts":[{"inlineData":{"data":"!"}}]}}]}'),
            "one ",
            "upstream_bad_event",
        ),
        (ONE + chunk({"inlineData": {"mimeType": "video/mp4", "data": ""}}), "one ", "upstream_bad_event"),
        (ONE + STOP + ONE + RAW, "one ", None),  # nothing counts after the end
        (ONE + RAW, "one ", "upstream_error"),
        (ONE + RAW + b"\r\n", "one ", "upstream_error"),
        (ONE + b"[" + RAW + b"]\n", "one ", "upstream_error"),
        (ONE + framed(json.dumps(json.loads(RAW))), "one ", "upstream_error"),
        (ONE + b'{"error": {"mess', "one ", "upstream_cut"),
        (ONE + b"data: " + b"[" * 5000 + b"\r\n\r\n", "one ", "upstream_bad_event"),
    ],
)
def test_what_goes_wrong_is_a_named_error_behind_what_had_come(wire, text, code):
    expected = decoded(wire)
    for at in range(0, len(wire) + 1, 1 if len(wire) < 2000 else 97):
        assert decoded(wire[:at], wire[at:]) == expected
    assert (texts(expected[0], "text"), expected[1]) == (text, code)


@pytest.mark.parametrize(
    ("status", "again"), [("UNAVAILABLE", True), ("INVALID_ARGUMENT", False), (["UNAVAILABLE"], False)]
)
def test_an_error_in_the_middle_says_whether_to_try_again(status, again):
    with pytest.raises(UpstreamError, match="no such luck") as caught:
        GeminiDecoder().feed(framed(json.dumps({"error": {"message": "no such luck", "status": status}})))
    assert caught.value.retryable is again


def argument(path, **value):
    more = {"willContinue": True} if value.pop("more", False) else {}
    return {"functionCall": {"partialArgs": [{"jsonPath": path} | value | more], "willContinue": True}}


NAMED = {"functionCall": {"name": "f", "willContinue": True}}
ENDED = {"functionCall": {}}


@pytest.mark.parametrize(
    ("parts", "meant"),
    [
        ([NAMED, ENDED, ENDED], [("f", {})]),
        ([NAMED, argument("$.a", boolValue=False), argument("$.b", nullValue="NULL_VALUE"), ENDED], [("f", {"a": False, "b": None})]),
        ([NAMED, argument("$['a.b'][0]['\\'']", numberValue=5), ENDED], [("f", {"a.b": [{"'": 5}]})]),
        ([NAMED, argument("$.a", stringValue='"\\', more=True), argument("$.a", stringValue="é"), ENDED], [("f", {"a": '"\\é'})]),
        ([NAMED, argument("$.a", stringValue="cut", more=True), argument("$.b", numberValue=1), ENDED], [("f", {"a": "cut", "b": 1})]),
        ([NAMED, argument("$.a[0][0]", numberValue=1), argument("$.a[0][1]", numberValue=2), argument("$.a[1].x", stringValue="")], [("f", {"a": [[1, 2], {"x": ""}]})]),
        ([NAMED, argument("$.a", stringValue="x", more=True), NAMED, {"text": "so"}], [("f", {"a": "x"}), ("f", {})]),
        ([{"functionCall": {"name": "f", "args": None}}], [("f", {})]),
    ],
)  # fmt: skip
def test_arguments_grow_value_by_value(parts, meant):
    wire = b"".join(chunk(part) for part in parts) + STOP
    events, error = decoded(wire)
    assert error is None
    well_formed(events)
    assert calls(events) == meant
    assert decoded(*pieces(wire, 7)) == (events, error)


@pytest.mark.parametrize(
    "parts",
    [
        [{"functionCall": {"args": {"a": 1}}}],
        [argument("$.a", numberValue=1)],
        [{"functionCall": {"name": "f", "args": [1]}}],
        [{"functionCall": {"name": "f", "args": "{}"}}],
        [NAMED, argument("a", numberValue=1)],
        [NAMED, argument("$", numberValue=1)],
        [NAMED, argument("$.a[*]", numberValue=1)],
        [NAMED, argument("$[0]", numberValue=1)],
        [NAMED, argument("$.a[1]", numberValue=1)],
        [NAMED, argument("$.a[0]", numberValue=1), argument("$.a[2]", numberValue=1)],
        [NAMED, argument("$.a[0]", numberValue=1), argument("$.a.b", numberValue=1)],
        [NAMED, argument("$.a", numberValue=1), argument("$.a", numberValue=1)],
        [NAMED, argument("$.a", numberValue=1), argument("$.a.b", numberValue=1)],
        [NAMED, argument("$.a.b", numberValue=1), argument("$.c", numberValue=1), argument("$.a.d", numberValue=1)],
        [NAMED, argument("$" + ".a" * 200, numberValue=1)],
    ],
)
def test_arguments_that_cannot_stand_where_they_should_are_refused(parts):
    assert decoded(b"".join(chunk(part) for part in parts) + STOP)[1] == "upstream_bad_tool_call"


def test_a_line_without_an_end_is_bounded():
    assert decoded(*[b"x" * (1 << 20)] * 40) == ([], "upstream_event_too_large")


def test_the_paths_of_both_hosts():
    assert GeminiHost().path("tunedModels/a b") == "/v1beta/tunedModels/a%20b:streamGenerateContent?alt=sse"
    vertex = VertexHost("p-1", "europe-west1")
    place = "/v1/projects/p-1/locations/europe-west1"
    assert vertex.path("gemini-x") == f"{place}/publishers/google/models/gemini-x:streamGenerateContent?alt=sse"
    assert vertex.path("endpoints/12") == f"{place}/endpoints/12:streamGenerateContent?alt=sse"


def test_only_models_that_generate_content_are_listed():
    listing = {
        "models": [
            {"name": "models/gemini-x", "supportedGenerationMethods": ["generateContent"]},
            {"name": "models/embedding-1", "supportedGenerationMethods": ["embedContent"]},
        ]
    }
    assert [m.id for m in GeminiHost().models(json.dumps(listing).encode())] == ["gemini-x"]
    published = {"publisherModels": [{"name": "publishers/google/models/gemini-y"}]}
    assert [m.id for m in VertexHost("p", "r").models(json.dumps(published).encode())] == ["gemini-y"]
    for wrong in (b"[]", b"<html>", b'{"models": 5}'):
        with pytest.raises(UpstreamError):
            GeminiHost().models(wrong)
