"""Cohere's Chat API, version 2.

Source: docs.cohere.com, "Streaming", and recorded streams: events are named twice and end in [DONE]; a tool call is an object; the
plan comes before it; tokens and what is billed are told apart. There is no finish reason for a content filter.
"""

from __future__ import annotations

import json
from typing import Any

from matrix.cases import BUSY, CALLS, ERROR, PIECES, THOUGHT, USAGE, Reply

KIND = "cohere"
SETTINGS: dict[str, Any] = {}
BASE = ""
MODEL = "command-a-03-2025"
CANNOT = {"refusal": "has no finish reason for it"}

SSE = {"content-type": "text/event-stream"}
JSON = {"content-type": "application/json"}
COUNTED = {
    "billed_units": {"input_tokens": 3, "output_tokens": USAGE.output},
    "tokens": {"input_tokens": USAGE.input, "output_tokens": USAGE.output},
    "cached_tokens": USAGE.cached,
}


def reply(case: str) -> Reply:
    if case in CANNOT:
        raise LookupError(case)
    if case == "error_before":
        return Reply(BUSY, JSON, json.dumps({"id": "e1", "message": ERROR}).encode())
    start = {"role": "assistant", "content": [], "tool_plan": "", "tool_calls": [], "citations": []}
    wire = event("message-start", id="m1", delta={"message": start})
    blocks = [("thinking", THOUGHT)] if case == "thinking" else []
    blocks += [("text", PIECES[case])] if case in PIECES else []
    for index, (kind, pieces) in enumerate(blocks):
        wire += event("content-start", index=index, delta=content({"type": kind, kind: ""}))
        wire += b"".join(event("content-delta", index=index, delta=content({kind: piece})) for piece in pieces)
        if case != "error_after":
            wire += event("content-end", index=index)
    wire += called({"tool_call": CALLS[:1], "parallel_tool_calls": CALLS}.get(case, ()))
    end: dict[str, Any] = {"finish_reason": finish(case)}
    end |= {"error": ERROR} if case == "error_after" else {"usage": COUNTED}
    return Reply(200, SSE, wire + event("message-end", delta=end) + b"data: [DONE]\n\n")


def finish(case: str) -> str:
    special = {"length": "MAX_TOKENS", "error_after": "ERROR"}
    return special.get(case) or ("TOOL_CALL" if "tool_call" in case else "COMPLETE")


def called(calls: Any) -> bytes:
    """The name first, then the arguments as Cohere writes them: JSON over several lines."""
    wire = b""
    for index, (name, arguments) in enumerate(calls):
        call = {"id": f"{name}_{index}", "type": "function", "function": {"name": name, "arguments": ""}}
        wire += event("tool-call-start", index=index, delta={"message": {"tool_calls": call}})
        text = json.dumps(arguments, ensure_ascii=False, indent=4)
        for at in range(0, len(text), 7):
            piece = {"function": {"arguments": text[at : at + 7]}}
            wire += event("tool-call-delta", index=index, delta={"message": {"tool_calls": piece}})
        wire += event("tool-call-end", index=index)
    return wire


def content(value: dict[str, Any]) -> dict[str, Any]:
    return {"message": {"content": value}}


def event(kind: str, **fields: Any) -> bytes:
    data = json.dumps({"type": kind} | fields, ensure_ascii=False, separators=(",", ":"))
    return f"event: {kind}\ndata: {data}\n\n".encode()
