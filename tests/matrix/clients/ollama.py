"""A client of Ollama's API that reads raw bytes by the rules of Ollama's reference."""

from __future__ import annotations

import json
from typing import Any

from matrix.cases import PROMPT, SCHEMA, TOOL, Answer, Question, Usage

NAME = "ollama"
CANNOT = {"usage": "counts no cached tokens"}

ASKS: dict[str, dict[str, Any]] = {
    "tool_call": {"tools": [{"type": "function", "function": TOOL}]},
    "parallel_tool_calls": {"tools": [{"type": "function", "function": TOOL}]},
    "thinking": {"think": True},
    "structured": {"format": SCHEMA},
    "length": {"options": {"num_predict": 2}},
}


def question(case: str, model: str) -> Question:
    body = {"model": model, "messages": [{"role": "user", "content": PROMPT}]}
    return Question("/ollama/api/chat", body | ASKS.get(case, {}))


def read(status: int, headers: dict[str, str], body: bytes) -> Answer:
    if status != 200:
        return Answer(finish="error", error=(status, json.loads(body)["error"]))
    assert headers["content-type"] == "application/x-ndjson"
    *texts, rest = body.decode().split("\n")
    assert rest == ""
    *lines, last = [json.loads(text) for text in texts]
    said = {"text": "", "thinking": ""}
    calls: list[tuple[str, dict[str, Any]]] = []
    for line in lines:
        assert line["done"] is False
        said["text"] += line["message"]["content"]
        said["thinking"] += line["message"].get("thinking", "")
        asked = [call["function"] for call in line["message"].get("tool_calls", [])]
        calls += [(function["name"], function["arguments"]) for function in asked]
    if "error" in last:
        return Answer(**said, finish="error", error=(None, last["error"]))
    assert (last["done"], last["message"]["content"]) == (True, "")
    finish = "tool_calls" if calls and last["done_reason"] == "stop" else last["done_reason"]
    usage = Usage(last["prompt_eval_count"], last["eval_count"])
    return Answer(**said, calls=tuple(calls), finish=finish, usage=usage)
