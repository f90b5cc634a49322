"""Cohere's Chat API as clients see it: every prefix renders the same, the official types read it, and so does our own decoder."""

from __future__ import annotations

import json

import pytest
from cohere import V2ChatResponse, V2ChatStreamResponse
from cohere.core.unchecked_base_model import construct_type
from hypothesis import given
from hypothesis import strategies as st

from decoding import calls, decoded, kinds, texts, well_formed
from strategies import logs, meta_of, numbered, opened
from tidewire.core import events as ev
from tidewire.core.errors import BadRequest, Overloaded
from tidewire.core.events import Citation, Closed, Delta, Finish, Logprobs, PartEnded, PartStarted, Usage
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
from tidewire.core.sse import Frames
from tidewire.dialects.cohere import FILTERED, Cohere
from tidewire.dialects.cohere_host import CohereHost

DIALECT = Cohere()
CLIENT = ("text", "thinking", "tool_call")


def parse(body, headers=None):
    raw = body if isinstance(body, bytes) else json.dumps(body).encode()
    return DIALECT.parse(raw, headers or {})


def ask(**more):
    return {"model": "m", "messages": [{"role": "user", "content": "Hello?"}]} | more


def told(raw: bytes) -> list[dict]:
    """The events of a stream, which names each twice."""
    *frames, done = Frames().feed(raw)
    assert done == (b"", b"[DONE]")
    for name, data in frames:
        assert json.loads(data)["type"] == name.decode()
    return [json.loads(data) for _, data in frames]


def good(closed: Closed) -> bool:
    return closed.status in ("completed", "incomplete") and closed.reason != "content_filter"


# Views of a log


@given(logs(kinds=CLIENT), st.data())
def test_however_a_log_is_handed_over_the_bytes_are_the_same(made, data):
    meta, entries = made
    at = data.draw(st.integers(0, len(entries)))
    whole = DIALECT.stream(meta).feed(entries)
    for batches in ([entries[:at], entries[at:]], [[e] for e in entries]):
        renderer = DIALECT.stream(meta)
        assert b"".join(renderer.feed(batch) for batch in batches if batch) == whole
        assert renderer.ended


@given(logs(kinds=CLIENT))
def test_the_official_types_read_every_event_and_our_decoder_finds_what_the_log_says(made):
    meta, entries = made
    renderer = DIALECT.stream(meta)
    wire = renderer.feed(entries)
    for event in told(wire):
        assert construct_type(type_=V2ChatStreamResponse, object_=event).type == event["type"]
    log = [e.event for e in entries]
    got, error = decoded(CohereHost(), wire)
    assert (error is None) == good(log[-1])
    assert (renderer.failure is None) == (log[-1].status in ("completed", "incomplete"))
    for kind in ("text", "thinking"):
        assert texts(got, kind) == texts(log, kind)
    assert [(i, n, a) for i, n, a in calls(got)] == [(i, n, a or "{}") for i, n, a in calls(log)]
    kept = [e for e in got if isinstance(e, Citation)]
    parts = [e.part for e in got if isinstance(e, PartStarted)]
    assert parts == sorted(parts)
    assert len(kept) == sum(isinstance(e, Citation) for e in log)
    if error is None:
        well_formed(got)


@given(logs(kinds=CLIENT))
def test_the_whole_answer_says_the_same_as_its_stream(made):
    meta, entries = made
    renderer = DIALECT.whole(meta)
    raw = renderer.feed(entries)
    if entries[-1].event.status not in ("completed", "incomplete"):
        assert renderer.failure is not None
        return
    document = json.loads(raw)
    answer = construct_type(type_=V2ChatResponse, object_=document)
    assert answer.id == meta.stream
    events = told(DIALECT.stream(meta).feed(entries))
    assert document["finish_reason"] == events[-1]["delta"]["finish_reason"]
    assert document["usage"] == events[-1]["delta"]["usage"]
    blocks: dict[int, dict] = {}
    asked: dict[int, dict] = {}
    cited = []
    for event in events:
        message = (event.get("delta") or {}).get("message", {})
        if event["type"] == "content-start":
            blocks[event["index"]] = dict(message["content"])
        elif event["type"] == "content-delta":
            for name, text in message["content"].items():
                blocks[event["index"]][name] += text
        elif event["type"] == "tool-call-start":
            asked[event["index"]] = message["tool_calls"]
        elif event["type"] == "tool-call-delta":
            asked[event["index"]]["function"]["arguments"] += message["tool_calls"]["function"]["arguments"]
        elif event["type"] == "citation-start":
            cited.append(message["citations"])
    assert document["message"]["content"] == list(blocks.values())
    assert document["message"].get("tool_calls", []) == list(asked.values())
    assert len(document["message"].get("citations", [])) == len(cited)


