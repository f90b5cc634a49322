"""A client of Anthropic Messages that reads raw bytes by the rules of its reference."""

from __future__ import annotations

import json
from typing import Any

from matrix.cases import PROMPT, SCHEMA, TOOL, Answer, Question, Usage

NAME = "anthropic"
CANNOT: dict[str, str] = {}

TOOLS = [{"name": TOOL["name"], "description": TOOL["description"], "input_schema": TOOL["parameters"]}]
ASKS: dict[str, dict[str, Any]] = {
    "tool_call": {"tools": TOOLS},
    "parallel_tool_calls": {"tools": TOOLS, "tool_choice": {"type": "auto"}},
    "thinking": {"thinking": {"type": "adaptive"}, "output_config": {"effort": "medium"}},
    "structured": {"output_config": {"format": {"type": "json_schema", "schema": SCHEMA}}},
    "length": {"max_tokens": 2},
}
FIELDS = {"text_delta": "text", "thinking_delta": "thinking", "input_json_delta": "partial_json"}
FINISH = {"end_turn": "stop", "max_tokens": "length", "tool_use": "tool_calls", "refusal": "content_filter"}


def question(case: str, model: str) -> Question:
    body = {"model": model, "max_tokens": 4096, "messages": [{"role": "user", "content": PROMPT}], "stream": True}
    return Question("/v1/messages", body | ASKS.get(case, {}), {"anthropic-version": "2023-06-01"})


def read(status: int, headers: dict[str, str], body: bytes) -> Answer:
    if status != 200:
        failed = json.loads(body)
        assert failed["type"] == "error"
        return Answer(finish="error", error=(status, failed["error"]["message"]))
    assert headers["content-type"].startswith("text/event-stream")
    blocks: list[dict[str, Any]] = []
    counted: dict[str, Any] = {}
    finish = ""
    open_block = -1
    events = _events(body)
    assert next(iter(events))["type"] in ("message_start", "error")
    for event in events:
        match event["type"]:
            case "message_start":
                assert not counted
                counted |= event["message"]["usage"]
            case "content_block_start":
                assert (open_block, event["index"]) == (-1, len(blocks))
                open_block = event["index"]
                blocks.append({"type": event["content_block"]["type"], "said": "", "start": event["content_block"]})
            case "content_block_delta":
                assert event["index"] == open_block
                delta = event["delta"]
                if delta["type"] in FIELDS:
                    blocks[open_block]["said"] += delta[FIELDS[delta["type"]]]
            case "content_block_stop":
                assert event["index"] == open_block
                open_block = -1
            case "message_delta":
                assert open_block == -1
                finish = FINISH[event["delta"]["stop_reason"]]
                counted |= event["usage"]
            case "error":
                return Answer(**_said(blocks), finish="error", error=(None, event["error"]["message"]))
    assert events[-1]["type"] == "message_stop"
    calls = tuple((b["start"]["name"], json.loads(b["said"] or "{}")) for b in blocks if b["type"] == "tool_use")
    return Answer(**_said(blocks), calls=calls, finish=finish, usage=_usage(counted))


def _events(body: bytes) -> list[dict[str, Any]]:
    out = []
    for frame in body.decode().split("\n\n")[:-1]:
        if frame.startswith(":"):
            continue
        name, data = frame.split("\n")
        event = json.loads(data.removeprefix("data: "))
        assert name == f"event: {event['type']}"
        out.append(event)
    return out


def _said(blocks: list[dict[str, Any]]) -> dict[str, str]:
    return {kind: "".join(b["said"] for b in blocks if b["type"] == kind) for kind in ("text", "thinking")}


def _usage(raw: dict[str, Any]) -> Usage:
    cached = raw["cache_read_input_tokens"]
    return Usage(raw["input_tokens"] + raw["cache_creation_input_tokens"] + cached, raw["output_tokens"], cached)
