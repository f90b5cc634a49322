"""Chat Completions as hosts speak it: recorded answers, cut anywhere, and everything that hosts do wrong."""

from __future__ import annotations

import json
import random
import re
from pathlib import Path

import pytest

from tidewire.core import events as ev
from tidewire.core.errors import UpstreamError
from tidewire.core.events import Delta, Finish, PartEnded, PartStarted, Usage
from tidewire.core.request import Image, Message, Request, Text, Tool, ToolCall, ToolResult
from tidewire.dialects.openai_chat_host import ChatHost

RECORDINGS = Path(__file__).parents[3] / "shared" / "recordings"
DONE = b"data: [DONE]\n\n"
HOSTS = (
    "alibaba",
    "azure",
    "cerebras",
    "deepseek",
    "groq",
    "mistral",
    "moonshotai",
    "openai",
    "openai-compatible",
    "perplexity",
    "xai",
)


def recorded() -> dict[str, bytes]:
    """Name to wire: of files with one chunk a line, and of whole HTTP answers."""
    out = {}
    for host in HOSTS:
        for file in sorted((RECORDINGS / "vercel-ai" / host).rglob("*.chunks.txt")):
            lines = [line for line in file.read_text().splitlines() if line.strip()]
            if '"choices"' in lines[0] and '"text_completion"' not in lines[0]:
                out[f"{host}/{file.name.removesuffix('.chunks.txt')}"] = b"".join(framed(line) for line in lines) + DONE
    for file in sorted((RECORDINGS / "openllmetry").rglob("*.yaml")):
        for n, body in enumerate(re.findall(r"string: '(data: (?:[^']|'')*)'", file.read_text())):
            if '"chat.completion.chunk"' in body:
                out[f"{file.parent.name}/{file.stem}/{n}"] = unfolded(body).encode()
    return out


def framed(line: str) -> bytes:
    return b"data: " + line.encode() + b"\n\n"


def unfolded(text: str) -> str:
    """A single-quoted YAML scalar: one line break is a space, n of them n - 1."""
    breaks = re.compile(r" *\n(?: *\n)* *")
    return breaks.sub(lambda m: "\n" * (m.group().count("\n") - 1) or " ", text).replace("''", "'")


RECORDED = recorded()
needs_recordings = pytest.mark.skipif(not RECORDED, reason=f"no recorded answers at {RECORDINGS}")


def decoded(*cuts: bytes) -> tuple[list[ev.Event], str | None]:
    """The events, and the code of the error that ended them."""
    decoder = ChatHost().decoder(Request(model="m", messages=[]))
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
            assert event.part in open_parts
            assert event.text
        elif isinstance(event, PartEnded):
            open_parts.discard(event.part)
    assert not open_parts
    assert isinstance(events[-1], Finish)
    assert sum(isinstance(e, Finish) for e in events) == 1


def shortened(wire: bytes) -> bytes:
    """The beginning and the end of a long answer."""
    frames = wire.split(b"\n\n")[:-1]
    kept = frames if len(frames) <= 60 else frames[:30] + frames[-30:]
    return b"".join(frame + b"\n\n" for frame in kept)


@needs_recordings
@pytest.mark.parametrize("name", RECORDED)
def test_a_recorded_answer_is_read_to_its_end(name):
    wire = RECORDED[name]
    events, error = decoded(wire)
    assert error is None
    well_formed(events)
    choices = [
        choice
        for line in wire.decode().split("\n")
        if line.startswith("data: {")
        for choice in json.loads(line[6:]).get("choices") or []
        if choice.get("index", 0) == 0
    ]
    deltas = [c.get("delta") or {} for c in choices]
    plain = "".join(d["content"] for d in deltas if isinstance(d.get("content"), str))
    lists = [part for d in deltas if isinstance(d.get("content"), list) for part in d["content"]]
    assert texts(events, "text") == plain + "".join(p["text"] for p in lists if p["type"] == "text")
    thought = "".join(d.get("reasoning_content") or d.get("reasoning") or "" for d in deltas)
    thought += "".join(t["text"] for p in lists if p["type"] == "thinking" for t in p["thinking"])
    assert texts(events, "thinking") == thought
    arguments = "".join(c["function"].get("arguments") or "" for d in deltas for c in d.get("tool_calls") or [])
    assert sorted("".join(said for _, _, said in calls(events))) == sorted(arguments)
    for _, name, said in calls(events):
        assert name
        json.loads(said or "{}")
    chunks = [json.loads(line[6:]) for line in wire.decode().split("\n") if line.startswith("data: {")]
    counted = [c for c in chunks if c.get("usage") or (c.get("x_groq") or {}).get("usage")]
    assert sum(isinstance(e, Usage) for e in events) == len(counted)


