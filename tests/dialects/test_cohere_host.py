"""Cohere as its hosts speak it: recorded answers, cut anywhere; what hosts do wrong; and what we ask."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from decoding import assert_cut_anywhere, calls, decoded, kinds, one, texts, unfolded, well_formed
from tidewire.core.errors import BadRequest, UpstreamError
from tidewire.core.events import Citation, Delta, Finish, Logprobs, PartEnded, PartStarted, Usage
from tidewire.core.request import (
    Audio,
    File,
    Image,
    Message,
    Request,
    Text,
    Thinking,
    Thought,
    Tool,
    ToolCall,
    ToolResult,
)
from tidewire.dialects.cohere_host import CohereHost

RECORDINGS = Path(__file__).parents[3] / "shared" / "recordings"
HOST = CohereHost()
DONE = b"data: [DONE]\n\n"


def event(kind: str, **more) -> bytes:
    data = json.dumps({"type": kind} | more, ensure_ascii=False)
    return f"event: {kind}\ndata: {data}\n\n".encode()


def said(index: int, text: str, field: str = "text", **more) -> bytes:
    return event("content-delta", index=index, delta={"message": {"content": {field: text}}}, **more)


def begun(index: int, kind: str = "text") -> bytes:
    return event("content-start", index=index, delta={"message": {"content": {"type": kind, kind: ""}}})


def planned(text: str) -> bytes:
    return event("tool-plan-delta", delta={"message": {"tool_plan": text}})


def call(index: int | None, name: str | None, arguments: str = "", call_id: str | None = "c") -> bytes:
    function = {"name": name, "arguments": arguments}
    body = {"id": call_id, "type": "function", "function": function}
    return event("tool-call-start", index=index, delta={"message": {"tool_calls": body}})


def more(index: int | None, arguments: str) -> bytes:
    return event(
        "tool-call-delta", index=index, delta={"message": {"tool_calls": {"function": {"arguments": arguments}}}}
    )


def finished(reason: str | None = "COMPLETE", **delta) -> bytes:
    return event("message-end", delta={"finish_reason": reason} | delta)


USAGE = {
    "billed_units": {"input_tokens": 8, "output_tokens": 50},
    "tokens": {"input_tokens": 1394, "output_tokens": 54},
    "cached_tokens": 1360,
}
# from the public documentation, "Streaming": a plan, then a call, in the words of its sample events
SMALL = (
    event("message-start", id="m1", delta={"message": {"role": "assistant", "content": [], "tool_calls": []}})
    + begun(0, "thinking")
    + said(0, "hm", "thinking")
    + event("content-end", index=0)
    + begun(1)
    + said(1, "é😀\r\n")
    + said(1, " more")
    + event("content-end", index=1)
    + planned("I will")
    + planned(" look.")
    + call(0, "get_weather", call_id="get_weather_1")
    + more(0, '{\n    "')
    + b": a comment\n\n"
    + more(0, 'city": "Zürich"}')
    + event("tool-call-end", index=0)
    + finished("TOOL_CALL", usage=USAGE)
    + DONE
)


# What hosts say


def recorded() -> dict[str, bytes]:
    """Name to wire: of files with one event a line, and of whole HTTP answers."""
    out = {}
    for file in sorted((RECORDINGS / "vercel-ai" / "cohere").glob("*.chunks.txt")):
        lines = [line for line in file.read_text().splitlines() if line.strip()]
        out[file.name.removesuffix(".chunks.txt")] = b"".join(b"data: %s\n\n" % line.encode() for line in lines)
    for file in sorted((RECORDINGS / "openllmetry" / "cohere").glob("*.yaml")):
        for body in re.findall(r"string: '(event: (?:[^']|'')*)'", file.read_text()):
            out[file.stem] = unfolded(body).encode()
    return out


RECORDED = recorded()


@pytest.mark.skipif(not RECORDED, reason=f"no recorded answers at {RECORDINGS}")
@pytest.mark.parametrize("name", RECORDED)
def test_a_recorded_answer_is_read_to_its_end_however_it_is_cut(name):
    wire = RECORDED[name]
    events, error = assert_cut_anywhere(HOST, wire)
    assert error is None
    well_formed(events)
    told = [json.loads(line[6:]) for line in wire.decode().split("\n") if line.startswith("data: {")]
    messages = [t["delta"].get("message") or {} for t in told if "delta" in t]
    deltas = [m["content"] for m in messages if isinstance(m.get("content"), dict)]
    assert texts(events, "text") == "".join(d.get("text") or "" for d in deltas)
    thought = "".join(d.get("thinking") or "" for d in deltas) + "".join(m.get("tool_plan") or "" for m in messages)
    assert texts(events, "thinking") == thought
    asked = [m["tool_calls"] for m in messages if isinstance(m.get("tool_calls"), dict)]
    assert [(i, n) for i, n, _ in calls(events)] == [(c["id"], c["function"]["name"]) for c in asked if "id" in c]
    for _, _, arguments in calls(events):
        assert isinstance(json.loads(arguments), dict)
    usage = told[-1]["delta"]["usage"]
    counted = one(events, Usage)
    assert (counted.input, counted.output) == (usage["tokens"]["input_tokens"], usage["tokens"]["output_tokens"])
    assert counted.cached == usage.get("cached_tokens")
    assert events[-1].reason == {"COMPLETE": "stop", "TOOL_CALL": "tool_calls"}[told[-1]["delta"]["finish_reason"]]


@pytest.mark.parametrize(
    "wire", [SMALL, SMALL.replace(b"\n\n", b"\r\n\r\n"), b"\xef\xbb\xbf" + SMALL.replace(b"data: ", b"data:")]
)
def test_every_cut_gives_the_same_events(wire):
    events, error = assert_cut_anywhere(HOST, wire)
    assert error is None
    well_formed(events)
    assert events == decoded(HOST, SMALL)[0]


def test_each_kind_of_output_is_a_part_of_its_own():
    events, _ = decoded(HOST, SMALL)
    assert kinds(events) == ["thinking", "text", "thinking", "tool_call"]
    assert texts(events, "text") == "é😀\r\n more"
    assert texts(events, "thinking") == "hmI will look."
    assert calls(events) == [("get_weather_1", "get_weather", '{\n    "city": "Zürich"}')]
    assert events[-1] == Finish(reason="tool_calls")


def test_usage_is_in_tokens_and_not_in_what_is_billed():
    usage = one(decoded(HOST, SMALL)[0], Usage)
    assert (usage.counted_by, usage.input, usage.output, usage.cached) == ("host", 1394, 54, 1360)
    floats = finished(usage={"tokens": {"input_tokens": 12.0, "output_tokens": 3.0}})
    assert (one(decoded(HOST, floats)[0], Usage).input, one(decoded(HOST, floats)[0], Usage).cached) == (12, None)
    billed = finished(usage={"billed_units": {"input_tokens": 12}})
    assert [e for e in decoded(HOST, billed)[0] if isinstance(e, Usage)] == []


@pytest.mark.parametrize(
    ("told", "meant"),
    [
        ("COMPLETE", "stop"),
        ("STOP_SEQUENCE", "stop_string"),
        ("MAX_TOKENS", "length"),
        ("TOOL_CALL", "tool_calls"),
        ("TIMEOUT", "time_limit"),
        ("ERROR_TOXIC", "content_filter"),
        ("WHATEVER", "stop"),
    ],
)
def test_why_it_ended_is_said_in_our_words(told, meant):
    assert decoded(HOST, begun(0) + said(0, "x") + finished(told))[0][-1] == Finish(reason=meant)


def cited(**more) -> bytes:
    citation = {
        "start": 0,
        "end": 4,
        "text": "Gyms",
        "sources": [
            {
                "type": "document",
                "id": "doc:1",
                "document": {"id": "doc:1", "title": "Perks", "text": "Gyms.", "url": "u"},
            },
            {"type": "tool", "id": "t:0", "tool_output": {"rows": 3}},
        ],
        "type": "TEXT_CONTENT",
    } | more
    return event("citation-start", index=0, delta={"message": {"citations": citation}}) + event("citation-end", index=0)


def test_a_citation_is_one_of_ours_for_each_source():
    wire = begun(0, "thinking") + event("content-end", index=0) + begun(1) + said(1, "Gyms") + cited() + finished()
    events, _ = assert_cut_anywhere(HOST, wire)
    first, second = [e for e in events if isinstance(e, Citation)]
    assert first == Citation(part=1, start=0, end=4, source="doc:1", title="Perks", passage="Gyms.", uri="u")
    assert (second.part, second.source, second.title, second.passage) == (1, "t:0", "t:0", '{"rows":3}')


@pytest.mark.parametrize(
    ("told", "part"), [({"content_index": 0}, 0), ({"content_index": 1}, 1), ({"type": "PLAN"}, 2)]
)
def test_a_citation_names_the_part_that_it_is_about(told, part):
    wire = begun(0, "thinking") + begun(1) + said(1, "Gyms") + planned("I will") + cited(**told) + finished()
    assert {e.part for e in decoded(HOST, wire)[0] if isinstance(e, Citation)} == {part}


@pytest.mark.parametrize(
    "told", [{"sources": None}, {"sources": []}, {"start": None}, {"content_index": 7}, {"type": "PLAN"}]
)
def test_a_citation_of_nothing_says_nothing(told):
    wire = begun(0) + said(0, "Gyms") + cited(**told) + finished()
    events, error = decoded(HOST, wire)
    assert (error, [e for e in events if isinstance(e, Citation)]) == (None, [])


def test_log_probabilities_of_a_piece_are_added_up():
    wire = (
        begun(0) + said(0, "Hé", logprobs={"text": "Hé", "token_ids": [1, 2], "logprobs": [-0.5, -0.25]}) + finished()
    )
    told = one(assert_cut_anywhere(HOST, wire)[0], Logprobs)
    assert told.content == [{"token": "Hé", "logprob": -0.75, "bytes": [72, 195, 169], "top_logprobs": []}]


# What hosts do wrong

ONE = begun(0) + said(0, "one ")


@pytest.mark.parametrize(
    ("wire", "text", "code"),
    [
        (b"", "", "upstream_cut"),
        (ONE, "one ", "upstream_cut"),
        (ONE + b'data: {"type":"content-de', "one ", "upstream_cut"),
        (ONE + DONE, "one ", "upstream_unfinished"),
        (ONE + finished(None), "one ", "upstream_unfinished"),
        (ONE + event("message-end"), "one ", "upstream_unfinished"),
        (ONE + finished() + ONE + b"data: nonsense\n\n", "one ", None),  # nothing counts after the end
        (ONE + finished("ERROR", error="too much"), "one ", "upstream_error"),
        (ONE + finished("ERROR"), "one ", "upstream_error"),
        (ONE + finished("COMPLETE", error="too much"), "one ", "upstream_error"),
        (ONE + b'data: {"message":"too much"}\n\n', "one ", "upstream_error"),
        (ONE + b"data: {}\n\n", "one ", "upstream_bad_event"),
        (ONE + b"data: nonsense\n\n", "one ", "upstream_bad_event"),
        (ONE + b"data: [1]\n\n", "one ", "upstream_bad_event"),
        (ONE + b"data: null\n\n", "one ", "upstream_bad_event"),
        (ONE + event("content-delta", index="0"), "one ", "upstream_bad_event"),
        (ONE + event("content-delta", index=0, delta={"message": {"content": {"text": 5}}}), "one ", "upstream_bad_event"),
        (ONE + event("content-delta", index=0, delta=7), "one ", "upstream_bad_event"),
        (ONE + b'data: {"type":"content-delta","index":0,"delta":{"message":{"content":{"text":"\xff"}}}}\n\n', "one ", "upstream_bad_event"),
        (ONE + event("message-end", delta={"finish_reason": 3}), "one ", "upstream_bad_event"),
        (ONE + event("brand-new", index=0) + finished(), "one ", None),
        (ONE + event("debug", prompt="…") + finished(), "one ", None),
        (ONE + event("content-delta") + event("content-delta", index=0, delta=None) + finished(), "one ", None),
        (ONE + event("content-end") + event("content-end", index=9) + finished(), "one ", None),
        (said(3, "one ") + finished(), "one ", None),  # never begun
        (begun(0) + begun(0) + said(0, "one ") + finished(), "one ", None),
        (begun(None) + said(None, "one ") + finished(), "one ", None),
    ],
)  # fmt: skip
def test_an_answer_that_goes_wrong_keeps_what_came_before(wire, text, code):
    events, error = assert_cut_anywhere(HOST, wire)
    assert (texts(events, "text"), error) == (text, code)
    if code is None:
        well_formed(events)


def test_what_the_host_says_of_its_failure_is_told():
    decoder = HOST.decoder(Request(model="m", messages=[]))
    with pytest.raises(UpstreamError, match="the host broke off with an error: too much") as caught:
        decoder.feed(ONE + finished("ERROR", error="too much", usage=USAGE))
    assert caught.value.retryable
    assert [type(e) for e in caught.value.before] == [PartStarted, Delta, PartEnded, Usage]


def test_deep_nesting_of_a_host_is_an_error_and_not_a_crash():
    assert decoded(HOST, b'data: {"type":"x","message":' + b"[" * 100_000 + b"\n\n")[1] == "upstream_bad_event"


def test_thoughts_and_text_may_take_turns():
    wire = (
        begun(0, "thinking")
        + begun(1)
        + said(0, "a", "thinking")
        + said(1, "b")
        + said(0, "c", "thinking")
        + finished()
    )
    events, error = decoded(HOST, wire)
    assert error is None
    well_formed(events)
    assert (kinds(events), texts(events, "thinking"), texts(events, "text")) == (["thinking", "text"], "ac", "b")


# Tool calls


def called(*wire: bytes) -> list:
    events, error = assert_cut_anywhere(HOST, b"".join(wire) + finished("TOOL_CALL"))
    assert error is None
    well_formed(events)
    return calls(events)


def test_parallel_calls_are_told_apart_by_their_index():
    got = called(call(0, "f", "{", "a"), call(1, "g", "[", "b"), more(0, "}"), more(1, "]"))
    assert got == [("a", "f", "{}"), ("b", "g", "[]")]


def test_calls_whose_index_repeats_are_two():
    end = event("tool-call-end", index=0)
    assert called(call(0, "f", "{}", "a"), end, call(0, "f", "[]", "b"), end) == [("a", "f", "{}"), ("b", "f", "[]")]
    assert called(call(0, "f", "{}", "a"), call(0, "f", "[]", "b")) == [("a", "f", "{}"), ("b", "f", "[]")]


def test_calls_without_an_index_follow_each_other():
    got = called(call(None, "f", "{", "a"), more(None, "}"), call(None, "g", "", "b"), more(None, "[]"))
    assert got == [("a", "f", "{}"), ("b", "g", "[]")]


def test_a_call_without_arguments_or_an_id_gets_them():
    [(name, function, arguments)] = called(call(0, "now", "", None), event("tool-call-end", index=0))
    assert (bool(name), function, arguments) == (True, "now", "{}")
    assert called(call(0, "now")) == [("c", "now", "{}")]


def test_calls_may_come_in_a_list():
    start = event(
        "tool-call-start", index=0, delta={"message": {"tool_calls": [{"id": "a", "function": {"name": "f"}}]}}
    )
    assert called(start, more(0, "{}")) == [("a", "f", "{}")]


@pytest.mark.parametrize(
    "wire",
    [
        more(0, "{"),
        call(0, None),
        call(0, ""),
        event("tool-call-start", index=0),
        event("tool-call-start", index=0, delta={"message": {"tool_calls": []}}),
        call(0, "f", "{}") + event("tool-call-end", index=0) + more(0, "}"),
        call(0, "f", "{}") + more(1, "}"),
    ],
)
def test_arguments_of_a_call_that_is_not_open_are_refused(wire):
    assert assert_cut_anywhere(HOST, wire)[1] == "upstream_bad_tool_call"


# What we ask


def asked(**fields) -> dict:
    request = Request(**({"model": "x/m", "messages": [Message("user", [Text("Hello?")])]} | fields))
    question = HOST.ask(request, "m")
    assert question.path == "/v2/chat"
    return json.loads(question.body)


def test_a_plain_question_asks_for_a_stream_and_nothing_else():
    assert asked() == {"model": "m", "messages": [{"role": "user", "content": "Hello?"}], "stream": True}


def test_every_kind_of_content_is_said():
    messages = [
        Message("system", [Text("Be brief.")]),
        Message("user", [Text("What"), Image("data:x", "low"), Image("https://y")]),
        Message(
            "assistant", [Thought("I will look.", "signed"), ToolCall("c", "f", '{"a":1}'), ToolCall("d", "g", "")]
        ),
        Message("tool", [ToolResult("c", "42"), ToolResult("d", "no", failed=True)]),
        Message("assistant", [Thought("hm"), Thought(signature="s", redacted=True), Text("42.")]),
        Message("user", [ToolResult("e", "late"), Text("And?")]),
    ]
    assert asked(messages=messages)["messages"] == [
        {"role": "system", "content": "Be brief."},
        {
            "role": "user",
            "content": [
                {"type": "text", "text": "What"},
                {"type": "image_url", "image_url": {"url": "data:x", "detail": "low"}},
                {"type": "image_url", "image_url": {"url": "https://y"}},
            ],
        },
        {
            "role": "assistant",
            "tool_plan": "I will look.",
            "tool_calls": [
                {"id": "c", "type": "function", "function": {"name": "f", "arguments": '{"a":1}'}},
                {"id": "d", "type": "function", "function": {"name": "g", "arguments": "{}"}},
            ],
        },
        {"role": "tool", "tool_call_id": "c", "content": "42"},
        {"role": "tool", "tool_call_id": "d", "content": "no"},
        {"role": "assistant", "content": [{"type": "thinking", "thinking": "hm"}, {"type": "text", "text": "42."}]},
        {"role": "tool", "tool_call_id": "e", "content": "late"},
        {"role": "user", "content": "And?"},
    ]


F, G = Tool("f", "does", {"type": "object"}), Tool("g", strict=True)


def test_tools_and_how_they_are_to_be_used():
    said = asked(tools=[F, G])
    assert said["tools"] == [
        {"type": "function", "function": {"name": "f", "description": "does", "parameters": {"type": "object"}}},
        {"type": "function", "function": {"name": "g", "parameters": {"type": "object", "properties": {}}}},
    ]
    assert said["strict_tools"] is True
    assert "tool_choice" not in said
    assert "strict_tools" not in asked(tools=[F])


@pytest.mark.parametrize(
    ("choice", "names", "meant"),
    [
        ("auto", ["f", "g"], None),
        ("none", ["f", "g"], "NONE"),
        ("required", ["f", "g"], "REQUIRED"),
        ({"type": "function", "function": {"name": "g"}}, ["g"], "REQUIRED"),
    ],
)
def test_a_choice_of_tools_is_said_in_coheres_words(choice, names, meant):
    said = asked(tools=[F, G], tool_choice=choice)
    assert ([t["function"]["name"] for t in said["tools"]], said.get("tool_choice")) == (names, meant)


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"max_tokens": 5}, {"max_tokens": 5}),
        ({"temperature": 0.0, "top_p": 0.5}, {"temperature": 0.0, "p": 0.5}),
        ({"stop": ["a", "b"]}, {"stop_sequences": ["a", "b"]}),
        ({"logprobs": 0}, {"logprobs": True}),
        ({"thinking": Thinking()}, {}),  # the host's own way
        ({"thinking": Thinking(), "dialect": "cohere"}, {"thinking": {"type": "enabled"}}),
        ({"thinking": Thinking(effort="high")}, {"thinking": {"type": "enabled"}}),
        ({"thinking": Thinking(budget=99)}, {"thinking": {"type": "enabled", "token_budget": 99}}),
        ({"thinking": Thinking(effort="none")}, {"thinking": {"type": "disabled"}}),
        ({"thinking": Thinking(budget=0)}, {"thinking": {"type": "disabled"}}),
        ({"response_format": {"type": "text"}}, {}),
        ({"response_format": {"type": "json_object"}}, {"response_format": {"type": "json_object"}}),
        (
            {"response_format": {"type": "json_schema", "json_schema": {"name": "n", "schema": {"type": "object"}}}},
            {"response_format": {"type": "json_object", "json_schema": {"type": "object"}}},
        ),
        ({"tool_choice": "required"}, {}),  # of no tools
        ({"dialect": "cohere", "options": {"safety_mode": "STRICT", "k": 3}}, {"safety_mode": "STRICT", "k": 3}),
        ({"dialect": "openai_chat", "options": {"seed": 1, "user": "u", "k": 3}}, {"seed": 1}),
        ({"options": {"stream": False, "model": "other", "messages": []}}, {}),
    ],
)
def test_limits_and_options_have_coheres_names(fields, said):
    assert asked(**fields) == asked() | said


@pytest.mark.parametrize(
    ("fields", "param"),
    [
        ({"n": 2}, "n"),
        ({"logprobs": 3}, "logprobs"),
        ({"tools": [F], "tool_choice": {"type": "function", "function": {"name": "x"}}}, "tool_choice"),
        ({"tools": [F], "tool_choice": {"type": "allowed_tools"}}, "tool_choice"),
        ({"tools": [F], "tool_choice": 5}, "tool_choice"),
        ({"response_format": {"type": "grammar"}}, "response_format"),
        ({"response_format": {"type": "json_schema"}}, "response_format"),
        ({"messages": [Message("user", [Audio("x", "wav")])]}, "messages[0]"),
        ({"messages": [Message("user", [File(id="x")])]}, "messages[0]"),
        ({"messages": [Message("assistant", [Text("a"), Image("u")])]}, "messages[0]"),
    ],
)
def test_what_cohere_cannot_be_told_is_refused(fields, param):
    with pytest.raises(BadRequest) as caught:
        asked(**fields)
    assert (caught.value.param, caught.value.kind) == (param, "unsupported_value")


def test_the_models_are_those_that_chat():
    assert "endpoint=chat" in HOST.listing
    assert [m.id for m in HOST.models(b'{"models":[{"name":"command-a"},{"name":"b","endpoints":[]}]}')] == [
        "command-a",
        "b",
    ]


@pytest.mark.parametrize("body", [b"", b"<html>", b"[]", b'{"models":null}', b'{"models":[{"id":1}]}', b"\xff"])
def test_a_list_of_models_that_is_none_is_an_error(body):
    with pytest.raises(UpstreamError):
        HOST.models(body)


def test_what_a_tool_showed_is_said_by_the_user_behind_its_result():
    said = asked(messages=[Message("tool", [ToolResult("c", "42", images=[Image("data:image/png;base64,AA==")])])])
    result, behind = said["messages"]
    assert result == {"role": "tool", "tool_call_id": "c", "content": "42"}
    assert behind["role"] == "user"
    assert [part["type"] for part in behind["content"]] == ["text", "image_url"]
