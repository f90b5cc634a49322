"""Anthropic Messages as hosts speak it: recorded answers, cut anywhere, and everything that hosts and proxies do wrong.

The small fixtures are written from the public reference ("Streaming Messages", "Citations"); no host was asked for them.
"""

from __future__ import annotations

import json
import random
import re
from pathlib import Path

import pytest

from tidewire.core import events as ev
from tidewire.core.errors import UpstreamError
from tidewire.core.events import Delta, Finish, PartEnded, PartStarted, Signature, Usage
from tidewire.core.request import Request
from tidewire.dialects.anthropic_host import MessagesHost
from tidewire.dialects.anthropic_host_events import MAX_HELD, MAX_OPEN, MessagesDecoder

RECORDINGS = Path(__file__).parents[3] / "shared" / "recordings"
OURS = {"text": "text", "thinking": "thinking", "redacted_thinking": "thinking", "tool_use": "tool_call"}
SPLICED = "vercel/spliced-message-start"


def framed(line: str, pad: str = "") -> bytes:
    """One event as the host frames it. pad: it pads the JSON of many events with spaces."""
    return f"event: {json.loads(line)['type']}\ndata: {line}{pad}\n\n".encode()


def recorded() -> dict[str, bytes]:
    """Name to wire: of files with one event a line, and of whole HTTP answers."""
    out = {}
    for file in sorted((RECORDINGS / "vercel-ai" / "anthropic").glob("*.chunks.txt")):
        lines = [line for line in file.read_text().splitlines() if line.strip()]
        answers: list[list[str]] = [[]]  # some files hold several, one behind the other
        for line in lines:
            if answers[-1] and '"message_stop"' in answers[-1][-1]:
                answers.append([])
            answers[-1].append(line)
        for n, answer in enumerate(answers):
            name = "vercel/" + file.name.removesuffix(".chunks.txt") + (f"/{n}" if n else "")
            out[name] = b"".join(framed(line) for line in answer)
    for file in sorted((RECORDINGS / "openllmetry" / "anthropic").glob("*.yaml")):
        for n, body in enumerate(re.findall(r"string: '(event: (?:[^']|'')*)'", file.read_text())):
            out[f"openllmetry/{file.stem}/{n}"] = unfolded(body).encode()
    return out


def unfolded(text: str) -> str:
    """A single-quoted YAML scalar: one line break is a space, n of them n - 1."""
    breaks = re.compile(r" *\n(?: *\n)* *")
    return breaks.sub(lambda m: "\n" * (m.group().count("\n") - 1) or " ", text).replace("''", "'")


RECORDED = recorded()
WHOLE = [name for name in RECORDED if name != SPLICED]
needs_recordings = pytest.mark.skipif(not RECORDED, reason=f"no recorded answers at {RECORDINGS}")


def decoded(*cuts: bytes) -> tuple[list[ev.Event], str | None]:
    """The events, and the code of the error that ended them."""
    decoder = MessagesHost().decoder(Request(model="m", messages=[]))
    out: list[ev.Event] = []
    try:
        for cut in cuts:
            out += decoder.feed(cut)
        out += decoder.end()
    except UpstreamError as error:
        return [*out, *error.before], error.kind
    return out, None


def pieces(wire: bytes, size: int) -> list[bytes]:
    return [wire[i : i + size] for i in range(0, len(wire), size)]


def texts(events: list[ev.Event], kind: str) -> list[str]:
    """What was said in each part of a kind."""
    return [
        "".join(d.text for d in events if isinstance(d, Delta) and d.part == e.part)
        for e in events
        if isinstance(e, PartStarted) and e.kind == kind
    ]


def well_formed(events: list[ev.Event]) -> None:
    open_parts: set[int] = set()
    begun = 0
    for event in events:
        if isinstance(event, PartStarted):
            assert event.part == begun
            begun += 1
            open_parts.add(event.part)
        elif isinstance(event, Delta | Signature | ev.Citation):
            assert event.part in open_parts
            assert not isinstance(event, Delta) or event.text
        elif isinstance(event, PartEnded):
            open_parts.remove(event.part)
    assert not open_parts
    assert isinstance(events[-1], Finish)
    assert sum(isinstance(e, Finish) for e in events) == 1


