"""Bedrock's InvokeModelWithResponseStream with a model of Anthropic's: its own events, one to a binary message, in base64.

Source: recorded streams; the last event carries the host's own figures.
"""

from __future__ import annotations

import base64
import json
from typing import Any

from matrix.cases import ERROR, USAGE, Reply
from matrix.hosts import anthropic
from matrix.hosts.bedrock import ENV, PADDING, SETTINGS, STREAM, busy, message

__all__ = ["BASE", "CANNOT", "ENV", "KIND", "MODEL", "SETTINGS", "reply"]

KIND = "bedrock-invoke"
BASE = ""
MODEL = "anthropic.claude-opus-4-6-v1:0"
CANNOT: dict[str, str] = {}

METRICS = {
    "inputTokenCount": USAGE.input,
    "outputTokenCount": USAGE.output,
    "invocationLatency": 738,
    "firstByteLatency": 378,
}


def reply(case: str) -> Reply:
    if case == "error_before":
        return busy()
    events = [json.loads(line[6:]) for line in anthropic.reply(case).body.decode().split("\n") if line[:6] == "data: "]
    out = [chunk(event) for event in events if event["type"] not in ("ping", "error", "message_stop")]
    if case == "error_after":
        out.append(message("exception", "modelStreamErrorException", {"message": ERROR, "originalMessage": "x"}))
    else:
        out.append(chunk({"type": "message_stop", "amazon-bedrock-invocationMetrics": METRICS}))
    return Reply(200, STREAM | {"x-amzn-bedrock-content-type": "application/json"}, b"".join(out))


def chunk(event: dict[str, Any]) -> bytes:
    data = base64.b64encode(json.dumps(event, ensure_ascii=False).encode()).decode()
    return message("event", "chunk", {"bytes": data, "p": PADDING[: len(data) % 40]})
