"""A client of Chat Completions that reads raw bytes by the rules of OpenAI's reference."""

from __future__ import annotations

import json
from typing import Any

from matrix.cases import PROMPT, SCHEMA, TOOL, Answer, Question, Usage

NAME = "openai_chat"
CANNOT: dict[str, str] = {}

ASKS: dict[str, dict[str, Any]] = {
    "tool_call": {"tools": [{"type": "function", "function": TOOL}]},
    "parallel_tool_calls": {"tools": [{"type": "function", "function": TOOL}], "tool_choice": "auto"},
    "thinking": {"reasoning_effort": "medium"},
    "structured": {
        "response_format": {"type": "json_schema", "json_schema": {"name": "person", "strict": True, "schema": SCHEMA}}
    },
    "length": {"max_tokens": 2},
}


def question(case: str, model: str) -> Question:
    body = {
        "model": model,
        "messages": [{"role": "user", "content": PROMPT}],
        "stream": True,
        "stream_options": {"include_usage": True},
    }
    return Question("/v1/chat/completions", body | ASKS.get(case, {}))


def read(status: int, headers: dict[str, str], body: bytes) -> Answer:
    if status != 200:
        return Answer(finish="error", error=(status, json.loads(body)["error"]["message"]))
    assert headers["content-type"].startswith("text/event-stream")
    texts = {"content": "", "reasoning_content": ""}
    calls: dict[int, list[str]] = {}
    finish = ""
    usage = None
    *lines, done = [line[6:] for line in body.decode().split("\n") if line.startswith("data: ")]
    assert done == "[DONE]"
    for line in lines:
        chunk = json.loads(line)
        if "error" in chunk:
            return Answer(**_said(texts), finish="error", error=(None, chunk["error"]["message"]))
        if chunk.get("usage"):
            usage = _usage(chunk["usage"])
        for choice in chunk["choices"]:
            delta = choice["delta"]
            for field in texts:
                texts[field] += delta.get(field) or ""
            for fragment in delta.get("tool_calls") or []:
                call = calls.setdefault(fragment["index"], ["", ""])
                call[0] += fragment["function"].get("name") or ""
                call[1] += fragment["function"].get("arguments") or ""
            finish = choice["finish_reason"] or finish
    assert list(calls) == list(range(len(calls)))
    asked = tuple((name, json.loads(arguments)) for name, arguments in calls.values())
    return Answer(**_said(texts), calls=asked, finish=finish, usage=usage)


def _said(texts: dict[str, str]) -> dict[str, str]:
    return {"text": texts["content"], "thinking": texts["reasoning_content"]}


def _usage(raw: dict[str, Any]) -> Usage:
    details = raw.get("prompt_tokens_details") or {}
    assert raw["total_tokens"] == raw["prompt_tokens"] + raw["completion_tokens"]
    return Usage(raw["prompt_tokens"], raw["completion_tokens"], details.get("cached_tokens"))