def shortened(wire: bytes) -> bytes:
    """The beginning and the end of a long answer, without what the middle would have to be there for."""
    frames = [f + b"\n\n" for f in wire.split(b"\n\n")[:-1] if len(f) < 4000]
    starts = {m[1] for f in frames[:30] if (m := re.search(rb'content_block_start","index":(\d+)', f))}
    end = [f for f in frames[30:] if (m := re.search(rb'"index":(\d+)', f)) is None or m[1] in starts]
    return b"".join([*frames[:30], *end[-30:]])


# Recorded answers


@needs_recordings
@pytest.mark.parametrize("name", WHOLE)
def test_a_recorded_answer_of_anthropic_is_read_to_its_end(name):
    """Against a reading of the same lines that knows nothing of the decoder."""
    wire = RECORDED[name]
    events, error = decoded(wire)
    assert error is None
    well_formed(events)
    seen = [json.loads(line[6:]) for line in wire.decode().split("\n") if line.startswith("data: ")]
    started = next(one["message"] for one in seen if one["type"] == "message_start")
    blocks: dict[int, list] = {n: [block, "", [], []] for n, block in enumerate(started["content"])}
    for one in seen:
        if one["type"] == "content_block_start":
            blocks[one["index"]] = [one["content_block"], "", [], []]
        elif one["type"] == "content_block_delta":
            delta, block = one["delta"], blocks[one["index"]]
            block[1] += delta.get("text") or delta.get("partial_json") or delta.get("thinking") or ""
            block[2] += [delta["signature"]] if "signature" in delta else []
            block[3] += [delta["citation"]["cited_text"]] if "citation" in delta else []
    ours = [b for b in blocks.values() if b[0]["type"] in OURS]
    for kind, field in (("text", "text"), ("thinking", "thinking")):
        assert texts(events, kind) == [b[1] for b in ours if b[0]["type"] == field]
    assert [json.loads(t) for t in texts(events, "tool_call")] == [
        json.loads(b[1]) if b[1] else b[0]["input"] for b in ours if b[0]["type"] == "tool_use"
    ]
    assert [(e.call, e.name) for e in events if isinstance(e, PartStarted) and e.kind == "tool_call"] == [
        (b[0]["id"], b[0]["name"]) for b in ours if b[0]["type"] == "tool_use"
    ]
    assert [e.value for e in events if isinstance(e, Signature)] == [s for b in ours for s in b[2]]
    assert [e.passage for e in events if isinstance(e, ev.Citation)] == [c for b in ours for c in b[3]]
    last = next((one["usage"] for one in seen if one["type"] == "message_delta"), {})
    counted = started["usage"] | last
    prompt = sum(counted.get(f"{n}input_tokens") or 0 for n in ("", "cache_read_", "cache_creation_"))
    [*_, usage] = [e for e in events if isinstance(e, Usage)]
    assert (usage.input, usage.output, usage.counted_by) == (prompt, last.get("output_tokens"), "host")


@needs_recordings
@pytest.mark.parametrize("size", [1, 2, 3, 7, 64])
@pytest.mark.parametrize("name", RECORDED)
def test_a_recorded_answer_of_anthropic_is_the_same_however_it_is_cut(name, size):
    wire = shortened(RECORDED[name])
    expected = decoded(wire)
    assert len(expected[0]) > 1
    assert decoded(*pieces(wire, size)) == expected
    if size == 1:
        rng = random.Random(name)
        for _ in range(20):
            at = sorted(rng.sample(range(len(wire)), 3))
            assert decoded(*(wire[a:b] for a, b in zip([0, *at], [*at, len(wire)], strict=True))) == expected


@needs_recordings
def test_a_second_message_spliced_into_the_first_is_an_error_and_a_repeated_start_is_not():
    events, error = decoded(RECORDED[SPLICED])
    assert error == "upstream_cut"
    assert texts(events, "thinking") == ["I will call the tool."]
    assert decoded(RECORDED["vercel/duplicate-message-start"])[1] is None


# Written from the reference


def event(kind: str, **more) -> bytes:
    return framed(json.dumps({"type": kind} | more, ensure_ascii=False), pad="  ")


def begin(index: int = 0, **block) -> bytes:
    return event("content_block_start", index=index, content_block={"type": "text", "text": ""} | block)


def delta(kind: str, index: int = 0, **more) -> bytes:
    return event("content_block_delta", index=index, delta={"type": kind} | more)


def stop(index: int = 0) -> bytes:
    return event("content_block_stop", index=index)


