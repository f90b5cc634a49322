"""Chat Completions as vLLM writes it: `reasoning`, an error in a line of its own and [DONE] after it, times in the last chunk. After its
protocol modules and its page on metrics of a request.
"""

from __future__ import annotations

import json
from typing import Any

from matrix.cases import BUSY, ERROR, Reply
from matrix.hosts.compatible import COUNTED, JSON, chunk, event, finish, streamed, words

KIND = "vllm"
SETTINGS: dict[str, Any] = {}
BASE = "/v1"
MODEL = "Qwen/Qwen3-8B"
CANNOT = {"refusal": "its finish reasons know of none"}

TIMES = {"queue_time_ms": 1.5, "time_to_first_token_ms": 20.0, "generation_time_ms": 300.0, "mean_itl_ms": 10.0}


def reply(case: str) -> Reply:
    if case == "refusal":
        raise ValueError(CANNOT[case])
    if case == "error_before":
        error = {"message": ERROR, "type": "TooManyRequests", "param": None, "code": BUSY}
        return Reply(BUSY, JSON, json.dumps({"error": error}).encode())
    chunks = [chunk({"role": "assistant", "content": ""}), *words(case, "reasoning")]
    if case == "error_after":
        error = {"message": ERROR, "type": "InternalServerError", "param": None, "code": 500}
        return streamed(*chunks, event({"error": error}))
    return streamed(*chunks, chunk({}, finish(case)), chunk(usage=COUNTED, metrics=TIMES))
