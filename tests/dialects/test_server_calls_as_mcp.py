"""Calls that the server runs itself, in the words that OpenAI Responses and Anthropic Messages have for tools of an MCP server."""

from __future__ import annotations

import json

import pydantic
import pytest
from anthropic.types.beta import BetaMessage, BetaRawMessageStreamEvent
from openai.types.responses import Response, ResponseStreamEvent

from strategies import meta_of, numbered, opened
from tidewire.core import events as ev
from tidewire.dialects.anthropic import AnthropicMessages
from tidewire.dialects.openai_responses import OpenAIResponses

CLAUDE, RESPONSES = AnthropicMessages(), OpenAIResponses()
BETA = {"anthropic-beta": "other-2025-01-01, mcp-client-2025-11-20"}
ASKED, SAID = '{"city":"Kiel"}', "it is sunny"


def call(part, call, *pieces, kind="server_call", name="weather"):
    started = ev.PartStarted(part=part, kind=kind, name=name, call=call)
    return [started, *(ev.Delta(part=part, text=piece) for piece in pieces), ev.PartEnded(part=part)]


def text(part, *pieces):
    return [
        ev.PartStarted(part=part, kind="text"),
        *(ev.Delta(part=part, text=p) for p in pieces),
        ev.PartEnded(part=part),
    ]


def result(part, call, *pieces, failed=False):
    started = ev.PartStarted(part=part, kind="tool_result", name="weather", call=call, failed=failed)
    return [started, *(ev.Delta(part=part, text=piece) for piece in pieces), ev.PartEnded(part=part)]


def log(*events, status="completed", reason="stop"):
    meta = meta_of(mcp=True)
    closed = ev.Closed(status=status, reason=reason, input_tokens=20, output_tokens=9)
    return meta, numbered([opened(meta), *events, closed])


ONE = [*text(0, "Let me see. "), *call(1, "c1", ASKED[:7], ASKED[7:]), *result(2, "c1", SAID), *text(3, "Sunny.")]
FAILED = [*text(0, "Let me see. "), *call(1, "c1", ASKED), *result(2, "c1", SAID, failed=True), *text(3, "Alas.")]
# A result comes while a second call, and the client's own, are still being said; the last is in another order than the calls.
WOVEN = [
    *call(0, "c1", ASKED),
    ev.PartStarted(part=1, kind="tool_call", name="pick", call="p1"),
    ev.Delta(part=1, text='{"colour":'),
    *result(2, "c1", "Kiel is sunny"),
    ev.Delta(part=1, text='"red"}'),
    ev.PartEnded(part=1),
    *call(3, "c2", "{}"),
    *call(4, "c3", ASKED),
    *result(5, "c3", "third"),
    *result(6, "c2"),
]
LOGS = {
    "one": log(*ONE),
    "failed": log(*FAILED),
    "woven": log(*WOVEN, reason="tool_calls"),
    "cut in the arguments": log(*ONE[:4], status="incomplete", reason="time_limit"),
    "cut before the result": log(*ONE[:7], status="incomplete", reason="time_limit"),
    "cut in the result": log(*ONE[:9], status="incomplete", reason="time_limit"),
    "of two, one is cut": log(*ONE[:7], *call(3, "c2")[:1], status="incomplete", reason="time_limit"),
}


def chunks(data: bytes) -> list[dict]:
    return [json.loads(line[6:]) for line in data.decode().splitlines() if line.startswith("data: {")]


@pytest.mark.parametrize("name", LOGS)
@pytest.mark.parametrize("dialect", [CLAUDE, RESPONSES], ids=lambda d: d.name)
def test_cut_at_every_entry_it_renders_the_same(dialect, name) -> None:
    meta, entries = LOGS[name]
    whole = dialect.stream(meta).feed(entries)
    for at in range(1, len(entries)):
        renderer = dialect.stream(meta)
        assert renderer.feed(entries[:at]) + renderer.feed(entries[at:]) == whole
    one_by_one = dialect.stream(meta)
    assert b"".join(one_by_one.feed([entry]) for entry in entries) == whole


# OpenAI Responses


