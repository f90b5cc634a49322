"""A client of our own protocol that reads raw Server-Sent Events by the rules of spec/PROTOCOL.md."""

from __future__ import annotations

import json
from typing import Any

from matrix.cases import PROMPT, SCHEMA, TOOL, Answer, Question, Usage

NAME = "native"
CANNOT: dict[str, str] = {}

ASKS: dict[str, dict[str, Any]] = {
    "tool_call": {"tools": [TOOL]},
    "parallel_tool_calls": {"tools": [TOOL], "tool_choice": "auto"},
    "thinking": {"thinking": {"effort": "medium"}},
    "structured": {
        "response_format": {"type": "json_schema", "json_schema": {"name": "person", "strict": True, "schema": SCHEMA}}
    },
    "length": {"max_tokens": 2},
}


def question(case: str, model: str) -> Question:
    return Question("/v1/streams", {"model": model, "input": PROMPT} | ASKS.get(case, {}))


def read(status: int, headers: dict[str, str], body: bytes) -> Answer:
    if status != 200:
        return Answer(finish="error", error=(status, json.loads(body)["error"]["message"]))
    assert headers["content-type"].startswith("text/event-stream")
    events = [json.loads(line[6:]) for line in body.decode().split("\n") if line.startswith("data: ")]
    assert [e["seq"] for e in events] == list(range(1, len(events) + 1))
    assert events[0]["type"] == "opened"
    parts = {e["part"]: e | {"text": ""} for e in events if e["type"] == "part"}
    for event in events:
        if event["type"] == "delta":
            parts[event["part"]]["text"] += event["text"]
    closed = events[-1]
    assert closed["type"] == "closed"
    assert [e["type"] for e in events].count("closed") == 1

    def said(kind: str) -> list[dict[str, Any]]:
        return [part for part in parts.values() if part["kind"] == kind]

    text = "".join(part["text"] for part in said("text"))
    thinking = "".join(part["text"] for part in said("thinking"))
    if error := closed.get("error"):
        return Answer(
            text, thinking, finish="error", error=(None if parts else error.get("status", 500), error["message"])
        )
    used = closed.get("input_tokens"), closed.get("output_tokens"), closed.get("cached_tokens")
    return Answer(
        text,
        thinking,
        tuple((part["name"], json.loads(part["text"])) for part in said("tool_call")),
        closed["reason"],
        None if used[0] is None else Usage(*used),
    )
