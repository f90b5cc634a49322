"""Ollama as it speaks itself: recorded answers, cut anywhere; what hosts do wrong; and what we ask."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from decoding import assert_cut_anywhere, calls, decoded, kinds, one, texts, unfolded, well_formed
from tidewire.core.errors import BadRequest, UpstreamError
from tidewire.core.events import Finish, Logprobs, Timing, Usage
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
from tidewire.dialects import ollama_host
from tidewire.dialects.ollama_host import OllamaHost

RECORDINGS = Path(__file__).parents[3] / "shared" / "recordings"
HOST = OllamaHost()


def line(**fields) -> bytes:
    return (
        json.dumps({"model": "m", "created_at": "2025-01-01T00:00:00Z"} | fields, ensure_ascii=False).encode() + b"\n"
    )


def said(content: str = "", **more) -> bytes:
    return line(message={"role": "assistant", "content": content} | more, done=False)


def called(name: str | None, arguments: object, **more) -> dict:
    return {"function": {"name": name, "arguments": arguments}} | more


def finished(reason: str | None = "stop", **more) -> bytes:
    why = {} if reason is None else {"done_reason": reason}
    return line(message={"role": "assistant", "content": ""}, done=True, **why, **more)


TIMES = {
    "total_duration": 1897385625,
    "load_duration": 1631208,
    "prompt_eval_count": 17,
    "prompt_eval_duration": 313560000,
    "eval_count": 50,
    "eval_duration": 1577990000,
}
# from the public API reference: a thinking model that calls a tool
SMALL = (
    said(thinking="hm")
    + said(thinking=" é")
    + said("é😀\r\n")
    + said(" more")
    + said(tool_calls=[called("get_weather", {"city": "Zürich"}, id="call_1")])
    + said(tool_calls=[called("get_time", {})])
    + finished(**TIMES)
)


# What hosts say


def recorded() -> dict[str, bytes]:
    out = {}
    for file in sorted((RECORDINGS / "openllmetry" / "ollama").glob("*chat*.yaml")) + sorted(
        (RECORDINGS / "openllmetry" / "ollama").glob("*metrics*.yaml")
    ):
        for body in re.findall(r"string: '(\{\"model\"(?:[^']|'')*)'", file.read_text()):
            if '"message":{' in body:
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
    lines = [json.loads(text) for text in wire.decode().split("\n") if text.strip()]
    assert texts(events, "text") == "".join(told["message"]["content"] for told in lines)
    counted = one(events, Usage)
    assert (counted.input, counted.output) == (lines[-1].get("prompt_eval_count"), lines[-1]["eval_count"])
    spans = {e.span.name: e.span.ms for e in events if isinstance(e, Timing)}
    assert spans["decode"] == pytest.approx(lines[-1]["eval_duration"] / 1e6, abs=0.001)
    assert events[-1] == Finish(reason="stop")


@pytest.mark.parametrize("wire", [SMALL, SMALL.replace(b"\n", b"\r\n"), SMALL.replace(b"\n", b"\n\n"), SMALL[:-1]])
def test_every_cut_gives_the_same_events(wire):
    events, error = assert_cut_anywhere(HOST, wire)
    assert error is None
    well_formed(events)
    assert events == decoded(HOST, SMALL)[0]


def test_each_kind_of_output_is_a_part_of_its_own():
    events, _ = decoded(HOST, SMALL)
    assert kinds(events) == ["thinking", "text", "tool_call", "tool_call"]
    assert (texts(events, "thinking"), texts(events, "text")) == ("hm é", "é😀\r\n more")
    first, second = calls(events)
    assert first == ("call_1", "get_weather", '{"city": "Zürich"}')
    assert (bool(second[0]), *second[1:]) == (True, "get_time", "{}")
    assert events[-1] == Finish(reason="tool_calls")


def test_its_times_become_spans_on_its_own_clock():
    spans = [e.span for e in decoded(HOST, SMALL)[0] if isinstance(e, Timing)]
    assert [(s.name, s.start, s.ms, s.source) for s in spans] == [
        ("load", 0.0, 1.631, "reported"),
        ("prefill", 1.631, 313.56, "reported"),
        ("decode", 315.191, 1577.99, "reported"),
    ]
    usage = one(decoded(HOST, SMALL)[0], Usage)
    assert (usage.counted_by, usage.input, usage.output) == ("host", 17, 50)
    assert [type(e) for e in decoded(HOST, finished())[0]] == [Finish]


@pytest.mark.parametrize(
    ("told", "meant"),
    [("stop", "stop"), ("length", "length"), ("load", "stop"), ("unload", "stop"), (None, "stop"), ("new", "stop")],
)
def test_why_it_ended_is_said_in_our_words(told, meant):
    assert decoded(HOST, said("x") + finished(told))[0][-1] == Finish(reason=meant)


def test_a_call_that_was_cut_by_the_limit_is_no_call_of_tools():
    assert decoded(HOST, said(tool_calls=[called("f", {})]) + finished("length"))[0][-1] == Finish(reason="length")


def test_what_stands_in_one_line_comes_in_order():
    wire = line(
        message={"content": "So.", "thinking": "hm", "tool_calls": [called("f", {}), called("g", {})]}, done=True
    )
    events, error = assert_cut_anywhere(HOST, wire)
    assert error is None
    well_formed(events)
    assert kinds(events) == ["thinking", "text", "tool_call", "tool_call"]


def test_log_probabilities_follow_the_text_they_belong_to():
    row = {"token": "a", "logprob": -0.5, "bytes": [97], "top_logprobs": []}
    events, _ = assert_cut_anywhere(HOST, line(message={"content": "a"}, done=False, logprobs=[row]) + finished())
    assert one(events, Logprobs).content == [row]
    assert events.index(one(events, Logprobs)) == 2


# What hosts do wrong

ONE = said("one ")


@pytest.mark.parametrize(
    ("wire", "text", "code"),
    [
        (b"", "", "upstream_cut"),
        (ONE, "one ", "upstream_cut"),
        (ONE + b'{"model":"m","mess', "one ", "upstream_cut"),
        (ONE + finished() + ONE + b"nonsense\n", "one ", None),  # nothing counts after the end
        (ONE + finished()[:-1], "one ", None),
        (ONE + b'{"error":"too much"}\n' + ONE, "one ", "upstream_error"),
        (ONE + b'{"error":"too much"}', "one ", "upstream_error"),
        (ONE + b'{"error":{"message":"too much"}}\n', "one ", "upstream_error"),
        (ONE + line(error="too much", message={"content": "x"}, done=True), "one ", "upstream_error"),
        (ONE + b"nonsense\n", "one ", "upstream_bad_event"),
        (ONE + b"[1]\n", "one ", "upstream_bad_event"),
        (ONE + b"null\n", "one ", "upstream_bad_event"),
        (ONE + b"{}\n", "one ", "upstream_bad_event"),
        (ONE + line(message=5, done=False), "one ", "upstream_bad_event"),
        (ONE + line(message={"content": ["x"]}, done=False), "one ", "upstream_bad_event"),
        (ONE + line(message={"content": "x"}, done="no"), "one ", "upstream_bad_event"),
        (ONE + b'{"message":{"content":"\xff"},"done":false}\n', "one ", "upstream_bad_event"),
        (ONE + finished(eval_count="many"), "one ", "upstream_bad_event"),
        (ONE + said(tool_calls=[called(None, {})]), "one ", "upstream_bad_tool_call"),
        (ONE + said(tool_calls=[{"id": "x"}]), "one ", "upstream_bad_tool_call"),
        (ONE + said(tool_calls=[None]), "one ", "upstream_bad_event"),
        (ONE + said(tool_calls=[]) + said(content=None, tool_calls=None, thinking=None) + finished(), "one ", None),
        (ONE + b"\n  \n\r\n" + finished(), "one ", None),
        (ONE + line(done=True), "one ", None),
        (ONE + finished(eval_duration=-5, load_duration=10**18), "one ", None),
    ],
)
def test_an_answer_that_goes_wrong_keeps_what_came_before(wire, text, code):
    events, error = assert_cut_anywhere(HOST, wire)
    assert (texts(events, "text"), error) == (text, code)
    if code is None:
        well_formed(events)


def test_what_the_host_says_of_its_failure_is_told():
    with pytest.raises(UpstreamError, match="the host broke off with an error: too much") as caught:
        HOST.decoder(Request(model="m", messages=[])).feed(b'{"error":"too much"}\n')
    assert caught.value.retryable


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        ({"a": 1}, '{"a": 1}'),
        ('{"a":1}', '{"a":1}'),
        ("", "{}"),
        (None, "{}"),
        ({}, "{}"),
    ],
)
def test_arguments_are_json_text_in_the_hosts_own_words(arguments, text):
    [(_, _, got)] = calls(decoded(HOST, said(tool_calls=[called("f", arguments)]) + finished())[0])
    assert got == text


def test_a_line_has_its_limit(monkeypatch):
    monkeypatch.setattr(ollama_host, "LIMIT", 100)
    wire = ONE[:80] + b"x" * 100
    for cuts in ([wire], [wire[i : i + 1] for i in range(len(wire))], [ONE, wire]):
        assert decoded(HOST, *cuts)[1] == "upstream_event_too_large"


def test_deep_nesting_of_a_host_is_an_error_and_not_a_crash():
    assert decoded(HOST, b'{"error":' + b"[" * 100_000 + b"\n")[1] == "upstream_bad_event"
    deep = b'{"message":{"tool_calls":[{"function":{"name":"f","arguments":' + b"[" * 100_000 + b"\n"
    assert decoded(HOST, deep)[1] == "upstream_bad_event"


# What we ask


def asked(**fields) -> dict:
    request = Request(**({"model": "x/m", "messages": [Message("user", [Text("Hello?")])]} | fields))
    question = HOST.ask(request, "m")
    assert question.path == "/api/chat"
    return json.loads(question.body)


def test_a_plain_question_asks_for_a_stream_and_nothing_else():
    assert asked() == {"model": "m", "messages": [{"role": "user", "content": "Hello?"}], "stream": True}


def test_every_kind_of_content_is_said():
    messages = [
        Message("system", [Text("Be brief.")]),
        Message("user", [Text("What"), Image("data:image/png;base64,iVBORw0KGgo=", "low")]),
        Message(
            "assistant", [Thought("hm", "signed"), Text("Wait."), ToolCall("c", "f", '{"a":1}'), ToolCall("d", "g", "")]
        ),
        Message("tool", [ToolResult("c", "42", images=[Image("data:image/gif;base64,R0lGOD")]), ToolResult("d", "no")]),
        Message("user", [ToolResult("e", "late", name="h"), Text("And?")]),
    ]
    assert asked(messages=messages)["messages"] == [
        {"role": "system", "content": "Be brief."},
        {"role": "user", "content": "What", "images": ["iVBORw0KGgo="]},
        {
            "role": "assistant",
            "content": "Wait.",
            "thinking": "hm",
            "tool_calls": [
                {"id": "c", "function": {"name": "f", "arguments": {"a": 1}}},
                {"id": "d", "function": {"name": "g", "arguments": {}}},
            ],
        },
        {"role": "tool", "content": "42", "tool_call_id": "c", "tool_name": "f", "images": ["R0lGOD"]},
        {"role": "tool", "content": "no", "tool_call_id": "d", "tool_name": "g"},
        {"role": "tool", "content": "late", "tool_call_id": "e", "tool_name": "h"},
        {"role": "user", "content": "And?"},
    ]


F = Tool("f", "does", {"type": "object"}, strict=True)


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"max_tokens": 5, "temperature": 0.0, "top_p": 0.5, "stop": ["a"]},
         {"options": {"num_predict": 5, "temperature": 0.0, "top_p": 0.5, "stop": ["a"]}}),
        ({"dialect": "ollama", "options": {"options": {"num_ctx": 8192, "num_predict": 1}, "keep_alive": "5m"}, "max_tokens": 5},
         {"options": {"num_ctx": 8192, "num_predict": 5}, "keep_alive": "5m"}),
        ({"options": {"options": {"num_ctx": 9}, "seed": 3, "keep_alive": 0}},
         {"options": {"num_ctx": 9, "seed": 3}, "keep_alive": 0}),
        ({"dialect": "openai_chat", "options": {"seed": 1, "frequency_penalty": 0.5, "user": "u"}},
         {"options": {"seed": 1, "frequency_penalty": 0.5}}),
        ({"tools": [F]}, {"tools": [{"type": "function", "function": {"name": "f", "description": "does", "parameters": {"type": "object"}}}]}),
        ({"tools": [Tool("g")], "tool_choice": "auto"},
         {"tools": [{"type": "function", "function": {"name": "g", "parameters": {"type": "object", "properties": {}}}}]}),
        ({"tools": [F], "tool_choice": "none"}, {}),
        ({"tool_choice": "required"}, {}),  # of no tools
        ({"thinking": Thinking()}, {}),  # the host's own way
        ({"thinking": Thinking(), "dialect": "ollama"}, {"think": True}),
        ({"thinking": Thinking(effort="max"), "dialect": "ollama"}, {"think": "max"}),
        ({"thinking": Thinking(effort="high")}, {"think": True}),
        ({"thinking": Thinking(budget=99)}, {"think": True}),
        ({"thinking": Thinking(effort="none")}, {"think": False}),
        ({"thinking": Thinking(budget=0)}, {"think": False}),
        ({"logprobs": 2}, {"logprobs": True, "top_logprobs": 2}),
        ({"response_format": {"type": "text"}}, {}),
        ({"response_format": {"type": "json_object"}}, {"format": "json"}),
        ({"response_format": {"type": "json_schema", "json_schema": {"schema": {"type": "object"}}}}, {"format": {"type": "object"}}),
        ({"options": {"stream": False, "model": "other", "messages": []}}, {}),
    ],
)  # fmt: skip
def test_limits_and_options_have_ollamas_names(fields, said):
    assert asked(**fields) == asked() | said


@pytest.mark.parametrize(
    ("effort", "level"),
    [("minimal", "low"), ("low", "low"), ("medium", "medium"), ("xhigh", "high"), ("some", True), ("none", False)],
)
def test_levels_of_thinking_are_for_the_models_that_know_them(effort, level):
    request = Request(model="x/m", messages=[Message("user", [Text("Hm?")])], thinking=Thinking(effort=effort))
    assert json.loads(HOST.ask(request, "gpt-oss:20b").body)["think"] == level
    assert json.loads(HOST.ask(request, "qwen3").body)["think"] is (effort != "none")


@pytest.mark.parametrize(
    ("fields", "param", "kind"),
    [
        ({"n": 2}, "n", "unsupported_value"),
        ({"tools": [F], "tool_choice": "required"}, "tool_choice", "unsupported_value"),
        (
            {"tools": [F], "tool_choice": {"type": "function", "function": {"name": "f"}}},
            "tool_choice",
            "unsupported_value",
        ),
        ({"response_format": {"type": "grammar"}}, "response_format", "unsupported_value"),
        ({"response_format": {"type": "json_schema", "json_schema": {}}}, "response_format", "unsupported_value"),
        ({"options": {"options": 5}}, "options", "invalid_request"),
        ({"messages": [Message("user", [Image("https://x/y.png")])]}, "messages[0]", "unsupported_value"),
        ({"messages": [Message("user", [Image("data:image/svg+xml,<svg/>")])]}, "messages[0]", "unsupported_value"),
        ({"messages": [Message("user", [Audio("x", "wav")])]}, "messages[0]", "unsupported_value"),
        ({"messages": [Message("user", [File(id="x")])]}, "messages[0]", "unsupported_value"),
        ({"messages": [Message("assistant", [ToolCall("c", "f", "[1]")])]}, "messages[0]", "invalid_request"),
        ({"messages": [Message("assistant", [ToolCall("c", "f", "{")])]}, "messages[0]", "invalid_request"),
    ],
)
def test_what_ollama_cannot_be_told_is_refused(fields, param, kind):
    with pytest.raises(BadRequest) as caught:
        asked(**fields)
    assert (caught.value.param, caught.value.kind) == (param, kind)


def test_the_models_are_those_it_has():
    rows = [
        {
            "name": "llama3:latest",
            "model": "llama3:latest",
            "modified_at": "2025-05-10T08:06:48.639712648-07:00",
            "size": 3,
        },
        {"name": "b", "modified_at": "long ago"},
        {"size": 0},
    ]
    got = HOST.models(json.dumps({"models": rows}).encode())
    assert [(m.id, m.created) for m in got] == [("llama3:latest", 1746889608), ("b", 0)]


@pytest.mark.parametrize("body", [b"", b"<html>", b"[]", b'{"models":null}', b'{"models":[5]}', b"\xff"])
def test_a_list_of_models_that_is_none_is_an_error(body):
    with pytest.raises(UpstreamError):
        HOST.models(body)