def test_a_call_of_the_servers_is_an_mcp_call_with_the_events_of_one() -> None:
    meta, entries = LOGS["one"]
    said = chunks(RESPONSES.stream(meta).feed(entries))
    ours = [e for e in said if "mcp" in e["type"] or e.get("item", {}).get("type") == "mcp_call"]
    place = {"item_id": "mcp_c1", "output_index": 1}
    begun = {
        "id": "mcp_c1",
        "type": "mcp_call",
        "status": "in_progress",
        "server_label": "tidewire",
        "name": "weather",
        "arguments": "",
        "approval_request_id": None,
        "output": None,
        "error": None,
    }
    done = begun | {"status": "completed", "arguments": ASKED, "output": SAID}
    expected = [
        {"type": "response.output_item.added", "output_index": 1, "item": begun},
        {"type": "response.mcp_call.in_progress", **place},
        {"type": "response.mcp_call_arguments.delta", **place, "delta": ASKED[:7]},
        {"type": "response.mcp_call_arguments.delta", **place, "delta": ASKED[7:]},
        {"type": "response.mcp_call_arguments.done", **place, "arguments": ASKED},
        {"type": "response.mcp_call.completed", **place},
        {"type": "response.output_item.done", "output_index": 1, "item": done},
    ]
    assert [{k: v for k, v in e.items() if k != "sequence_number"} for e in ours] == expected
    assert said[-1]["response"]["output"][1] == done
    assert said[-1]["response"]["usage"]["total_tokens"] == 29


def test_a_call_that_failed_says_why() -> None:
    meta, entries = LOGS["failed"]
    said = chunks(RESPONSES.stream(meta).feed(entries))
    assert "response.mcp_call.failed" in [e["type"] for e in said]
    item = said[-1]["response"]["output"][1]
    assert (item["status"], item["output"]) == ("failed", None)
    assert item["error"] == {"type": "mcp_tool_execution_error", "content": [{"type": "text", "text": SAID}]}


@pytest.mark.parametrize("name", LOGS)
def test_the_stream_of_a_response_ends_with_the_document_and_is_what_the_sdk_knows(name) -> None:
    meta, entries = LOGS[name]
    said = chunks(RESPONSES.stream(meta).feed(entries))
    document = json.loads(RESPONSES.whole(meta).feed(entries))
    assert said[-1]["response"] == document
    done = {e["output_index"]: e["item"] for e in said if e["type"] == "response.output_item.done"}
    assert [done[i] for i in range(len(done))] == document["output"]
    known = pydantic.TypeAdapter(ResponseStreamEvent)
    for event in said:
        known.validate_python(event)
    Response.model_validate(document)


@pytest.mark.parametrize("name", LOGS)
def test_a_response_is_resumed_behind_every_event(name) -> None:
    meta, entries = LOGS[name]
    frames = RESPONSES.stream(meta).feed(entries).split(b"\n\n")
    for after in range(len(frames)):
        assert RESPONSES.stream(meta, after).feed(entries).split(b"\n\n") == frames[after:]


def shape(request) -> list[tuple]:
    return [(m.role, *(getattr(c, "call", "") or c.text for c in m.content)) for m in request.messages]


def test_the_output_of_a_response_comes_back_as_what_was_said() -> None:
    meta, entries = LOGS["one"]
    output = json.loads(RESPONSES.whole(meta).feed(entries))["output"]
    request, _ = RESPONSES.parse(json.dumps({"model": "m", "input": output}).encode(), {})
    assert shape(request) == [("assistant", "Let me see. ", "c1"), ("tool", "c1"), ("assistant", "Sunny.")]
    [_, asked], [came] = request.messages[0].content, request.messages[1].content
    assert (asked.name, asked.arguments, came.text, came.failed) == ("weather", ASKED, SAID, False)


def test_a_call_that_failed_comes_back_as_one_that_failed() -> None:
    meta, entries = LOGS["failed"]
    output = json.loads(RESPONSES.whole(meta).feed(entries))["output"]
    request, _ = RESPONSES.parse(json.dumps({"model": "m", "input": output}).encode(), {})
    [came] = request.messages[1].content
    assert (came.text, came.failed) == (SAID, True)


@pytest.mark.parametrize(
    ("error", "said"),
    [
        ("refused", "refused"),  # as earlier versions of the SDK's types had it
        ({"type": "http_error", "code": 502, "message": "bad gateway"}, "bad gateway"),
        ({"type": "mcp_tool_execution_error", "content": 5}, "the tool failed"),
        ([], "the tool failed"),
    ],
)
def test_errors_of_other_kinds_come_back_too(error, said) -> None:
    meta, entries = LOGS["failed"]
    output = json.loads(RESPONSES.whole(meta).feed(entries))["output"]
    output[1]["error"] = error
    request, _ = RESPONSES.parse(json.dumps({"model": "m", "input": output}).encode(), {})
    assert (request.messages[1].content[0].text, request.messages[1].content[0].failed) == (said, True)


