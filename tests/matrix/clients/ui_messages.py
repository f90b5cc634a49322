"""A client of the AI SDK's UI message stream that reads raw Server-Sent Events by the chunk schemas of the package `ai`."""

from __future__ import annotations

import json
from typing import Any

from matrix.cases import PROMPT, SCHEMA, TOOL, Answer, Question, Usage

NAME = "ui_messages"
CANNOT: dict[str, str] = {}

OFFERED = {"name": TOOL["name"], "description": TOOL["description"], "inputSchema": TOOL["parameters"]}
ASKS: dict[str, dict[str, Any]] = {
    "tool_call": {"tools": [OFFERED]},
    "parallel_tool_calls": {"tools": [OFFERED], "toolChoice": "auto"},
    "thinking": {"thinking": {"effort": "medium"}},
    "structured": {
        "responseFormat": {"type": "json_schema", "json_schema": {"name": "person", "strict": True, "schema": SCHEMA}}
    },
    "length": {"maxOutputTokens": 2},
}


def question(case: str, model: str) -> Question:
    message = {"id": "u1", "role": "user", "parts": [{"type": "text", "text": PROMPT}]}
    body = {"id": f"chat-{case}", "trigger": "submit-message", "messages": [message], "model": model}
    return Question("/api/chat", body | ASKS.get(case, {}))


def read(status: int, headers: dict[str, str], body: bytes) -> Answer:
    if status != 200:
        return Answer(finish="error", error=(status, json.loads(body)["error"]["message"]))
    assert headers["x-vercel-ai-ui-message-stream"] == "v1"
    *lines, done = [line[6:] for line in body.decode().split("\n") if line.startswith("data: ")]
    assert done == "[DONE]"
    chunks = [json.loads(line) for line in lines]
    assert (chunks[0]["type"], chunks[-1]["type"]) == ("start", "finish")
    text, thinking = (
        "".join(c["delta"] for c in chunks if c["type"] == f"{family}-delta") for family in ("text", "reasoning")
    )
    called = [c for c in chunks if c["type"] == "tool-input-available"]
    pieces: dict[str, str] = {}
    for chunk in chunks:
        if chunk["type"] == "tool-input-start":
            pieces[chunk["toolCallId"]] = ""
        elif chunk["type"] == "tool-input-delta":
            pieces[chunk["toolCallId"]] += chunk["inputTextDelta"]
    [metadata] = [c["messageMetadata"] for c in chunks if c["type"] == "message-metadata"]
    for chunk in chunks:
        if chunk["type"] == "error":
            begun = text or thinking or pieces
            code = None if begun else metadata["error"]["status"]
            return Answer(text, thinking, finish="error", error=(code, chunk["errorText"]))
    assert [json.loads(pieces[c["toolCallId"]]) for c in called] == [c["input"] for c in called]
    finish = chunks[-1]["finishReason"].replace("-", "_")
    return Answer(text, thinking, tuple((c["toolName"], c["input"]) for c in called), finish, _usage(metadata["usage"]))


def _usage(used: dict[str, int]) -> Usage | None:
    if "inputTokens" not in used:
        return None
    assert used["totalTokens"] == used["inputTokens"] + used["outputTokens"]
    return Usage(used["inputTokens"], used["outputTokens"], used.get("cachedInputTokens"))