@needs_recordings
@pytest.mark.parametrize("name", RECORDED)
def test_a_recorded_answer_is_the_same_however_it_is_cut(name):
    wire = shortened(RECORDED[name])
    expected = decoded(wire)
    for size in (1, 2, 3, 7, 64):
        assert decoded(*(wire[i : i + size] for i in range(0, len(wire), size))) == expected
    rng = random.Random(name)
    for _ in range(30):
        places = sorted(rng.sample(range(len(wire)), 3))
        assert decoded(*(wire[a:b] for a, b in zip([0, *places], [*places, len(wire)], strict=True))) == expected


def chunk(delta=None, *, finish=None, **more) -> bytes:
    choices = [] if delta is None and finish is None else [{"index": 0, "delta": delta or {}, "finish_reason": finish}]
    return framed(json.dumps({"choices": choices} | more, ensure_ascii=False))


SMALL = (
    chunk({"role": "assistant", "content": ""})
    + chunk({"reasoning_content": "hm"})
    + chunk({"content": "é😀\r\n"})
    + chunk({"tool_calls": [{"index": 0, "id": "c1", "function": {"name": "f", "arguments": '{"a":'}}]})
    + b": a comment\n\n"
    + chunk({"tool_calls": [{"index": 0, "function": {"arguments": "1}"}}]})
    + chunk(finish="tool_calls")
    + chunk(usage={"prompt_tokens": 3, "completion_tokens": 4, "prompt_tokens_details": {"cached_tokens": 1}})
    + DONE
)


@pytest.mark.parametrize(
    "wire", [SMALL, SMALL.replace(b"\n\n", b"\r\n\r\n"), b"\xef\xbb\xbf" + SMALL.replace(b"data: ", b"data:")]
)
def test_every_single_cut_gives_the_same_events(wire):
    expected = decoded(SMALL)
    well_formed(expected[0])
    for at in range(len(wire) + 1):
        assert decoded(wire[:at], wire[at:]) == expected


def test_each_kind_of_output_is_a_part_of_its_own():
    events, error = decoded(SMALL)
    assert error is None
    assert [(e.part, e.kind) for e in events if isinstance(e, PartStarted)] == [
        (0, "thinking"),
        (1, "text"),
        (2, "tool_call"),
    ]
    assert texts(events, "text") == "é😀\r\n"
    assert calls(events) == [("c1", "f", '{"a":1}')]
    assert events[-1] == Finish(reason="tool_calls")
    [usage] = [e for e in events if isinstance(e, Usage)]
    assert (usage.counted_by, usage.input, usage.output, usage.cached) == ("host", 3, 4, 1)


def cut_short(wire: bytes) -> tuple[str, str | None]:
    """The text that came through, and the code of the error; the same for every cut."""
    expected = decoded(wire)
    for at in range(len(wire) + 1):
        assert decoded(wire[:at], wire[at:]) == expected
    return texts(expected[0], "text"), expected[1]


ONE = chunk({"content": "one "})


