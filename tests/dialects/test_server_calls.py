"""Calls that the server runs itself, in every dialect: shown as done, or left out, and never given to the client to run."""

from __future__ import annotations

import json

import pytest

from strategies import meta_of, numbered, opened
from tidewire.core import events as ev
from tidewire.dialects.agui import AGUI
from tidewire.dialects.anthropic import AnthropicMessages
from tidewire.dialects.bedrock import Bedrock
from tidewire.dialects.cohere import Cohere
from tidewire.dialects.gemini import Gemini
from tidewire.dialects.native import Native
from tidewire.dialects.ollama import Ollama
from tidewire.dialects.openai_chat import OpenAIChat
from tidewire.dialects.openai_responses import OpenAIResponses
from tidewire.dialects.ui_messages import UIMessages

DIALECTS = [
    AGUI(),
    AnthropicMessages(),
    Bedrock(),
    Cohere(),
    Gemini().at("m", "sse"),
    Native(),
    Ollama(),
    OpenAIChat(),
    OpenAIResponses(),
    UIMessages(),
]
SHOWN = {"AGUI", "Native", "OpenAIResponses", "UIMessages"}  # Anthropic Messages: test_server_calls_as_mcp.py
CALL, RESULT, SECRET = "call_ours", "it is sunny", '{"city":"Kiel"}'


def log(*, failed=False):
    meta = meta_of()
    events = [
        opened(meta),
        ev.Attempt(n=1, provider="p", model="m", reason="start"),
        ev.PartStarted(part=0, kind="text"),
        ev.Delta(part=0, text="Let me see. "),
        ev.PartEnded(part=0),
        ev.PartStarted(part=1, kind="server_call", name="weather", call=CALL),
        ev.Delta(part=1, text=SECRET[:7]),
        ev.Delta(part=1, text=SECRET[7:]),
        ev.Signature(part=1, value="proof"),
        ev.PartEnded(part=1),
        ev.Progress(stage="calling", detail="weather", call=CALL),
        ev.PartStarted(part=2, kind="tool_result", name="weather", call=CALL, failed=failed),
        ev.Delta(part=2, text=RESULT),
        ev.PartEnded(part=2),
        ev.Attempt(n=2, provider="p", model="m", reason="tools"),
        ev.PartStarted(part=3, kind="text"),
        ev.Delta(part=3, text="Sunny."),
        ev.PartEnded(part=3),
        ev.Closed(status="completed", reason="stop", input_tokens=20, output_tokens=9),
    ]
    return meta, numbered(events)


def rendered(dialect, form, *, failed=False):
    meta, entries = log(failed=failed)
    return getattr(dialect, form)(meta).feed(entries)


@pytest.mark.parametrize("form", ["stream", "whole"])
@pytest.mark.parametrize("dialect", DIALECTS, ids=lambda d: type(d).__name__)
def test_the_words_are_there_and_the_call_only_where_the_protocol_can_say_that_it_is_done(dialect, form) -> None:
    said = rendered(dialect, form)
    assert b"Let me see. " in said
    assert b"Sunny." in said
    shown = type(dialect).__name__ in SHOWN
    assert (CALL.encode() in said) is shown
    assert (RESULT.encode() in said) is shown
    assert (b"proof" in said) is (
        type(dialect).__name__ in {"AGUI", "OpenAIResponses", "UIMessages"}
        or (type(dialect) is Native and form == "stream")
    )


@pytest.mark.parametrize("dialect", DIALECTS, ids=lambda d: type(d).__name__)
def test_cut_at_every_entry_it_renders_the_same(dialect) -> None:
    meta, entries = log()
    whole = dialect.stream(meta).feed(entries)
    for at in range(1, len(entries)):
        renderer = dialect.stream(meta)
        assert renderer.feed(entries[:at]) + renderer.feed(entries[at:]) == whole


def chunks(data: bytes) -> list[dict]:
    return [json.loads(line[6:]) for line in data.decode().splitlines() if line.startswith("data: {")]


def test_ui_messages_tell_a_dynamic_tool_that_the_provider_ran_in_a_step_of_its_own() -> None:
    said = [
        c for c in chunks(rendered(UIMessages(), "stream")) if not c["type"].startswith(("text", "data", "message"))
    ]
    ours = {"providerExecuted": True, "dynamic": True}
    proof = {"providerMetadata": {"tidewire": {"signature": "proof"}}}
    assert said[2:-2] == [
        {"type": "tool-input-start", "toolCallId": CALL, "toolName": "weather", **ours},
        {"type": "tool-input-delta", "toolCallId": CALL, "inputTextDelta": SECRET[:7]},
        {"type": "tool-input-delta", "toolCallId": CALL, "inputTextDelta": SECRET[7:]},
        {"type": "tool-input-available", "toolCallId": CALL, "toolName": "weather", **ours, "input": {"city": "Kiel"}}
        | proof,
        {"type": "tool-output-available", "toolCallId": CALL, "output": RESULT, **ours},
        {"type": "finish-step"},
        {"type": "start-step"},
    ]
    failed = chunks(rendered(UIMessages(), "stream", failed=True))
    assert {"type": "tool-output-error", "toolCallId": CALL, "errorText": RESULT, **ours} in failed


@pytest.mark.parametrize("failed", [False, True])
def test_a_ui_message_with_such_a_call_comes_back_as_the_call_and_its_result(failed) -> None:
    message = json.loads(rendered(UIMessages(), "whole", failed=failed))
    question = {"id": "q", "role": "user", "parts": [{"type": "text", "text": "And tomorrow?"}]}
    body = json.dumps({"id": "c", "messages": [message, question], "model": "m"}).encode()
    request, _ = UIMessages().parse(body, {})
    assert [m.role for m in request.messages] == ["assistant", "tool", "assistant", "user"]
    call, result = request.messages[0].content[-1], request.messages[1].content[0]
    assert (call.call, call.name, call.arguments) == (CALL, "weather", SECRET)
    assert (result.text, result.failed) == (RESULT, failed)


def test_ag_ui_tells_the_call_and_its_result_and_nothing_is_pending() -> None:
    said = chunks(rendered(AGUI(), "stream"))
    kinds = [c["type"] for c in said if c["type"].startswith("TOOL_CALL")]
    assert kinds == ["TOOL_CALL_START", "TOOL_CALL_ARGS", "TOOL_CALL_ARGS", "TOOL_CALL_END", "TOOL_CALL_RESULT"]
    assert said[-1]["outcome"] == {"type": "success"}


def test_the_native_document_has_what_was_asked_and_what_came_of_it() -> None:
    document = json.loads(rendered(Native(), "whole"))
    assert document["tool_calls"] == []
    assert document["server_calls"] == [
        {"call": CALL, "name": "weather", "arguments": SECRET, "result": RESULT, "failed": False}
    ]
