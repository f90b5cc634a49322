"""Chat Completions as OpenRouter writes it: comments while it waits, `reasoning` with its details, errors inside a chunk. After its
documentation of streaming and errors.
"""

from __future__ import annotations

import json
from typing import Any

from matrix.cases import BUSY, ERROR, THOUGHT, Reply
from matrix.hosts.compatible import COUNTED, JSON, SSE, chunk, finish, streamed, words

KIND = "openrouter"
SETTINGS: dict[str, Any] = {}
BASE = "/api/v1"
MODEL = "deepseek/deepseek-r1"
CANNOT: dict[str, str] = {}

WAITING = b": OPENROUTER PROCESSING\n\n"


def reply(case: str) -> Reply:
    if case == "error_before":
        return Reply(BUSY, JSON, json.dumps({"error": {"code": BUSY, "message": ERROR, "metadata": {}}}).encode())
    said = words(case)
    if case == "thinking":
        said[: len(THOUGHT)] = [
            chunk(
                {
                    "role": "assistant",
                    "content": "",
                    "reasoning": piece,
                    "reasoning_details": [{"type": "reasoning.text", "text": piece, "index": 0}],
                }
            )
            for piece in THOUGHT
        ]
    if case == "error_after":
        broken = chunk({"content": ""}, "error", error={"code": 502, "message": ERROR}, provider="DeepSeek")
        return Reply(200, SSE, WAITING + b"".join(said) + broken)
    last = chunk({"role": "assistant", "content": ""}, finish(case), native_finish_reason=finish(case))
    counted = chunk({"role": "assistant", "content": ""}, usage=COUNTED | {"cost": 0.0001})
    return streamed(WAITING, WAITING, *said, last, counted)