def said(text: str, index: int = 0) -> bytes:
    return delta("text_delta", index, text=text)


def ending(reason: str | None = "end_turn", **more) -> bytes:
    usage = more.pop("usage", {"output_tokens": 15})
    last = {"stop_reason": reason, "stop_sequence": None} | more
    return event("message_delta", delta=last, usage=usage) + event("message_stop")


START = event(
    "message_start", message={"id": "msg_1", "type": "message", "usage": {"input_tokens": 3, "output_tokens": 1}}
)
PING = event("ping")
CALL = {"type": "tool_use", "id": "toolu_1", "name": "look_up", "input": {}}
SMALL = (
    START
    + begin(0, type="thinking", thinking="", signature="")
    + delta("thinking_delta", thinking="hm")
    + delta("signature_delta", signature="EqoB==")
    + stop(0)
    + begin(1, type="redacted_thinking", data="EmwK")
    + stop(1)
    + begin(2)
    + PING
    + said("é😀\r\n", 2)
    + stop(2)
    + begin(3, **CALL)
    + delta("input_json_delta", 3, partial_json="")
    + delta("input_json_delta", 3, partial_json='{"a":')
    + delta("input_json_delta", 3, partial_json='"ü"}')
    + stop(3)
    + ending(
        "tool_use",
        usage={
            "input_tokens": 5,
            "cache_read_input_tokens": 20,
            "cache_creation_input_tokens": 7,
            "output_tokens": 15,
            "output_tokens_details": {"thinking_tokens": 4},
        },
    )
)


@pytest.mark.parametrize(
    "wire", [SMALL, SMALL.replace(b"\n", b"\r\n"), b"\xef\xbb\xbf" + SMALL.replace(b"data: ", b"data:")]
)
def test_every_single_cut_of_messages_gives_the_same_events(wire):
    expected = decoded(SMALL)
    well_formed(expected[0])
    for at in range(len(wire) + 1):
        assert decoded(wire[:at], wire[at:]) == expected
    for size in (1, 2, 3, 7, 64):
        assert decoded(*pieces(wire, size)) == expected


def test_each_block_is_a_part_and_the_usage_counts_all_of_the_prompt():
    events, error = decoded(SMALL)
    assert error is None
    assert events == [
        Usage(counted_by="host", input=3),
        PartStarted(part=0, kind="thinking"),
        Delta(part=0, text="hm"),
        Signature(part=0, value="EqoB=="),
        PartEnded(part=0),
        PartStarted(part=1, kind="thinking"),
        Signature(part=1, value="EmwK", redacted=True),
        PartEnded(part=1),
        PartStarted(part=2, kind="text"),
        Delta(part=2, text="é😀\r\n"),
        PartEnded(part=2),
        PartStarted(part=3, kind="tool_call", name="look_up", call="toolu_1"),
        Delta(part=3, text='{"a":'),
        Delta(part=3, text='"ü"}'),
        PartEnded(part=3),
        Usage(counted_by="host", input=32, output=15, cached=20, reasoning=4, cache_write=7),
        Finish(reason="tool_calls"),
    ]


@pytest.mark.parametrize(
    ("said_", "meant"),
    [
        ("end_turn", "stop"),
        ("pause_turn", "stop"),
        ("max_tokens", "length"),
        ("model_context_window_exceeded", "length"),
        ("stop_sequence", "stop_string"),
        ("tool_use", "tool_calls"),
        ("refusal", "content_filter"),
        ("whatever", "stop"),
    ],
)
def test_each_stop_reason_is_said_in_our_words(said_, meant):
    assert decoded(START + ending(said_))[0][-1] == Finish(reason=meant)


def test_why_the_host_refuses_is_a_part_of_its_own():
    details = {"type": "refusal", "category": "cyber", "explanation": "I may not."}
    events, _ = decoded(START + PING + ending("refusal", stop_details=details))
    assert texts(events, "refusal") == ["I may not."]
    well_formed(events)


