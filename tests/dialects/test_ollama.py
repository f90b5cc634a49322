"""Ollama's API as clients see it: every prefix renders the same, the official types read it, and so does our own decoder."""

from __future__ import annotations

import json
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st
from ollama import ChatResponse, GenerateResponse

from decoding import decoded, kinds, texts, well_formed
from strategies import CREATED, logs, meta_of, numbered, opened
from tidewire.core import events as ev
from tidewire.core.errors import BadRequest, Overloaded
from tidewire.core.events import Closed, Delta, Finish, Logprobs, PartEnded, PartStarted, Span, Timing, Usage
from tidewire.core.request import (
    CANCEL,
    GRACE,
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
from tidewire.dialects.ollama import Ollama
from tidewire.dialects.ollama_host import OllamaHost

DIALECT = Ollama()
GENERATE = Ollama("generate")
PNG = "iVBORw0KGgoAAAANSUhEUg=="


def parse(body, headers=None, dialect=DIALECT):
    raw = body if isinstance(body, bytes) else json.dumps(body).encode()
    return dialect.parse(raw, headers or {})


def ask(**more):
    return {"model": "m", "messages": [{"role": "user", "content": "Hello?"}]} | more


def lines_of(raw: bytes) -> list[dict]:
    assert raw.endswith(b"\n")
    return [json.loads(line) for line in raw[:-1].split(b"\n")]


# Views of a log


@given(logs(kinds=("text", "thinking", "tool_call")), st.booleans(), st.data())
def test_however_a_log_is_handed_over_the_bytes_are_the_same(made, generate, data):
    meta, entries = made
    meta.record = {"form": "generate" if generate else "chat"}
    at = data.draw(st.integers(0, len(entries)))
    whole = DIALECT.stream(meta).feed(entries)
    for batches in ([entries[:at], entries[at:]], [[e] for e in entries]):
        renderer = DIALECT.stream(meta)
        assert b"".join(renderer.feed(batch) for batch in batches if batch) == whole
        assert renderer.ended


@given(logs(kinds=("text", "thinking")))
def test_the_official_types_read_every_line_and_our_decoder_finds_what_the_log_says(made):
    meta, entries = made
    renderer = DIALECT.stream(meta)
    wire = renderer.feed(entries)
    log = [e.event for e in entries]
    good = log[-1].status in ("completed", "incomplete")
    *lines, last = lines_of(wire)
    for line in lines:
        assert ChatResponse(**line).done is False
    assert ("error" in last) == (not good)
    got, error = decoded(OllamaHost(), wire)
    assert (error is None, renderer.failure is None) == (good, good)
    for kind in ("text", "thinking"):
        assert texts(got, kind) == texts(log, kind)
    if good:
        well_formed(got)
        assert ChatResponse(**last).done is True


@given(logs(kinds=("text", "thinking", "tool_call")), st.booleans())
def test_the_whole_answer_says_the_same_as_its_stream(made, generate):
    meta, entries = made
    meta.record = {"form": "generate" if generate else "chat"}
    whole, streamed = DIALECT.whole(meta), DIALECT.stream(meta)
    raw = whole.feed(entries)
    lines = lines_of(streamed.feed(entries))
    assert whole.failure == streamed.failure
    if whole.failure is not None:
        assert lines[-1] == {"error": whole.failure.message}
        return
    document = json.loads(raw)
    for said in ("done_reason", "eval_count", "total_duration", "created_at", "model"):
        assert document[said] == lines[-1][said]
    if generate:
        assert GenerateResponse(**document).response == "".join(line["response"] for line in lines)
        assert document.get("thinking", "") == "".join(line.get("thinking", "") for line in lines)
        return
    message = ChatResponse(**document).message
    assert message.content == "".join(line["message"]["content"] for line in lines)
    assert (message.thinking or "") == "".join(line["message"].get("thinking", "") for line in lines)
    assert document["message"].get("tool_calls", []) == [c for x in lines for c in x["message"].get("tool_calls", [])]


def test_what_our_decoder_reads_of_a_rendering_is_what_was_rendered():
    events = [
        PartStarted(part=0, kind="thinking"),
        Delta(part=0, text="hm\n"),
        PartEnded(part=0),
        PartStarted(part=1, kind="text"),
        Delta(part=1, text="é😀"),
        Logprobs(part=1, content=[{"token": "é😀", "logprob": -0.5, "bytes": [], "top_logprobs": []}]),
        PartEnded(part=1),
        PartStarted(part=2, kind="tool_call", name="f", call="a"),
        Delta(part=2, text='{"a":"1\\n"}'),
        PartEnded(part=2),
        PartStarted(part=3, kind="tool_call", name="g", call="b"),
        Delta(part=3, text="{}"),
        PartEnded(part=3),
        Usage(counted_by="host", input=11, output=7),
        Timing(span=Span("load", 0.0, 1.5, "reported")),
        Timing(span=Span("prefill", 1.5, 20.0, "reported")),
        Timing(span=Span("decode", 21.5, 100.25, "reported")),
    ]
    spans = [e.span for e in events if isinstance(e, Timing)]
    logged = [e for e in events if not isinstance(e, Timing)]
    closed = Closed(status="completed", reason="tool_calls", input_tokens=11, output_tokens=7, spans=spans)
    wire = DIALECT.stream(meta_of()).feed(numbered([opened(meta_of()), *logged, closed]))
    got, error = decoded(OllamaHost(), wire)
    for event in (*got, *events):
        event.seq = event.at = -1
    assert (got, error) == ([*events, Finish(reason="tool_calls")], None)


def test_a_line_has_the_time_of_its_event():
    entries = numbered([opened(meta_of()), PartStarted(part=0, kind="text"), Delta(part=0, text="a")])
    entries[2].event.at = 123_456
    [line] = lines_of(DIALECT.stream(meta_of()).feed(entries))
    assert datetime.fromisoformat(line["created_at"]) == datetime.fromtimestamp((CREATED + 123_456) / 1000, UTC)


def call(text: str, *, reason: str = "tool_calls"):
    status = "completed" if reason == "tool_calls" else "incomplete"
    events = [
        PartStarted(part=0, kind="text"),
        Delta(part=0, text="Wait."),
        PartEnded(part=0),
        PartStarted(part=1, kind="tool_call", name="f", call="a"),
        *([Delta(part=1, text=text[:3])] if text else []),
        *([Delta(part=1, text=text[3:])] if text[3:] else []),
        PartEnded(part=1),
        Closed(status=status, reason=reason),
    ]
    return numbered([opened(meta_of()), *events])


@pytest.mark.parametrize(
    ("text", "meant"),
    [("", {}), ("{}", {}), ('{\r\n  "a":\n"1\\n"}', {"a": "1\n"}), ('{"a":' + "9" * 40 + "}", {"a": int("9" * 40)})],
)
def test_a_tool_call_is_told_whole_with_its_arguments_as_an_object(text, meant):
    lines = lines_of(DIALECT.stream(meta_of()).feed(call(text)))
    assert len(lines) == 3
    assert lines[1]["message"]["tool_calls"] == [{"id": "a", "function": {"index": 0, "name": "f", "arguments": meant}}]
    assert lines[2]["done_reason"] == "stop"


@pytest.mark.parametrize("text", ["[1]", '{"a":', "nonsense", "null", "{" * 5000])
def test_a_call_that_ollama_cannot_say_is_an_error_unless_the_limit_cut_it(text):
    entries = call(text)
    renderer, whole = DIALECT.stream(meta_of()), DIALECT.whole(meta_of())
    lines = lines_of(renderer.feed(entries))
    assert "'f'" in lines[-1]["error"]
    assert whole.feed(entries) == b""
    assert (renderer.failure.code, whole.failure.code) == ("upstream_bad_tool_call", "upstream_bad_tool_call")
    short = lines_of(DIALECT.stream(meta_of()).feed(call(text, reason="length")))
    assert [line.get("done_reason") for line in short] == [None, "length"]


def test_generate_says_response_and_calls_no_tools():
    entries = call("{}", reason="length")
    lines = lines_of(GENERATE.stream(meta_of(form="generate")).feed(entries))
    assert [line["response"] for line in lines] == ["Wait.", ""]
    assert all("message" not in line for line in lines)


def test_what_ollama_has_no_word_for_is_left_out():
    events = [
        PartStarted(part=0, kind="tool_result", call="c1"),
        Delta(part=0, text="42"),
        PartEnded(part=0),
        PartStarted(part=1, kind="image", media="image/png"),
        ev.Blob(part=1, data=b"x"),
        PartStarted(part=2, kind="refusal"),
        Delta(part=2, text="So."),
        ev.Citation(part=2, start=0, end=2, source="d", title="T", passage="p"),
        ev.Notice(code="n", message="m"),
        Closed(status="completed", reason="stop"),
    ]
    entries = numbered([opened(meta_of()), *events])
    got, error = decoded(OllamaHost(), DIALECT.stream(meta_of()).feed(entries))
    assert (error, kinds(got), texts(got, "text")) == (None, ["text"], "So.")
    assert json.loads(DIALECT.whole(meta_of()).feed(entries))["message"] == {"role": "assistant", "content": "So."}


@pytest.mark.parametrize(
    ("reason", "finish"),
    [
        ("stop", "stop"),
        ("stop_string", "stop"),
        ("tool_calls", "stop"),
        ("length", "length"),
        ("time_limit", "length"),
        ("size_limit", "length"),
        ("content_filter", "content_filter"),
    ],
)
def test_every_natural_end_has_its_done_reason(reason, finish):
    status = "completed" if finish == "stop" else "incomplete"
    entries = numbered([opened(meta_of()), Closed(status=status, reason=reason)])
    [line] = lines_of(DIALECT.stream(meta_of()).feed(entries))
    assert (line["done"], line["done_reason"], line["message"]) == (True, finish, {"role": "assistant", "content": ""})
    assert json.loads(DIALECT.whole(meta_of()).feed(entries))["done_reason"] == finish


def test_times_are_the_hosts_where_it_told_them_else_our_own():
    closed = Closed(status="completed", reason="stop", input_tokens=3, output_tokens=4, ttft=2.0)
    [last] = lines_of(DIALECT.stream(meta_of()).feed(numbered([opened(meta_of()), closed])))
    assert {k: v for k, v in last.items() if k.endswith(("duration", "count"))} == {
        "total_duration": 7_000_000,
        "load_duration": 0,
        "prompt_eval_duration": 2_000_000,
        "eval_duration": 5_000_000,
        "prompt_eval_count": 3,
        "eval_count": 4,
    }
    spans = [Span("load", 0, 1.0, "reported"), Span("prefill", 1, 2.5, "reported"), Span("decode", 3, 9.0)]
    closed = Closed(status="completed", reason="stop", ttft=2.0, spans=spans)
    [last] = lines_of(DIALECT.stream(meta_of()).feed(numbered([opened(meta_of()), closed])))
    assert (last["load_duration"], last["prompt_eval_duration"]) == (1_000_000, 2_500_000)
    assert last["eval_duration"] == 5_000_000  # that span was our own


@pytest.mark.parametrize("reason", ["client", "disconnect", "shutdown", "error"])
def test_an_end_that_is_none_is_told_as_an_error(reason):
    status = "cancelled" if reason in ("client", "disconnect") else "failed"
    error = ev.ErrorInfo(code="upstream_cut", message="broke off", status=502) if status == "failed" else None
    entries = numbered([opened(meta_of()), Closed(status=status, reason=reason, error=error)])
    renderer = DIALECT.stream(meta_of())
    assert lines_of(renderer.feed(entries)) == [{"error": "broke off" if error else "the stream was cancelled"}]
    assert renderer.failure is not None
    assert renderer.failure.status == (502 if error else 499)
    whole = DIALECT.whole(meta_of())
    assert (whole.feed(entries), whole.failure) == (b"", renderer.failure)


def test_an_error_before_the_first_byte_has_ollamas_shape():
    assert json.loads(DIALECT.error(Overloaded("too many").info())) == {"error": "too many"}


# Requests


def test_every_field_has_its_place():
    request, streamed = parse(
        ask(
            messages=[
                {"role": "system", "content": "Be brief."},
                {"role": "user", "content": "What", "images": [PNG]},
                {
                    "role": "assistant",
                    "content": "Wait.",
                    "thinking": "hm",
                    "tool_calls": [
                        {"function": {"name": "f", "arguments": {"a": 1}}},
                        {"id": "d", "function": {"name": "g", "arguments": {}}},
                    ],
                },
                {"role": "tool", "content": "42", "tool_name": "f"},
                {"role": "tool", "content": "43", "tool_call_id": "d"},
            ],
            tools=[
                {"type": "function", "function": {"name": "f", "description": "d", "parameters": {"type": "object"}}}
            ],
            format={"type": "object"},
            think="high",
            logprobs=True,
            top_logprobs=2,
            keep_alive="5m",
            time_limit=30,
            options={
                "num_predict": 9,
                "temperature": 1,
                "top_p": 0.5,
                "stop": "x",
                "num_ctx": 8192,
                "seed": 4,
                "top_k": None,
            },
        )
    )
    assert streamed
    assert request == Request(
        model="m",
        messages=[
            Message("system", [Text("Be brief.")]),
            Message("user", [Text("What"), Image(f"data:image/png;base64,{PNG}")]),
            Message(
                "assistant",
                [Thought("hm"), Text("Wait."), ToolCall("call_2_0", "f", '{"a":1}'), ToolCall("d", "g", "{}")],
            ),
            Message("tool", [ToolResult("call_2_0", "42", name="f")]),
            Message("tool", [ToolResult("d", "43")]),
        ],
        dialect="ollama",
        tools=[Tool("f", "d", {"type": "object"})],
        max_tokens=9,
        temperature=1.0,
        top_p=0.5,
        stop=["x"],
        response_format={"type": "json_schema", "json_schema": {"name": "answer", "schema": {"type": "object"}}},
        time_limit=30.0,
        on_disconnect=CANCEL,
        logprobs=2,
        thinking=Thinking(effort="high"),
        options={"keep_alive": "5m", "options": {"num_ctx": 8192, "seed": 4}},
        record={"form": "chat"},
    )


def test_a_prompt_is_a_question_with_its_system_and_images():
    body = {"model": "m", "prompt": "What?", "system": "Be brief.", "images": [PNG], "stream": False, "suffix": ""}
    request, streamed = parse(body | {"template": "", "context": [], "raw": False, "options": {}}, dialect=GENERATE)
    assert not streamed
    assert request == Request(
        model="m",
        messages=[
            Message("system", [Text("Be brief.")]),
            Message("user", [Text("What?"), Image(f"data:image/png;base64,{PNG}")]),
        ],
        dialect="ollama",
        on_disconnect=CANCEL,
        record={"form": "generate"},
    )


def test_a_plain_question_is_streamed():
    request, streamed = parse(ask())
    assert (streamed, request.thinking, request.logprobs, request.options) == (True, None, None, {})
    assert parse(ask(stream=None))[1]
    assert not parse(ask(stream=False))[1]
    assert parse(ask(), {"x-tidewire-on-disconnect": "grace:15"})[0].on_disconnect == GRACE


@pytest.mark.parametrize(
    ("more", "name", "value"),
    [
        ({"think": True}, "thinking", Thinking()),
        ({"think": False}, "thinking", Thinking(effort="none")),
        ({"think": ""}, "thinking", None),
        ({"format": "json"}, "response_format", {"type": "json_object"}),
        ({"format": ""}, "response_format", None),
        ({"logprobs": True}, "logprobs", 0),
        ({"top_logprobs": 3}, "logprobs", None),
        ({"options": {"num_predict": -1}}, "max_tokens", None),
        ({"options": {"num_predict": -1}}, "options", {"options": {"num_predict": -1}}),
        ({"options": {"stop": ["a", "b"]}}, "stop", ["a", "b"]),
        ({"options": None, "tools": None, "keep_alive": None}, "options", {}),
    ],
)
def test_a_field_means_what_it_says(more, name, value):
    assert getattr(parse(ask(**more))[0], name) == value


def answers(*results: dict, calls: list[dict] | None = None) -> list[str]:
    """The ids that results are given, behind a turn with these calls."""
    asked = calls or [{"function": {"name": n, "arguments": {}}} for n in ("f", "g", "f")]
    messages = [{"role": "assistant", "tool_calls": asked}, *({"role": "tool", "content": "x"} | r for r in results)]
    return [m.content[0].call for m in parse(ask(messages=messages))[0].messages[1:]]


def test_results_find_the_calls_they_belong_to():
    assert answers({}, {}, {}) == ["call_0_0", "call_0_1", "call_0_2"]
    assert answers({"tool_name": "f"}, {"tool_name": "f"}, {"tool_name": "g"}) == ["call_0_0", "call_0_2", "call_0_1"]
    assert answers({"name": "g"}) == ["call_0_1"]  # as older clients wrote it
    assert answers({"tool_call_id": "b"}, {}, calls=[{"id": i, "function": {"name": "f"}} for i in "ab"]) == ["b", "a"]
    assert answers({"tool_call_id": "z"}, {"tool_name": "h"}) == ["z", "call_h"]


@pytest.mark.parametrize(
    ("data", "kind"), [(PNG, "png"), ("/9j/4AAQ", "jpeg"), ("UklGRgAA", "webp"), ("R0lGODlh", "gif")]
)
def test_an_image_is_known_by_its_first_bytes(data, kind):
    [image] = [c for c in parse(ask(messages=[{"role": "user", "images": [data]}]))[0].messages[0].content]
    assert image == Image(f"data:image/{kind};base64,{data}")


@pytest.mark.parametrize(
    ("body", "param"),
    [
        (b"", None),
        (b"[]", None),
        (b"{", None),
        (ask(model=""), "model"),
        (ask(messages=[]), "messages"),
        (ask(messages=None), "messages"),
        (ask(messages=[5]), "messages[0]"),
        (ask(messages=[{"role": "robot"}]), "messages[0].role"),
        (ask(messages=[{"role": "user", "content": ["x"]}]), "messages[0].content"),
        (ask(messages=[{"role": "user", "images": "x"}]), "messages[0].images"),
        (ask(messages=[{"role": "user", "images": ["https://x/y.png"]}]), "messages[0].images[0]"),
        (ask(messages=[{"role": "user", "images": [PNG + "<"]}]), "messages[0].images[0]"),
        (ask(messages=[{"role": "user", "images": [5]}]), "messages[0].images[0]"),
        (ask(messages=[{"role": "assistant", "tool_calls": "x"}]), "messages[0].tool_calls"),
        (ask(messages=[{"role": "assistant", "tool_calls": [5]}]), "messages[0].tool_calls[0]"),
        (ask(messages=[{"role": "assistant", "tool_calls": [{"function": {}}]}]), "messages[0].tool_calls[0]"),
        (
            ask(messages=[{"role": "assistant", "tool_calls": [{"function": {"name": "f", "arguments": "{}"}}]}]),
            "messages[0].tool_calls[0].function.arguments",
        ),
        (ask(messages=[{"role": "tool", "tool_name": 5}]), "messages[0].tool_name"),
        (ask(tools=[{"type": "function"}]), "tools[0]"),
        (ask(tools=[{"function": {"name": 5}}]), "tools[0]"),
        (ask(format="xml"), "format"),
        (ask(format=5), "format"),
        (ask(options=5), "options"),
        (ask(options={"num_predict": "many"}), "options.num_predict"),
        (ask(options={"temperature": True}), "options.temperature"),
        (ask(options={"stop": 5}), "options.stop"),
        (ask(options={"stop": [5]}), "options.stop"),
        (ask(think=5), "think"),
        (ask(time_limit=0), "time_limit"),
    ],
)
def test_what_cannot_be_understood_is_refused_with_its_field(body, param):
    with pytest.raises(BadRequest) as caught:
        parse(body)
    assert caught.value.param == param


@pytest.mark.parametrize(
    ("more", "param"),
    [
        ({"prompt": ""}, "prompt"),
        ({"suffix": "x"}, "suffix"),
        ({"template": "x"}, "template"),
        ({"context": [1]}, "context"),
        ({"raw": True}, "raw"),
        ({"images": ["x"]}, "images[0]"),
    ],
)
def test_what_generate_does_not_do_is_refused_with_its_field(more, param):
    with pytest.raises(BadRequest) as caught:
        parse({"model": "m", "prompt": "x"} | more, dialect=GENERATE)
    assert caught.value.param == param


def test_a_request_of_an_ollama_client_reaches_an_ollama_host_as_it_was():
    body = ask(
        messages=[
            {"role": "user", "content": "Where?", "images": [PNG]},
            {
                "role": "assistant",
                "content": "",
                "thinking": "hm",
                "tool_calls": [{"id": "c", "function": {"name": "f", "arguments": {"a": 1}}}],
            },
            {"role": "tool", "content": "42", "tool_name": "f", "tool_call_id": "c"},
        ],
        stream=True,
        tools=[{"type": "function", "function": {"name": "f", "parameters": {"type": "object"}}}],
        format={"type": "object"},
        think="low",
        keep_alive=0,
        logprobs=True,
        top_logprobs=1,
        options={"num_predict": 5, "temperature": 0.5, "top_p": 0.25, "stop": ["x"], "num_ctx": 4096, "mirostat": 1},
    )
    assert json.loads(OllamaHost().ask(parse(body)[0], "m").body) == body


def test_a_long_history_is_read_in_one_go():
    asked = [{"id": f"c{i}", "function": {"name": "f", "arguments": {}}} for i in range(20_000)]
    results = [{"tool_name": "nobody"}, *({"tool_name": "f"} for _ in range(10_000)), *({} for _ in range(10_000))]
    assert answers(*results, calls=asked) == ["call_nobody", *(f"c{i}" for i in range(20_000))]
