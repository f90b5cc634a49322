"""Vertex AI where it differs from the Gemini API: no index, how a chunk is paid for in its usage, arguments value by value, a blocked prompt.

Source: the reference of Vertex AI, "GenerateContentResponse" and "PartialArg", and streams recorded by the AI SDK's tests.
"""

from __future__ import annotations

import json
from typing import Any

from matrix.cases import BUSY, CALLS, Reply
from matrix.hosts import gemini

KIND = "vertex"
SETTINGS: dict[str, Any] = {"project": "p-1", "region": "europe-west1", "api_key_env": "MATRIX_VERTEX_TOKEN"}
ENV = {"MATRIX_VERTEX_TOKEN": "ya29.token"}
BASE = ""
MODEL = gemini.MODEL
CANNOT: dict[str, str] = {}

HEAD = gemini.HEAD | {"createTime": "2026-05-04T20:01:02.264968Z"}
PAID = {"trafficType": "ON_DEMAND"}


def reply(case: str) -> Reply:
    if case == "error_before":
        return Reply(BUSY, gemini.JSON, json.dumps([gemini.error()], indent=2).encode())
    if case == "refusal":
        blocked = {"blockReason": "PROHIBITED_CONTENT", "blockReasonMessage": "The prompt could not be submitted."}
        return Reply(200, gemini.SSE, gemini.event({"promptFeedback": blocked, "usageMetadata": counted()} | HEAD))
    pieces = called(case) or gemini.parts(case)
    chunks = b"".join(chunk(part) for part in pieces)
    if case == "error_after":
        return Reply(200, gemini.SSE, chunks + json.dumps(gemini.error()).encode() + b"\r\n")
    finish = "MAX_TOKENS" if case == "length" else "STOP"
    return Reply(200, gemini.SSE, chunks + chunk({"text": ""}, finishReason=finish))


def called(case: str) -> list[dict[str, Any]]:
    """Each text in two pieces, the empty one that ends it, and the empty call that ends the call."""
    out: list[dict[str, Any]] = []
    for name, args in {"tool_call": CALLS[:1], "parallel_tool_calls": CALLS}.get(case, ()):
        signed = {} if out else {"thoughtSignature": gemini.SIGNATURE}
        out.append({"functionCall": {"name": name, "willContinue": True}} | signed)
        for key, text in args.items():
            for piece in (text[:2], text[2:], ""):
                value = {"jsonPath": f"$.{key}", "stringValue": piece} | ({"willContinue": True} if piece else {})
                out.append({"functionCall": {"partialArgs": [value], "willContinue": True}})
        out.append({"functionCall": {}})
    return out


def chunk(part: dict[str, Any], **more: Any) -> bytes:
    candidate = {"content": {"role": "model", "parts": [part]}} | more
    return gemini.event({"candidates": [candidate], "usageMetadata": counted() if more else PAID} | HEAD)


def counted() -> dict[str, Any]:
    return gemini.counted() | PAID
