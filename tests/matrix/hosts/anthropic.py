"""Anthropic Messages as its reference and recorded streams have it.

Source: "Streaming Messages", "Errors" and "Handling stop reasons" of the Messages reference: every event is named, ping may stand anywhere,
the usage of message_start is replaced by that of message_delta, which counts what was read from the cache apart.
"""

from __future__ import annotations

import json
from typing import Any

from matrix.cases import BUSY, CALLS, ERROR, PIECES, THOUGHT, USAGE, Reply

KIND = "anthropic"
SETTINGS: dict[str, Any] = {}
BASE = ""
MODEL = "claude-opus-4-6"
CANNOT: dict[str, str] = {}

SSE = {"content-type": "text/event-stream; charset=utf-8"}
JSON = {"content-type": "application/json"}
COUNTED = {
    "input_tokens": USAGE.input - (USAGE.cached or 0),
    "cache_creation_input_tokens": 0,
    "cache_read_input_tokens": USAGE.cached,
}
MESSAGE = {
    "model": MODEL,
    "id": "msg_01QC4g3HwBThD4BaNtBckFDJ",
    "type": "message",
    "role": "assistant",
    "content": [],
    "stop_reason": None,
    "stop_sequence": None,
    "stop_details": None,
    "usage": COUNTED | {"output_tokens": 1, "service_tier": "standard", "inference_geo": "not_available"},
}


def reply(case: str) -> Reply:
    if case == "error_before":
        error = {"type": "error", "error": {"type": "rate_limit_error", "message": ERROR}, "request_id": "req_011CSHoE"}
        return Reply(BUSY, JSON | {"request-id": "req_011CSHoE"}, json.dumps(error).encode())
    blocks = spoken(case)
    head = event("message_start", message=MESSAGE)
    if case == "error_after":
        broken = event(
            "error", error={"details": None, "type": "overloaded_error", "message": ERROR}, request_id="req_1"
        )
        return Reply(200, SSE, head + blocks[0].rpartition(b"event: content_block_stop")[0] + broken)
    stop = {"length": "max_tokens", "refusal": "refusal"}.get(case) or ("tool_use" if called(case) else "end_turn")
    details = {"type": "refusal", "category": None, "explanation": PIECES["refusal"][0]} if case == "refusal" else None
    delta = {"stop_reason": stop, "stop_sequence": None, "stop_details": details}
    last = event("message_delta", delta=delta, usage=COUNTED | {"output_tokens": USAGE.output})
    return Reply(200, SSE, head + event("ping") + b"".join(blocks) + last + event("message_stop"))


def spoken(case: str) -> list[bytes]:
    """The content blocks of a case, each from its start to its stop."""
    out: list[bytes] = []

    def block(start: dict[str, Any], deltas: list[dict[str, Any]]) -> None:
        index = len(out)
        pieces = [event("content_block_delta", index=index, delta=d) for d in deltas]
        begun = event("content_block_start", index=index, content_block=start)
        out.append(b"".join([begun, *pieces, event("content_block_stop", index=index)]))

    if case == "thinking":
        thoughts = [{"type": "thinking_delta", "thinking": piece} for piece in THOUGHT]
        proof = {"type": "signature_delta", "signature": "EqQBCgIYAhIM1gbcDa9GJwZA2b3hGgxBdjrkzLoky3dl1pk="}
        block({"type": "thinking", "thinking": "", "signature": ""}, [*thoughts, proof])
    if case != "refusal" and case in PIECES:
        block({"type": "text", "text": ""}, [{"type": "text_delta", "text": piece} for piece in PIECES[case]])
    for n, (name, arguments) in enumerate(called(case)):
        text = json.dumps(arguments, ensure_ascii=False)
        parts = ["", *(text[at : at + 7] for at in range(0, len(text), 7))]
        start = {"type": "tool_use", "id": f"toolu_{n}", "name": name, "input": {}, "caller": {"type": "direct"}}
        block(start, [{"type": "input_json_delta", "partial_json": part} for part in parts])
    return out


def called(case: str) -> tuple[tuple[str, dict[str, Any]], ...]:
    return {"tool_call": CALLS[:1], "parallel_tool_calls": CALLS}.get(case, ())


def event(kind: str, **more: Any) -> bytes:
    """One event, its JSON padded with spaces as the host's often is."""
    data = json.dumps({"type": kind} | more, ensure_ascii=False, separators=(",", ":"))
    return f"event: {kind}\ndata: {data}{' ' * (len(data) % 7)}\n\n".encode()