@pytest.mark.parametrize(
    ("wire", "text", "code"),
    [
        (b"", "", "upstream_cut"),
        (ONE, "one ", "upstream_cut"),
        (ONE + b'data: {"choices":[{"del', "one ", "upstream_cut"),
        (ONE + DONE, "one ", "upstream_unfinished"),
        (ONE + chunk(finish="stop"), "one ", None),  # some leave [DONE] out
        (ONE + chunk(finish="stop") + DONE + ONE, "one ", None),  # nothing counts after it
        (ONE + framed('{"error":{"message":"too much","code":429}}'), "one ", "upstream_error"),
        (ONE + framed('{"error":"too much"}') + DONE, "one ", "upstream_error"),
        (ONE + b'event: error\ndata: {"message":"too much"}\n\n' + DONE, "one ", "upstream_error"),
        (ONE + b"event: error\ndata: too much\n\n", "one ", "upstream_bad_event"),
        (ONE + chunk(finish="stop", error={"message": "too much"}), "one ", "upstream_error"),
        (ONE + framed("not json"), "one ", "upstream_bad_event"),
        (ONE + framed("[1]"), "one ", "upstream_bad_event"),
        (ONE + framed('{"choices":5}'), "one ", "upstream_bad_event"),
        (ONE + b'data: {"choices":[{"delta":{"content":"\xff"}}]}\n\n', "one ", "upstream_bad_event"),
        (ONE + chunk(finish="error"), "one ", "upstream_error"),
        (ONE + chunk(finish="abort"), "one ", "upstream_abort"),
        (
            ONE + chunk({"tool_calls": [{"index": 0, "function": {"arguments": "{"}}]}) + chunk(finish="stop"),
            "one ",
            "upstream_bad_tool_call",
        ),
    ],
)
def test_an_answer_that_goes_wrong_keeps_what_came_before(wire, text, code):
    assert cut_short(wire) == (text, code)


def test_deep_nesting_of_a_host_is_an_error_and_not_a_crash():
    assert decoded(framed('{"choices":' + "[" * 100_000))[1] == "upstream_bad_event"


@pytest.mark.parametrize(
    ("said", "meant"),
    [
        ("stop", "stop"),
        ("end_turn", "stop"),
        ("eos", "stop"),
        ("length", "length"),
        ("max_tokens", "length"),
        ("tool_calls", "tool_calls"),
        ("function_call", "tool_calls"),
        ("content_filter", "content_filter"),
        ("whatever", "stop"),
    ],
)
def test_why_it_ended_is_said_in_our_words(said, meant):
    assert decoded(chunk({"content": "x"}) + chunk(finish=said) + DONE)[0][-1] == Finish(reason=meant)


def called(*fragments: dict) -> list[tuple[str | None, str | None, str]]:
    events, error = decoded(b"".join(chunk({"tool_calls": [f]}) for f in fragments) + chunk(finish="tool_calls") + DONE)
    assert error is None
    well_formed(events)
    return calls(events)


def test_calls_with_an_index_may_take_turns():
    got = called(
        {"index": 0, "id": "a", "function": {"name": "f", "arguments": "{"}},
        {"index": 1, "id": "b", "function": {"name": "g", "arguments": "["}},
        {"index": 0, "function": {"arguments": "}"}},
        {"index": 1, "function": {"arguments": "]"}},
    )
    assert got == [("a", "f", "{}"), ("b", "g", "[]")]


def test_calls_without_an_index_follow_each_other():
    got = called(
        {"id": "a", "function": {"name": "f", "arguments": "{"}},
        {"function": {"arguments": "}"}},
        {"id": "b", "function": {"name": "g", "arguments": "[]"}},
    )
    assert got == [("a", "f", "{}"), ("b", "g", "[]")]


def test_an_empty_name_or_a_repeated_id_begins_no_new_call():
    got = called(
        {"index": 0, "id": "a", "function": {"name": "f", "arguments": "{"}},
        {"index": 0, "id": "a", "function": {"name": "", "arguments": "}"}},
        {"index": 0, "id": "", "function": {"name": None, "arguments": ""}},
    )
    assert got == [("a", "f", "{}")]


def test_two_calls_under_one_index_are_two():
    got = called(
        {"index": 0, "id": "a", "function": {"name": "f", "arguments": "{}"}},
        {"index": 0, "id": "b", "function": {"name": "f", "arguments": "{}"}},
    )
    assert [c[0] for c in got] == ["a", "b"]


def test_arguments_that_come_as_an_object_become_text():
    assert called({"index": 0, "id": "a", "function": {"name": "f", "arguments": {"a": 1}}}) == [("a", "f", '{"a":1}')]


def test_a_call_without_an_id_gets_one():
    [(call, name, _)] = called({"index": 0, "function": {"name": "f", "arguments": "{}"}})
    assert call
    assert name == "f"


def test_a_refusal_is_a_part_of_its_own():
    said = chunk({"content": "Well. "}) + chunk({"refusal": "I can"}) + chunk({"refusal": "not."})
    events, error = decoded(said + chunk(finish="stop") + DONE)
    assert error is None
    well_formed(events)
    assert (texts(events, "text"), texts(events, "refusal")) == ("Well. ", "I cannot.")


