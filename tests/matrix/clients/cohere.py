"""A client of Cohere's Chat API, version 2, that reads raw bytes by the rules of docs.cohere.com."""

from __future__ import annotations

import json
from typing import Any

from matrix.cases import PROMPT, SCHEMA, TOOL, Answer, Question, Usage

NAME = "cohere"
CANNOT = {"refusal": "has no finish reason for it"}

ASKS: dict[str, dict[str, Any]] = {
    "tool_call": {"tools": [{"type": "function", "function": TOOL}]},
    "parallel_tool_calls": {"tools": [{"type": "function", "function": TOOL}]},
    "thinking": {"thinking": {"type": "enabled"}},
    "structured": {"response_format": {"type": "json_object", "json_schema": SCHEMA}},
    "length": {"max_tokens": 2},
}
FINISH = {"COMPLETE": "stop", "STOP_SEQUENCE": "stop", "MAX_TOKENS": "length", "TOOL_CALL": "tool_calls"}


def question(case: str, model: str) -> Question:
    body = {"model": model, "messages": [{"role": "user", "content": PROMPT}], "stream": True}
    return Question("/v2/chat", body | ASKS.get(case, {}))


def read(status: int, headers: dict[str, str], body: bytes) -> Answer:
    if status != 200:
        return Answer(finish="error", error=(status, json.loads(body)["message"]))
    assert headers["content-type"].startswith("text/event-stream")
    *frames, done, rest = body.decode().split("\n\n")
    assert (done, rest) == ("data: [DONE]", "")
    said = {"text": "", "thinking": ""}
    kinds: dict[int, str] = {}
    calls: dict[int, list[str]] = {}
    open_now: set[tuple[str, int]] = set()
    events = [read_event(frame) for frame in frames if not frame.startswith(":")]
    assert events[0]["type"] == "message-start"
    for event in events[1:-1]:
        what, _, step = event["type"].rpartition("-")
        index = event["index"]
        message = event.get("delta", {}).get("message", {})
        if step == "start":
            open_now.add((what, index))
        else:
            assert (what, index) in open_now
        if step == "end":
            open_now.remove((what, index))
        elif event["type"] == "content-start":
            kinds[index] = message["content"]["type"]
        elif event["type"] == "content-delta":
            said[kinds[index]] += message["content"][kinds[index]]
        elif event["type"] == "tool-call-start":
            calls[index] = [message["tool_calls"]["function"]["name"], message["tool_calls"]["function"]["arguments"]]
        elif event["type"] == "tool-call-delta":
            calls[index][1] += message["tool_calls"]["function"]["arguments"]
    end = events[-1]
    assert end["type"] == "message-end"
    if end["delta"]["finish_reason"] == "ERROR":
        return Answer(**said, finish="error", error=(None, end["delta"]["error"]))
    assert not open_now
    assert list(calls) == list(range(len(calls)))
    return Answer(
        **said,
        calls=tuple((name, json.loads(arguments)) for name, arguments in calls.values()),
        finish=FINISH[end["delta"]["finish_reason"]],
        usage=usage(end["delta"]["usage"]),
    )


def read_event(frame: str) -> dict[str, Any]:
    name, data = frame.split("\n")
    event: dict[str, Any] = json.loads(data.removeprefix("data: "))
    assert name == f"event: {event['type']}"
    return event


def usage(raw: dict[str, Any]) -> Usage:
    return Usage(raw["tokens"]["input_tokens"], raw["tokens"]["output_tokens"], raw.get("cached_tokens"))