def test_what_our_decoder_reads_of_a_rendering_is_what_was_rendered():
    events = [
        PartStarted(part=0, kind="thinking"),
        Delta(part=0, text="hm\n"),
        PartEnded(part=0),
        PartStarted(part=1, kind="text"),
        Delta(part=1, text="Gyms — "),
        Logprobs(
            part=1, content=[{"token": "Gyms", "logprob": -0.5, "bytes": [71, 121, 109, 115], "top_logprobs": []}]
        ),
        Delta(part=1, text="é😀"),
        Citation(part=1, start=0, end=4, source="doc:1", title="Perks", passage="Gyms for all.", uri="https://x"),
        PartEnded(part=1),
        PartStarted(part=2, kind="tool_call", name="f", call="a"),
        Delta(part=2, text='{"a":\n'),
        Delta(part=2, text="1}"),
        PartEnded(part=2),
        Usage(counted_by="host", input=11, output=7, cached=4),
    ]
    closed = Closed(status="completed", reason="tool_calls", input_tokens=11, output_tokens=7, cached_tokens=4)
    wire = DIALECT.stream(meta_of()).feed(numbered([opened(meta_of()), *events, closed]))
    got, error = decoded(CohereHost(), wire)
    for event in (*got, *events):
        event.seq = event.at = -1
    assert (got, error) == ([*events, Finish(reason="tool_calls")], None)


def test_a_citation_quotes_the_words_that_it_is_about():
    events = [
        PartStarted(part=0, kind="text"),
        Delta(part=0, text="Gyms are "),
        Delta(part=0, text="free."),
        Citation(part=0, start=9, end=13, source="d", title="T", passage="Free gyms."),
    ]
    entries = numbered([opened(meta_of()), *events, Closed(status="completed", reason="stop")])
    [start] = [e for e in told(DIALECT.stream(meta_of()).feed(entries)) if e["type"] == "citation-start"]
    whole = json.loads(DIALECT.whole(meta_of()).feed(entries))["message"]["citations"]
    assert whole == [start["delta"]["message"]["citations"]]
    assert (whole[0]["text"], whole[0]["content_index"], whole[0]["sources"][0]["id"]) == ("free", 0, "d")


def test_what_cohere_has_no_word_for_is_left_out():
    events = [
        PartStarted(part=0, kind="tool_result", call="c1"),
        Delta(part=0, text="42"),
        PartEnded(part=0),
        PartStarted(part=1, kind="image", media="image/png"),
        ev.Blob(part=1, data=b"x"),
        PartStarted(part=2, kind="text"),
        Delta(part=2, text="So."),
        ev.Signature(part=2, value="s"),
        ev.Notice(code="n", message="m"),
        Citation(part=0, start=0, end=1, source="d", title="T", passage="p"),
    ]
    entries = numbered([opened(meta_of()), *events, Closed(status="completed", reason="stop")])
    got, error = decoded(CohereHost(), DIALECT.stream(meta_of()).feed(entries))
    assert (error, kinds(got), texts(got, "text")) == (None, ["text"], "So.")
    assert json.loads(DIALECT.whole(meta_of()).feed(entries))["message"] == {
        "role": "assistant",
        "content": [{"type": "text", "text": "So."}],
    }


def test_a_refusal_is_text():
    events = [PartStarted(part=0, kind="refusal"), Delta(part=0, text="No."), Closed(status="completed", reason="stop")]
    entries = numbered([opened(meta_of()), *events])
    assert texts(decoded(CohereHost(), DIALECT.stream(meta_of()).feed(entries))[0], "text") == "No."


@pytest.mark.parametrize(
    ("reason", "finish"),
    [
        ("stop", "COMPLETE"),
        ("stop_string", "STOP_SEQUENCE"),
        ("length", "MAX_TOKENS"),
        ("size_limit", "MAX_TOKENS"),
        ("time_limit", "TIMEOUT"),
        ("tool_calls", "TOOL_CALL"),
        ("content_filter", "ERROR"),
    ],
)
def test_every_natural_end_has_its_finish_reason(reason, finish):
    status = "completed" if reason in ("stop", "stop_string", "tool_calls") else "incomplete"
    entries = numbered([opened(meta_of()), Closed(status=status, reason=reason, output_tokens=3)])
    first, last = told(DIALECT.stream(meta_of()).feed(entries))
    assert (first["type"], last["delta"]["finish_reason"]) == ("message-start", finish)
    assert last["delta"].get("error") == (FILTERED if finish == "ERROR" else None)
    assert last["delta"]["usage"] == {"tokens": {"input_tokens": 0, "output_tokens": 3}}
    assert json.loads(DIALECT.whole(meta_of()).feed(entries))["finish_reason"] == finish