def test_a_second_choice_is_left_out():
    second = framed(json.dumps({"choices": [{"index": 1, "delta": {"content": "no"}}]}))
    assert texts(decoded(ONE + second + chunk(finish="stop") + DONE)[0], "text") == "one "


def test_what_was_thought_in_a_chunk_comes_before_what_is_said_in_it():
    events, _ = decoded(chunk({"content": "So.", "reasoning_content": "hm"}) + chunk(finish="stop") + DONE)
    assert [e.kind for e in events if isinstance(e, PartStarted)] == ["thinking", "text"]


# What we say to a host


def encoded(**more) -> dict:
    request = Request(**({"model": "prefix/m", "messages": [Message("user", [Text("Hello?")])]} | more))
    return json.loads(ChatHost().ask(request, "m").body)


def test_a_plain_question_asks_for_a_stream_with_usage_and_nothing_else():
    assert encoded() == {
        "model": "m",
        "messages": [{"role": "user", "content": "Hello?"}],
        "stream": True,
        "stream_options": {"include_usage": True},
    }


def test_what_tools_showed_is_said_by_the_user_behind_all_results_of_the_turn():
    def shown(call, url):
        return [
            {"type": "text", "text": f"What the call {call} showed:"},
            {"type": "image_url", "image_url": {"url": url}},
        ]

    def result(call, text):
        return {"role": "tool", "tool_call_id": call, "content": text}

    first = Message("tool", [ToolResult("c", "", images=[Image("data:x")])])
    second = Message("tool", [ToolResult("d", "two", images=[Image("data:y")]), ToolResult("e", "none")])
    results = [result("c", "an image, which is shown below"), result("d", "two"), result("e", "none")]
    both = [*shown("c", "data:x"), *shown("d", "data:y")]
    assert encoded(messages=[first, second])["messages"] == [*results, {"role": "user", "content": both}]
    then = encoded(messages=[first, second, Message("user", [Text("So?")])])["messages"]
    assert then == [*results, {"role": "user", "content": [*both, {"type": "text", "text": "So?"}]}]
    later = encoded(messages=[first, second, Message("assistant", [Text("Well")])])["messages"]
    assert [m["role"] for m in later] == ["tool", "tool", "tool", "user", "assistant"]
    mixed = encoded(messages=[Message("user", [*first.content, Text("And?")])])["messages"]
    assert mixed == [results[0], {"role": "user", "content": [{"type": "text", "text": "And?"}, *shown("c", "data:x")]}]


def test_every_kind_of_content_is_said():
    messages = [
        Message("system", [Text("Be brief.")]),
        Message("user", [Text("What"), Image("data:x", "low")]),
        Message("assistant", [ToolCall("c", "f", "{}")]),
        Message("tool", [ToolResult("c", "42")]),
    ]
    said = encoded(messages=messages, tools=[Tool("f", "does", {"type": "object"})], tool_choice="auto")
    assert said["messages"] == [
        {"role": "system", "content": "Be brief."},
        {
            "role": "user",
            "content": [
                {"type": "text", "text": "What"},
                {"type": "image_url", "image_url": {"url": "data:x", "detail": "low"}},
            ],
        },
        {
            "role": "assistant",
            "content": None,
            "tool_calls": [{"id": "c", "type": "function", "function": {"name": "f", "arguments": "{}"}}],
        },
        {"role": "tool", "tool_call_id": "c", "content": "42"},
    ]
    assert said["tools"] == [
        {"type": "function", "function": {"name": "f", "description": "does", "parameters": {"type": "object"}}}
    ]


def test_limits_are_handed_on_under_the_name_that_the_client_used():
    assert encoded(max_tokens=5)["max_tokens"] == 5
    newer = encoded(max_tokens=5, options={"max_completion_tokens": 5})
    assert newer["max_completion_tokens"] == 5
    assert "max_tokens" not in newer


def test_options_of_the_client_cannot_turn_off_the_stream_or_change_the_model():
    said = encoded(options={"stream": False, "model": "other", "messages": [], "seed": 1})
    assert (said["stream"], said["model"], said["seed"]) == (True, "m", 1)
    assert said["messages"]
