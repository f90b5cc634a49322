"""Ollama's own API.

Source: Ollama's API reference and recorded streams: a line of JSON for each piece, tool calls whole, counts and times in the last line,
which says "stop" for tool calls too. An error in the middle is a line with nothing else.
"""

from __future__ import annotations

import json
from typing import Any

from matrix.cases import BUSY, CALLS, ERROR, PIECES, THOUGHT, USAGE, Reply

KIND = "ollama"
SETTINGS: dict[str, Any] = {}
BASE = ""
MODEL = "llama3.2:latest"
CANNOT = {"refusal": "has no done_reason for it", "usage": "counts no cached tokens"}

LINES = {"content-type": "application/x-ndjson"}
JSON = {"content-type": "application/json; charset=utf-8"}
COUNTED = {
    "total_duration": 174560334,
    "load_duration": 101397084,
    "prompt_eval_count": USAGE.input,
    "prompt_eval_duration": 13074791,
    "eval_count": USAGE.output,
    "eval_duration": 52479709,
}


def reply(case: str) -> Reply:
    if case == "refusal":
        raise LookupError(case)
    if case == "error_before":
        return Reply(BUSY, JSON, json.dumps({"error": ERROR}).encode())
    wire = b"".join(line({"content": "", "thinking": piece}) for piece in (THOUGHT if case == "thinking" else ()))
    wire += b"".join(line({"content": piece}) for piece in PIECES.get(case, ()))
    for index, (name, arguments) in enumerate({"tool_call": CALLS[:1], "parallel_tool_calls": CALLS}.get(case, ())):
        call = {"id": f"call_{index}", "function": {"index": index, "name": name, "arguments": arguments}}
        wire += line({"content": "", "tool_calls": [call]})
    if case == "error_after":
        return Reply(200, LINES, wire + json.dumps({"error": ERROR}).encode() + b"\n")
    reason = "length" if case == "length" else "stop"
    return Reply(200, LINES, wire + line({"content": ""}, done=True, done_reason=reason, **COUNTED))


def line(message: dict[str, Any], *, done: bool = False, **more: Any) -> bytes:
    head = {"model": MODEL, "created_at": "2025-11-20T10:11:12.123456Z", "message": {"role": "assistant"} | message}
    return json.dumps(head | {"done": done} | more, ensure_ascii=False, separators=(",", ":")).encode() + b"\n"