def test_a_citation_speaks_for_its_whole_block():
    web = {
        "type": "web_search_result_location",
        "url": "https://a.example/p",
        "title": "A",
        "cited_text": "Tides.",
        "encrypted_index": "x",
    }
    page = {
        "type": "page_location",
        "document_index": 2,
        "document_title": None,
        "cited_text": "P",
        "start_page_number": 7,
    }
    chars = {
        "type": "char_location",
        "document_index": 0,
        "document_title": "Doc",
        "cited_text": "C",
        "start_char_index": 1,
    }
    found = {
        "type": "search_result_location",
        "source": "kb:1",
        "title": None,
        "cited_text": "S",
        "search_result_index": 0,
    }
    wire = START + begin(0, citations=[]) + delta("citations_delta", citation=web) + said("Two ") + said("words")
    wire += b"".join(delta("citations_delta", citation=c) for c in (page, chars, found)) + stop() + ending()
    events, error = decoded(wire)
    assert error is None
    common = {"part": 0, "start": 0, "end": 9}
    assert [e for e in events if isinstance(e, ev.Citation)] == [
        ev.Citation(**common, source="https://a.example/p", title="A", passage="Tides.", uri="https://a.example/p"),
        ev.Citation(**common, source="document 2#page=7", title="", passage="P"),
        ev.Citation(**common, source="Doc", title="Doc", passage="C"),
        ev.Citation(**common, source="kb:1", title="", passage="S"),
    ]
    well_formed(events)


def test_what_the_host_runs_itself_is_left_out_and_so_is_what_is_not_known_yet():
    wire = (
        START
        + begin(0, type="server_tool_use", id="s", name="web_search", input={})
        + delta("input_json_delta", 0, partial_json='{"q":1}')
        + stop(0)
        + begin(1, type="web_search_tool_result", tool_use_id="s", content=[])
        + stop(1)
        + begin(2, type="hologram")
        + delta("hologram_delta", 2, light="blue")
        + event("weather", sunny=True)
        + begin(3)
        + delta("hum_delta", 3, hum="mm")
        + said("Hello", 3)
        + ending()
    )
    events, error = decoded(wire)
    assert error is None
    assert [type(e) for e in events if not isinstance(e, Usage)] == [PartStarted, Delta, PartEnded, Finish]


@pytest.mark.parametrize(
    ("blocks", "arguments"),
    [
        (begin(0, **CALL) + stop(), "{}"),
        (begin(0, **CALL | {"input": {"a": [1]}}) + stop(), '{"a":[1]}'),
        (
            begin(0, **CALL | {"input": {"a": 1}}) + delta("input_json_delta", 0, partial_json='{"b":2}') + stop(),
            '{"b":2}',
        ),
    ],
)
def test_a_call_has_arguments_wherever_the_host_put_them(blocks, arguments):
    events, error = decoded(START + blocks + ending("tool_use"))
    assert error is None
    assert texts(events, "tool_call") == [arguments]


# What hosts and proxies do wrong

TEXT = START + begin() + said("one ")
OVER = event("error", error={"type": "overloaded_error", "message": "Overloaded"})


@pytest.mark.parametrize(
    ("wire", "text", "code"),
    [
        (b"", [], "upstream_cut"),
        (TEXT, ["one "], "upstream_cut"),
        (TEXT + b'event: content_block_delta\ndata: {"type":"conte', ["one "], "upstream_cut"),
        (TEXT + event("message_stop"), ["one "], "upstream_unfinished"),
        (TEXT + stop() + ending()[: -len(event("message_stop"))], ["one "], None),  # the reason says that all is there
        (TEXT + ending() + said("two"), ["one "], None),  # blocks left open are closed; nothing counts after the end
        (TEXT + OVER + said("two"), ["one "], "upstream_error"),
        (TEXT + b'data: {"error":{"message":"boom"}}\n\n', ["one "], "upstream_error"),
        (TEXT + b'event: error\ndata: {"message":"boom"}\n\n', ["one "], "upstream_error"),
        (TEXT + b"event: error\ndata: boom\n\n", ["one "], "upstream_error"),
        (TEXT + b"data: not json\n\n", ["one "], "upstream_bad_event"),
        (TEXT + b"data: [1]\n\n", ["one "], "upstream_bad_event"),
        (TEXT + b"data: \xff\n\n", ["one "], "upstream_bad_event"),
        (TEXT + delta("text_delta", text=5), ["one "], "upstream_bad_event"),
        (TEXT + delta("text_delta", 4, text="x"), ["one "], "upstream_bad_event"),
        (TEXT + delta("thinking_delta", thinking="x"), ["one "], "upstream_bad_event"),
        (TEXT + stop() + said("two"), ["one "], "upstream_bad_event"),
        (TEXT + begin(1, type="tool_use", id="t"), ["one "], "upstream_bad_tool_call"),
        (TEXT + event("message_start", message={"id": "msg_2"}), ["one "], "upstream_cut"),
        (TEXT + START + said("two") + ending(), ["one two"], None),
        (TEXT + delta("text_delta", text=None) + said("") + ending(), ["one "], None),
        (
            TEXT + event("content_block_delta") + event("content_block_start") + event("message_start") + ending(),
            ["one "],
            None,
        ),
        (TEXT + stop(9) + stop() + stop() + ending(), ["one "], None),
        (TEXT + begin() + said("two") + ending(), ["one ", "two"], None),  # begun again under its index
        (said("two") + ending(), [], "upstream_bad_event"),
    ],
)
def test_messages_that_go_wrong_keep_what_came_before(wire, text, code):
    expected = decoded(wire)
    assert (texts(expected[0], "text"), expected[1]) == (text, code)
    for at in range(len(wire) + 1):
        assert decoded(wire[:at], wire[at:]) == expected
    if code is None:
        well_formed(expected[0])


