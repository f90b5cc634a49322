"""A client of the Gemini API that reads raw bytes by the rules of Google's reference, and breaks off where its SDKs do."""

from __future__ import annotations

import json
from typing import Any
from urllib.parse import quote

from matrix.cases import PROMPT, SCHEMA, TOOL, Answer, Question, Usage

NAME = "gemini"
CANNOT: dict[str, str] = {}

DECLARED = {"name": TOOL["name"], "description": TOOL["description"], "parametersJsonSchema": TOOL["parameters"]}
ASKS: dict[str, dict[str, Any]] = {
    "tool_call": {"tools": [{"functionDeclarations": [DECLARED]}]},
    "parallel_tool_calls": {
        "tools": [{"functionDeclarations": [DECLARED]}],
        "toolConfig": {"functionCallingConfig": {"mode": "AUTO"}},
    },
    "thinking": {"generationConfig": {"thinkingConfig": {"thinkingLevel": "MEDIUM", "includeThoughts": True}}},
    "structured": {"generationConfig": {"responseMimeType": "application/json", "responseJsonSchema": SCHEMA}},
    "length": {"generationConfig": {"maxOutputTokens": 2}},
}
FINISHES = {"MAX_TOKENS": "length", "SAFETY": "content_filter"}


def question(case: str, model: str) -> Question:
    body = {"contents": [{"role": "user", "parts": [{"text": PROMPT}]}]}
    return Question(f"/v1beta/models/{quote(model)}:streamGenerateContent?alt=sse", body | ASKS.get(case, {}))


def read(status: int, headers: dict[str, str], body: bytes) -> Answer:
    if status != 200:
        error = json.loads(body)["error"]
        assert error["code"] == status
        return Answer(finish="error", error=(status, error["message"]))
    assert headers["content-type"].startswith("text/event-stream")
    *events, rest = body.decode().split("\r\n\r\n")
    text = thinking = finish = ""
    calls: list[tuple[str, dict[str, Any]]] = []
    usage = None
    for event in events:
        if not event:
            continue  # a silence
        assert event.startswith("data: ")
        chunk = json.loads(event[6:])
        for candidate in chunk.get("candidates", []):
            assert candidate["index"] == 0
            for part in candidate.get("content", {}).get("parts", []):
                if "functionCall" in part:
                    calls.append((part["functionCall"]["name"], part["functionCall"]["args"]))
                elif part.get("thought"):
                    thinking += part.get("text", "")
                else:
                    text += part.get("text", "")
            finish = candidate.get("finishReason", finish)
        usage = chunk.get("usageMetadata", usage)
    if rest:
        return Answer(text, thinking, finish="error", error=(None, json.loads(rest)["error"]["message"]))
    assert finish
    ended = FINISHES.get(finish, finish.lower())
    if calls and ended == "stop":  # as Google's clients have it: calls are found, not announced
        ended = "tool_calls"
    return Answer(text, thinking, tuple(calls), ended, None if usage is None else _usage(usage))


def _usage(raw: dict[str, Any]) -> Usage:
    output = raw["candidatesTokenCount"] + raw.get("thoughtsTokenCount", 0)
    assert raw["totalTokenCount"] == raw["promptTokenCount"] + output
    return Usage(raw["promptTokenCount"], output, raw.get("cachedContentTokenCount"))
