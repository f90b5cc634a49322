"""A client of Responses that reads raw bytes by the rules of OpenAI's reference: items by their index, the end by its own event."""

from __future__ import annotations

import json
from typing import Any

from matrix.cases import PROMPT, SCHEMA, TOOL, Answer, Question, Usage

NAME = "openai_responses"
CANNOT: dict[str, str] = {}

ASKS: dict[str, dict[str, Any]] = {
    "tool_call": {"tools": [{"type": "function", "strict": False, **TOOL}]},
    "parallel_tool_calls": {"tools": [{"type": "function", "strict": False, **TOOL}], "tool_choice": "auto"},
    "thinking": {"reasoning": {"effort": "medium", "summary": "auto"}},
    "structured": {"text": {"format": {"type": "json_schema", "name": "person", "strict": True, "schema": SCHEMA}}},
    "length": {"max_output_tokens": 2},
}
LAST = ("response.completed", "response.incomplete", "response.failed")


def question(case: str, model: str) -> Question:
    items = [{"role": "user", "content": [{"type": "input_text", "text": PROMPT}]}]
    return Question("/v1/responses", {"model": model, "input": items, "stream": True} | ASKS.get(case, {}))


def read(status: int, headers: dict[str, str], body: bytes) -> Answer:
    if status != 200:
        return Answer(finish="error", error=(status, json.loads(body)["error"]["message"]))
    assert headers["content-type"].startswith("text/event-stream")
    frames = [frame.split("\n") for frame in body.decode().split("\n\n") if frame and not frame.startswith(":")]
    events = [json.loads(data.removeprefix("data: ")) for _, data in frames]
    assert [name for name, _ in frames] == [f"event: {e['type']}" for e in events]
    assert [e["sequence_number"] for e in events] == list(range(len(events)))
    assert [e["type"] in LAST for e in events] == [False] * (len(events) - 1) + [True]
    said: dict[tuple[int, str], str] = {}
    for event in events:
        kind = event["type"].removeprefix("response.")
        if kind.endswith(".delta"):
            slot = event["output_index"], kind.removesuffix(".delta")
            said[slot] = said.get(slot, "") + event["delta"]
        elif kind.endswith("text.done"):
            assert said.get((event["output_index"], kind.removesuffix(".done")), "") == event["text"]
    text, thinking = _all(said, "output_text"), _all(said, "reasoning_text") + _all(said, "reasoning_summary_text")
    final = events[-1]["response"]
    if final["status"] == "failed":
        error = final["error"]
        code = None if final["output"] else error["status"]
        return Answer(text=text, thinking=thinking, finish="error", error=(code, error["message"]))
    calls = []
    for index, item in enumerate(final["output"]):
        if item["type"] == "function_call":
            assert said.get((index, "function_call_arguments"), "") == item["arguments"]
            calls.append((item["name"], json.loads(item["arguments"])))
    return Answer(text, thinking, tuple(calls), _finish(final, bool(calls)), _usage(final["usage"]))


def _all(said: dict[tuple[int, str], str], kind: str) -> str:
    return "".join(text for (_, of), text in sorted(said.items()) if of == kind)


def _finish(final: dict[str, Any], called: bool) -> str:
    if final["status"] == "incomplete":
        return {"max_output_tokens": "length", "content_filter": "content_filter"}[
            final["incomplete_details"]["reason"]
        ]
    assert final["status"] == "completed"
    return "tool_calls" if called else "stop"


def _usage(raw: dict[str, Any] | None) -> Usage | None:
    if raw is None:
        return None
    assert raw["total_tokens"] == raw["input_tokens"] + raw["output_tokens"]
    return Usage(raw["input_tokens"], raw["output_tokens"], raw["input_tokens_details"]["cached_tokens"])