@pytest.mark.parametrize(
    ("kind", "again"), [("overloaded_error", True), ("api_error", True), ("invalid_request_error", False), (None, True)]
)
def test_an_error_event_says_whether_to_try_again(kind, again):
    with pytest.raises(UpstreamError) as caught:
        MessagesDecoder().feed(TEXT + event("error", error={"type": kind, "message": "No, " + "x" * 400}))
    assert caught.value.retryable is again
    assert "No, x" in caught.value.message
    assert len(caught.value.message) < 300


def test_blocks_without_an_index_follow_each_other():
    def bare(kind, **more):
        return framed(json.dumps({"type": kind} | more))

    wire = START + bare("content_block_start", content_block={"type": "text", "text": "a"})
    wire += bare("content_block_delta", delta={"type": "text_delta", "text": "b"}) + bare("content_block_stop")
    wire += bare("content_block_start", content_block=CALL)
    wire += bare("content_block_delta", delta={"type": "input_json_delta", "partial_json": "{}"}) + bare(
        "content_block_stop"
    )
    events, error = decoded(wire + ending("tool_use"))
    assert error is None
    assert (texts(events, "text"), texts(events, "tool_call")) == (["ab"], ["{}"])


def test_blocks_that_take_turns_are_kept_apart():
    wire = START + begin(5, **CALL) + begin(2, **CALL | {"id": "toolu_2"}) + begin(9)
    wire += (
        delta("input_json_delta", 5, partial_json="[1") + said("x", 9) + delta("input_json_delta", 2, partial_json="[2")
    )
    wire += (
        delta("input_json_delta", 5, partial_json="]") + said("y", 9) + delta("input_json_delta", 2, partial_json="]")
    )
    events, error = decoded(wire + ending("tool_use"))
    assert error is None
    assert (texts(events, "tool_call"), texts(events, "text")) == (["[1]", "[2]"], ["xy"])
    well_formed(events)


def test_what_waits_for_the_end_of_a_block_is_bounded():
    wire = START + b"".join(begin(n, type="server_tool_use") for n in range(MAX_OPEN + 1))
    assert decoded(wire)[1] == "upstream_bad_event"
    long = {"type": "char_location", "cited_text": "x" * (MAX_HELD // 4)}
    wire = TEXT + delta("citations_delta", citation=long) * 5
    assert decoded(wire)[1] == "upstream_bad_event"


def test_deep_nesting_is_an_error_and_not_a_crash():
    assert decoded(b'data: {"type":"ping","delta":' + b"[" * 100_000 + b"\n\n")[1] == "upstream_bad_event"
    assert decoded(b"event: error\ndata: " + b"[" * 100_000 + b"\n\n")[1] == "upstream_error"


@pytest.mark.parametrize("seed", range(20))
def test_mutated_answers_end_well_or_in_a_named_error(seed):
    rng = random.Random(seed)
    for _ in range(100):
        wire = bytearray(SMALL)
        for _ in range(rng.randint(1, 6)):
            at = rng.randrange(len(wire))
            if rng.random() < 0.5:
                wire[at] = rng.randrange(256)
            else:
                del wire[at : at + rng.randint(1, 40)]
        events, error = decoded(bytes(wire))
        if error is None:
            well_formed(events)
        else:
            assert error.startswith("upstream_")
