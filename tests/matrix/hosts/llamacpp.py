"""Chat Completions as llama.cpp's server writes it: how far the prompt is read, timings in the last chunk, an error as an event of that name.

After the README of its server.
"""

from __future__ import annotations

import json
from typing import Any

from matrix.cases import BUSY, ERROR, USAGE, Reply
from matrix.hosts.compatible import COUNTED, JSON, SSE, chunk, finish, streamed, words

KIND = "llamacpp"
SETTINGS: dict[str, Any] = {}
BASE = "/v1"
MODEL = "qwen3-8b.gguf"
CANNOT = {"refusal": "its finish reasons know of none"}

TIMINGS = {
    "cache_n": USAGE.cached,
    "prompt_n": 7,
    "prompt_ms": 30.5,
    "predicted_n": USAGE.output,
    "predicted_ms": 70.25,
}


def reply(case: str) -> Reply:
    if case == "refusal":
        raise ValueError(CANNOT[case])
    error = {"code": 500, "message": ERROR, "type": "server_error"}
    if case == "error_before":
        return Reply(BUSY, JSON, json.dumps({"error": error | {"code": BUSY, "type": "unavailable_error"}}).encode())
    chunks = [
        chunk({"role": "assistant", "content": None}, prompt_progress=_progress(4)),
        chunk({"role": "assistant", "content": None}, prompt_progress=_progress(USAGE.input)),
        *words(case),
    ]
    if case == "error_after":
        return Reply(200, SSE, b"".join(chunks) + b"error: " + json.dumps(error).encode() + b"\n\n" + _plain(error))
    return streamed(*chunks, chunk({}, finish(case)), chunk(usage=COUNTED, timings=TIMINGS))


def _progress(done: int) -> dict[str, int]:
    return {"total": USAGE.input, "cache": 0, "processed": done, "time_ms": 5}


def _plain(error: dict[str, Any]) -> bytes:
    """Newer servers say it as data."""
    return b"data: " + json.dumps({"error": error}).encode() + b"\n\n"