def test_results_of_the_client_are_put_right_behind_the_message_that_asked_for_them() -> None:
    meta, entries = LOGS["woven"]
    output = json.loads(RESPONSES.whole(meta).feed(entries))["output"]
    picked = {"type": "function_call_output", "call_id": "p1", "output": "red it is"}
    request, _ = RESPONSES.parse(json.dumps({"model": "m", "input": [*output, picked]}).encode(), {})
    assert shape(request) == [
        ("assistant", "c1"),
        ("tool", "c1"),
        ("assistant", "p1", "c2", "c3"),
        ("tool", "c2"),
        ("tool", "c3"),
        ("tool", "p1"),
    ]


@pytest.mark.parametrize("name", [name for name in LOGS if "cut" in name])
@pytest.mark.parametrize("dialect", [CLAUDE, RESPONSES], ids=lambda d: d.name)
def test_a_call_without_a_result_stays_out_of_the_next_question(dialect, name) -> None:
    meta, entries = LOGS[name]
    whole = json.loads(dialect.whole(meta).feed(entries))
    if dialect is CLAUDE:
        body = {"model": "m", "messages": [{"role": "assistant", "content": whole["content"]}]}
    else:
        body = {"model": "m", "input": whole["output"]}
    request, _ = dialect.parse(json.dumps(body).encode(), BETA)
    assert shape(request) == [("assistant", "Let me see. ")]


# Anthropic Messages


def message(name) -> dict:
    meta, entries = LOGS[name]
    return json.loads(CLAUDE.whole(meta).feed(entries))


def test_who_asks_for_the_beta_is_shown_the_call_and_its_result() -> None:
    asked = {"model": "m", "messages": [{"role": "user", "content": "?"}]}
    assert CLAUDE.parse(json.dumps(asked).encode(), BETA)[0].record == {"mcp": True}
    assert CLAUDE.parse(json.dumps(asked).encode(), {})[0].record == {}
    ours = {"id": "c1", "name": "weather", "server_name": "tidewire", "input": {"city": "Kiel"}}
    assert message("one")["content"][1:3] == [
        {"type": "mcp_tool_use", **ours},
        {
            "type": "mcp_tool_result",
            "tool_use_id": "c1",
            "is_error": False,
            "content": [{"type": "text", "text": SAID}],
        },
    ]
    assert message("one")["usage"]["output_tokens"] == 9
    assert message("failed")["content"][2]["is_error"] is True
    BetaMessage.model_validate(message("one"))


@pytest.mark.parametrize("name", LOGS)
def test_the_stream_says_what_the_message_says(name) -> None:
    meta, entries = LOGS[name]
    known = pydantic.TypeAdapter(BetaRawMessageStreamEvent)
    blocks: list[dict] = []
    for event in chunks(CLAUDE.stream(meta).feed(entries)):
        known.validate_python(event)
        if event["type"] == "content_block_start":
            assert event["index"] == len(blocks)
            blocks.append(event["content_block"])
        elif event["type"] == "content_block_delta":
            delta = event["delta"]
            field = "text" if delta["type"] == "text_delta" else "partial_json"
            blocks[-1][field] = blocks[-1].get(field, "") + delta[field]
    for block in blocks:
        if "partial_json" in block:
            block["input"] = json.loads(block.pop("partial_json"))
    assert blocks == message(name)["content"]


@pytest.mark.parametrize("name", ["one", "failed", "woven"])
def test_a_message_comes_back_as_what_was_said(name) -> None:
    turns = [{"role": "assistant", "content": message(name)["content"]}]
    if name == "woven":
        turns.append({"role": "user", "content": [{"type": "tool_result", "tool_use_id": "p1", "content": "red"}]})
    request, _ = CLAUDE.parse(json.dumps({"model": "m", "messages": turns}).encode(), {})
    if name == "woven":
        assert shape(request) == [
            ("assistant", "c1", "p1", "c2", "c3"),
            ("tool", "c1"),
            ("tool", "c3"),
            ("tool", "c2"),
            ("tool", "p1"),
        ]
    else:
        assert [m.role for m in request.messages] == ["assistant", "tool", "assistant"]
        [_, asked], [came] = request.messages[0].content, request.messages[1].content
        assert (asked.name, asked.arguments) == ("weather", ASKED)
        assert (came.text, came.failed) == (SAID, name == "failed")


def test_a_result_whose_call_is_not_there_stays_out() -> None:
    content = [block for block in message("one")["content"] if block["type"] != "mcp_tool_use"]
    body = {"model": "m", "messages": [{"role": "assistant", "content": content}]}
    request, _ = CLAUDE.parse(json.dumps(body).encode(), {})
    assert shape(request) == [("assistant", "Let me see. ", "Sunny.")]
