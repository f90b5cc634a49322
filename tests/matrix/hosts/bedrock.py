"""Bedrock's ConverseStream as its reference and recorded streams have it: binary messages, each with its padding.

Source: the Bedrock Runtime reference, "ConverseStream": text and thoughts begin without a start, metadata follows the stop, what was read
from the cache is counted apart, an error inside the stream is a message of its own type.
"""

from __future__ import annotations

import json
import struct
import zlib
from typing import Any

from matrix.cases import BUSY, CALLS, ERROR, PIECES, THOUGHT, USAGE, Reply

KIND = "bedrock"
SETTINGS: dict[str, Any] = {"region": "us-east-1"}
ENV = {"AWS_ACCESS_KEY_ID": "AKIAIOSFODNN7EXAMPLE", "AWS_SECRET_ACCESS_KEY": "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY"}
BASE = ""
MODEL = "us.amazon.nova-2-lite-v1:0"
CANNOT: dict[str, str] = {}

STREAM = {
    "content-type": "application/vnd.amazon.eventstream",
    "x-amzn-requestid": "c3b1a1a8-9d7e-4c60-9e0a-111111111111",
}
PADDING = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789"


def reply(case: str) -> Reply:
    if case == "error_before":
        return busy()
    head = event("messageStart", role="assistant")
    if case == "error_after":
        broken = message("exception", "modelStreamErrorException", {"message": ERROR, "originalStatusCode": 500})
        return Reply(200, STREAM, head + b"".join(words(0, "text", PIECES[case])[:-1]) + broken)
    counted = {
        "inputTokens": USAGE.input - (USAGE.cached or 0),
        "outputTokens": USAGE.output,
        "totalTokens": USAGE.input + USAGE.output,
        "cacheReadInputTokens": USAGE.cached,
        "cacheWriteInputTokens": 0,
        "serverToolUsage": {},
    }
    stop = {"length": "max_tokens", "refusal": "guardrail_intervened"}.get(case)
    stop = stop or ("tool_use" if called(case) else "end_turn")
    last = event("messageStop", stopReason=stop) + event("metadata", usage=counted, metrics={"latencyMs": 1176})
    return Reply(200, STREAM, head + b"".join(spoken(case)) + last)


def busy() -> Reply:
    headers = {
        "content-type": "application/json",
        "x-amzn-errortype": "ThrottlingException:http://internal.amazon.com/",
    }
    return Reply(BUSY, headers, json.dumps({"message": ERROR}).encode())


def spoken(case: str) -> list[bytes]:
    out: list[bytes] = []
    index = 0
    if case == "thinking":
        out += words(0, "reasoning", THOUGHT)[:-1]
        out.append(
            event("contentBlockDelta", contentBlockIndex=0, delta={"reasoningContent": {"signature": "Ep0CCkgI"}})
        )
        out.append(event("contentBlockStop", contentBlockIndex=0))
        index = 1
    if case in PIECES:
        out += words(index, "text", PIECES[case])
    for n, (name, arguments) in enumerate(called(case)):
        start = {"toolUse": {"toolUseId": f"tooluse_{n}", "name": name}}
        out.append(event("contentBlockStart", contentBlockIndex=n, start=start))
        text = json.dumps(arguments, ensure_ascii=False)
        out += words(n, "input", [text[at : at + 7] for at in range(0, len(text), 7)])
    return out


def words(index: int, kind: str, pieces: list[str]) -> list[bytes]:
    """A block in its deltas, and its stop."""
    deltas = {
        "text": lambda piece: {"text": piece},
        "reasoning": lambda piece: {"reasoningContent": {"text": piece}},
        "input": lambda piece: {"toolUse": {"input": piece}},
    }
    said = [event("contentBlockDelta", contentBlockIndex=index, delta=deltas[kind](piece)) for piece in pieces]
    return [*said, event("contentBlockStop", contentBlockIndex=index)]


def called(case: str) -> tuple[tuple[str, dict[str, Any]], ...]:
    return {"tool_call": CALLS[:1], "parallel_tool_calls": CALLS}.get(case, ())


def event(name: str, **payload: Any) -> bytes:
    padding = PADDING[: 3 + len(str(payload)) % 50]
    return message("event", name, payload | {"p": padding})


def message(kind: str, name: str, payload: dict[str, Any]) -> bytes:
    """One binary message with its three headers, all of them text, and its two checksums."""
    headers = b""
    for key, value in ((f":{kind}-type", name), (":content-type", "application/json"), (":message-type", kind)):
        headers += bytes([len(key)]) + key.encode() + b"\x07" + struct.pack(">H", len(value)) + value.encode()
    body = json.dumps(payload, ensure_ascii=False, separators=(",", ":")).encode()
    lengths = struct.pack(">II", 16 + len(headers) + len(body), len(headers))
    whole = lengths + struct.pack(">I", zlib.crc32(lengths)) + headers + body
    return whole + struct.pack(">I", zlib.crc32(whole))
