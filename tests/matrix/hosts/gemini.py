"""The Gemini API as its reference and recorded streams have it: CRLF, no [DONE], usage in every chunk, a signature with the first call.

Source: the reference of the Gemini API, "GenerateContentResponse", and streams recorded by the AI SDK's tests. An error in the middle is JSON
by itself, which is what Google's SDKs look for.
"""

from __future__ import annotations

import json
from typing import Any

from matrix.cases import BUSY, CALLS, ERROR, PIECES, THOUGHT, USAGE, Reply

KIND = "gemini"
SETTINGS: dict[str, Any] = {}
BASE = ""
MODEL = "gemini-3-pro-preview"
CANNOT: dict[str, str] = {}

SSE = {"content-type": "text/event-stream"}
JSON = {"content-type": "application/json; charset=UTF-8"}
SIGNATURE = "EqUCCqICAb4+9vsh8Pd5taZVoPzSvjWWwzBrvhEQ"
HEAD = {"modelVersion": MODEL, "responseId": "M3iLaY-AI7zTxN8P3Piw4Qg"}


def reply(case: str) -> Reply:
    if case == "error_before":
        return Reply(BUSY, JSON, json.dumps(error(), indent=2).encode())
    chunks = [chunk(part) for part in parts(case)]
    if case == "error_after":
        return Reply(200, SSE, b"".join(chunks) + json.dumps(error(), indent=2).encode() + b"\r\n")
    return Reply(200, SSE, b"".join(chunks) + last(case))


def parts(case: str) -> list[dict[str, Any]]:
    """What the model says in a case, a part a chunk."""
    thoughts = [{"text": piece, "thought": True} for piece in (THOUGHT if case == "thinking" else ())]
    said = [{"text": piece} for piece in (PIECES.get(case, ()) if case != "refusal" else ())]
    called = {"tool_call": CALLS[:1], "parallel_tool_calls": CALLS}.get(case, ())
    calls: list[dict[str, Any]] = [{"functionCall": {"name": name, "args": args}} for name, args in called]
    if calls:
        calls[0]["thoughtSignature"] = SIGNATURE
    return [*thoughts, *said, *calls]


def last(case: str) -> bytes:
    finish = {"length": "MAX_TOKENS", "refusal": "SAFETY"}.get(case, "STOP")
    if case == "refusal":
        return event({"candidates": [{"finishReason": finish, "index": 0}], "usageMetadata": counted()} | HEAD)
    part = {"text": ""} | ({"thoughtSignature": SIGNATURE} if case == "thinking" else {})
    return chunk(part, finishReason=finish)


def chunk(part: dict[str, Any], **more: Any) -> bytes:
    candidate = {"content": {"parts": [part], "role": "model"}} | more | {"index": 0}
    return event({"candidates": [candidate], "usageMetadata": counted(done="finishReason" in more)} | HEAD)


def counted(*, done: bool = True) -> dict[str, Any]:
    output = USAGE.output if done else 1
    return {
        "promptTokenCount": USAGE.input,
        "candidatesTokenCount": output,
        "totalTokenCount": USAGE.input + output,
        "cachedContentTokenCount": USAGE.cached,
        "promptTokensDetails": [{"modality": "TEXT", "tokenCount": USAGE.input}],
    }


def error() -> dict[str, Any]:
    return {"error": {"code": BUSY, "message": ERROR, "status": "RESOURCE_EXHAUSTED"}}


def event(value: Any) -> bytes:
    return b"data: " + json.dumps(value, ensure_ascii=False, separators=(",", ":")).encode() + b"\r\n\r\n"
