"""A client of AG-UI that reads raw Server-Sent Events by the schemas of @ag-ui/core 1.0.0."""

from __future__ import annotations

import json
from typing import Any

from matrix.cases import PROMPT, SCHEMA, TOOL, Answer, Question, Usage

NAME = "agui"
CANNOT: dict[str, str] = {}

ASKS: dict[str, dict[str, Any]] = {
    "thinking": {"thinking": {"effort": "medium"}},
    "structured": {
        "responseFormat": {"type": "json_schema", "json_schema": {"name": "person", "strict": True, "schema": SCHEMA}}
    },
    "length": {"maxTokens": 2},
    "parallel_tool_calls": {"toolChoice": "auto"},
}


def question(case: str, model: str) -> Question:
    body = {
        "threadId": "thread",
        "runId": "run/1",  # no id that the server may use for a stream: the matrix asks often
        "state": {},
        "messages": [{"id": "u1", "role": "user", "content": PROMPT}],
        "tools": [TOOL] if "tool_call" in case else [],
        "context": [],
        "forwardedProps": {"model": model} | ASKS.get(case, {}),
    }
    return Question("/agui", body)


def read(status: int, headers: dict[str, str], body: bytes) -> Answer:
    if status != 200:
        return Answer(finish="error", error=(status, json.loads(body)["message"]))
    assert headers["content-type"].startswith("text/event-stream")
    events = [json.loads(line[6:]) for line in body.decode().split("\n") if line.startswith("data: ")]
    first, last = events[0], events[-1]
    assert (first["type"], first["threadId"], first["runId"]) == ("RUN_STARTED", "thread", "run/1")
    calls: dict[str, list[str]] = {}
    ended: set[str] = set()
    for event in events:
        if event["type"] == "TOOL_CALL_START":
            calls[event["toolCallId"]] = [event["toolCallName"], ""]
        elif event["type"] == "TOOL_CALL_ARGS":
            calls[event["toolCallId"]][1] += event["delta"]
        elif event["type"] == "TOOL_CALL_END":
            ended.add(event["toolCallId"])
    text, thinking = (
        "".join(e["delta"] for e in events if e["type"] == f"{family}_MESSAGE_CONTENT")
        for family in ("TEXT", "REASONING")
    )
    if last["type"] == "RUN_ERROR":
        begun = text or thinking or calls
        return Answer(
            text, thinking, finish="error", error=(None if begun else last["metadata"]["status"], last["message"])
        )
    assert last["type"] == "RUN_FINISHED"
    assert ended == set(calls)
    answered = {e["toolCallId"] for e in events if e["type"] == "TOOL_CALL_RESULT"}  # by the server itself
    assert last["outcome"].get("pendingToolCallIds", []) == [call for call in calls if call not in answered]
    return Answer(
        text,
        thinking,
        tuple((name, json.loads(arguments)) for name, arguments in calls.values()),
        last["result"]["reason"],
        _usage(last),
    )


def _usage(last: dict[str, Any]) -> Usage | None:
    [used] = last.get("usage", [{}])
    if "inputTokens" not in used:
        return None
    assert used["totalTokens"] == used["inputTokens"] + used["outputTokens"]
    return Usage(used["inputTokens"], used["outputTokens"], used.get("cachedInputTokens"))