@pytest.mark.parametrize("reason", ["client", "disconnect", "shutdown", "error"])
def test_an_end_that_is_none_is_told_as_an_error(reason):
    status = "cancelled" if reason in ("client", "disconnect") else "failed"
    error = ev.ErrorInfo(code="upstream_cut", message="broke off", status=502) if status == "failed" else None
    entries = numbered([opened(meta_of()), Closed(status=status, reason=reason, error=error)])
    renderer = DIALECT.stream(meta_of())
    last = told(renderer.feed(entries))[-1]["delta"]
    assert (last["finish_reason"], last["error"]) == ("ERROR", "broke off" if error else "the stream was cancelled")
    assert renderer.failure is not None
    assert renderer.failure.status == (502 if error else 499)
    whole = DIALECT.whole(meta_of())
    assert (whole.feed(entries), whole.failure) == (b"", renderer.failure)


def test_an_error_before_the_first_byte_has_coheres_shape():
    assert json.loads(DIALECT.error(Overloaded("too many").info())) == {"message": "too many"}


# Requests


def test_every_field_has_its_place():
    request, streamed = parse(
        ask(
            messages=[
                {"role": "system", "content": [{"type": "text", "text": "Be brief."}]},
                {
                    "role": "user",
                    "content": [
                        {"type": "text", "text": "a"},
                        {"type": "image_url", "image_url": {"url": "u", "detail": "low"}},
                    ],
                },
                {
                    "role": "assistant",
                    "tool_plan": "I will look.",
                    "tool_calls": [{"id": "c", "type": "function", "function": {"name": "f", "arguments": "{}"}}],
                },
                {"role": "tool", "tool_call_id": "c", "content": [{"type": "text", "text": "42"}]},
                {
                    "role": "assistant",
                    "content": [{"type": "thinking", "thinking": "hm"}, {"type": "text", "text": "42."}],
                    "citations": [],
                },
                {"role": "User", "content": "Thanks"},
            ],
            stream=True,
            max_tokens=9,
            stop_sequences=["x"],
            temperature=1,
            p=0.5,
            tools=[
                {"type": "function", "function": {"name": "f", "description": "d", "parameters": {"type": "object"}}}
            ],
            strict_tools=True,
            tool_choice="REQUIRED",
            response_format={"type": "json_object", "json_schema": {"type": "object"}},
            thinking={"type": "enabled", "token_budget": 64},
            logprobs=True,
            time_limit=30,
            documents=["Gyms."],
            safety_mode="STRICT",
            seed=None,
        )
    )
    assert streamed
    assert request == Request(
        model="m",
        messages=[
            Message("system", [Text("Be brief.")]),
            Message("user", [Text("a"), Image("u", "low")]),
            Message("assistant", [Thought("I will look."), ToolCall("c", "f", "{}")]),
            Message("tool", [ToolResult("c", "42")]),
            Message("assistant", [Thought("hm"), Text("42.")]),
            Message("user", [Text("Thanks")]),
        ],
        dialect="cohere",
        tools=[Tool("f", "d", {"type": "object"}, strict=True)],
        tool_choice="required",
        max_tokens=9,
        temperature=1.0,
        top_p=0.5,
        stop=["x"],
        response_format={"type": "json_schema", "json_schema": {"name": "answer", "schema": {"type": "object"}}},
        time_limit=30.0,
        on_disconnect=CANCEL,
        logprobs=0,
        thinking=Thinking(budget=64),
        options={"documents": ["Gyms."], "safety_mode": "STRICT"},
    )


def test_a_plain_question_is_not_streamed():
    request, streamed = parse(ask())
    assert (streamed, request.tool_choice, request.thinking, request.logprobs, request.options) == (
        False,
        None,
        None,
        None,
        {},
    )
    assert parse(ask(), {"x-tidewire-on-disconnect": "grace:15"})[0].on_disconnect == GRACE


@pytest.mark.parametrize(
    ("content", "text"),
    [
        ({"type": "document", "document": {"id": "d", "data": {"snippet": "é"}}}, '{"snippet":"é"}'),
        ({"type": "document", "document": {"data": "plain"}}, "plain"),
        ({"type": "document", "document": "plain"}, "plain"),
    ],
)
def test_documents_of_a_tools_result_become_its_text(content, text):
    messages = [{"role": "tool", "tool_call_id": "c", "content": [content]}]
    assert parse(ask(messages=messages))[0].messages[0].content == [ToolResult("c", text)]


