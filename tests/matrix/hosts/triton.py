"""Triton Inference Server's generate extension, after its docs/protocol/extension_generate.md: outputs, and then the body ends."""

from __future__ import annotations

import json
from typing import Any

from matrix.cases import ERROR, PIECES, Reply

KIND = "triton"
SETTINGS: dict[str, Any] = {}
BASE = ""
MODEL = "m"
CANNOT = {
    "tool_call": "completes a plain text, and calls no tools",
    "parallel_tool_calls": "completes a plain text, and calls no tools",
    "thinking": "has no word for thoughts",
    "structured": "has no word for a schema",
    "usage": "counts no tokens; they are counted as they pass",
    "refusal": "has no word for a refusal",
    "error_before": "answers 503 where its queue is full, and never 429",
}

SSE = {"content-type": "text/event-stream; charset=utf-8"}
JSON = {"content-type": "application/json"}
SAID = ("text", "structured", "usage", "length", "error_after")


def reply(case: str) -> Reply:
    if case == "error_before":
        return Reply(503, JSON, json.dumps({"error": ERROR}).encode())
    if case not in SAID:
        raise KeyError(case)
    outputs = [output(text_output=piece) for piece in PIECES[case]]
    if case == "error_after":
        outputs.append(framed({"error": ERROR}))
    elif case != "length":
        outputs.append(output(text_output=""))  # the token that ends an answer has no text
    return Reply(200, SSE, b"".join(outputs))


def output(**fields: Any) -> bytes:
    return framed({"model_name": "m", "model_version": "1"} | fields)


def framed(value: Any) -> bytes:
    return b"data: " + json.dumps(value, ensure_ascii=False, separators=(",", ":")).encode() + b"\n\n"
