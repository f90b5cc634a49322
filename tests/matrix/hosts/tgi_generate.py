"""Text Generation Inference, its own API, after the API reference of TGI 3: one event a token, details in the last."""

from __future__ import annotations

import json
from typing import Any

from matrix.cases import BUSY, ERROR, PIECES, USAGE, Reply

KIND = "tgi-generate"
SETTINGS: dict[str, Any] = {}
BASE = ""
MODEL = "m"
CANNOT = {
    "tool_call": "completes a plain text, and calls no tools; its chat API does",
    "parallel_tool_calls": "completes a plain text, and calls no tools; its chat API does",
    "thinking": "has no word for thoughts",
    "usage": "counts the tokens of prompt and answer, but none read from a cache",
    "refusal": "has no word for a refusal",
}

SSE = {"content-type": "text/event-stream", "x-compute-type": "gpu+optimized"}
JSON = {"content-type": "application/json"}
SAID = ("text", "structured", "usage", "length", "error_after")


def reply(case: str) -> Reply:
    if case == "error_before":
        return Reply(BUSY, JSON, json.dumps({"error": ERROR, "error_type": "overloaded"}).encode())
    if case not in SAID:
        raise KeyError(case)
    pieces = PIECES[case]
    events = [event(n, piece) for n, piece in enumerate(pieces, 1)]
    if case == "error_after":
        failed = {"error": f"Request failed during generation: {ERROR}", "error_type": "generation"}
        return Reply(200, SSE, b"".join(events) + framed(failed))
    reason = "length" if case == "length" else "eos_token"
    details = {"finish_reason": reason, "generated_tokens": USAGE.output, "input_length": USAGE.input, "seed": None}
    last = {"generated_text": "".join(pieces), "details": details}
    if case == "length":
        events[-1] = event(len(pieces), pieces[-1], **last)
    else:
        events.append(event(len(pieces) + 1, "</s>", special=True, **last))
    return Reply(200, SSE, b"".join(events))


def event(index: int, text: str, *, special: bool = False, **more: Any) -> bytes:
    token = {"id": 100 + index, "text": text, "logprob": -0.25, "special": special}
    return framed({"index": index, "token": token, "generated_text": None, "details": None} | more)


def framed(value: Any) -> bytes:
    return b"data:" + json.dumps(value, ensure_ascii=False, separators=(",", ":")).encode() + b"\n\n"