@pytest.mark.parametrize(
    ("more", "name", "value"),
    [
        ({"tool_choice": "NONE"}, "tool_choice", "none"),
        ({"thinking": {"type": "disabled"}}, "thinking", Thinking(effort="none")),
        ({"thinking": {"type": "enabled"}}, "thinking", Thinking()),
        ({"response_format": {"type": "text"}}, "response_format", None),
        ({"response_format": {"type": "json_object"}}, "response_format", {"type": "json_object"}),
        ({"logprobs": False}, "logprobs", None),
    ],
)
def test_a_field_means_what_it_says(more, name, value):
    assert getattr(parse(ask(**more))[0], name) == value


@pytest.mark.parametrize(
    ("body", "param"),
    [
        (b"", None),
        (b"[]", None),
        (b"{", None),
        (ask(messages=[]), "messages"),
        (ask(messages="x"), "messages"),
        (ask(messages=[5]), "messages[0]"),
        (ask(messages=[{"role": "robot", "content": ""}]), "messages[0].role"),
        (ask(messages=[{"content": ""}]), "messages[0].role"),
        (ask(messages=[{"role": "user", "content": 5}]), "messages[0].content"),
        (ask(messages=[{"role": "user", "content": [5]}]), "messages[0].content[0].type"),
        (ask(messages=[{"role": "user", "content": [{"type": "audio"}]}]), "messages[0].content[0].type"),
        (ask(messages=[{"role": "user", "content": [{"type": ["text"]}]}]), "messages[0].content[0].type"),
        (ask(messages=[{"role": "user", "content": [{"type": "text", "text": 5}]}]), "messages[0].content[0].text"),
        (ask(messages=[{"role": "user", "content": [{"type": "image_url", "image_url": {}}]}]), "messages[0].content[0].image_url"),
        (ask(messages=[{"role": "tool", "content": "x"}]), "messages[0].tool_call_id"),
        (ask(messages=[{"role": "assistant", "tool_calls": {"id": "x"}}]), "messages[0].tool_calls"),
        (ask(messages=[{"role": "assistant", "tool_calls": [{"id": "x"}]}]), "messages[0].tool_calls[0]"),
        (ask(messages=[{"role": "assistant", "tool_calls": [{"function": {"name": "f", "arguments": {}}}]}]), "messages[0].tool_calls[0]"),
        (ask(tools=[{"type": "connector"}]), "tools[0]"),
        (ask(tools=[{"function": {"name": 5}}]), "tools[0]"),
        (ask(tool_choice="ANY"), "tool_choice"),
        (ask(response_format={"type": "grammar"}), "response_format.type"),
        (ask(response_format={"type": "json_object", "json_schema": "x"}), "response_format.json_schema"),
        (ask(thinking={"type": "much"}), "thinking.type"),
        (ask(thinking={"type": "enabled", "token_budget": 0}), "thinking.token_budget"),
        (ask(max_tokens=0), "max_tokens"),
        (ask(time_limit=0), "time_limit"),
        (ask(stop_sequences="x"), "stop_sequences"),
        ({"messages": []}, None),
    ],
)  # fmt: skip
def test_what_cannot_be_understood_is_refused_with_its_field(body, param):
    with pytest.raises(BadRequest) as caught:
        parse(body)
    assert caught.value.param == param


def test_a_request_of_a_cohere_client_reaches_a_cohere_host_as_it_was():
    body = ask(
        messages=[
            {"role": "user", "content": "Where?"},
            {
                "role": "assistant",
                "tool_plan": "I will look.",
                "tool_calls": [{"id": "c", "type": "function", "function": {"name": "f", "arguments": '{"a":1}'}}],
            },
            {"role": "tool", "tool_call_id": "c", "content": "42"},
        ],
        stream=True,
        tools=[{"type": "function", "function": {"name": "f", "parameters": {"type": "object"}}}],
        strict_tools=True,
        tool_choice="NONE",
        response_format={"type": "json_object", "json_schema": {"type": "object"}},
        thinking={"type": "enabled", "token_budget": 9},
        max_tokens=5,
        temperature=0.5,
        p=0.25,
        stop_sequences=["x"],
        logprobs=True,
        documents=[{"id": "d", "data": {"text": "t"}}],
        citation_options={"mode": "FAST"},
    )
    assert json.loads(CohereHost().ask(parse(body)[0], "m").body) == body
