"""Chat Completions as Text Generation Inference writes it: empty object names, usage without what was cached, errors as one word and its type.

After the documentation of its Messages API and of its error answers.
"""

from __future__ import annotations

import json
from typing import Any

from matrix.cases import BUSY, ERROR, USAGE, Reply
from matrix.hosts.compatible import JSON, SSE, chunk, event, finish, streamed, words

KIND = "huggingface"
SETTINGS: dict[str, Any] = {}
BASE = "/v1"
MODEL = "tgi"
CANNOT = {"refusal": "its finish reasons know of none", "usage": "it does not say how much of the prompt was cached"}

COUNTED = {
    "prompt_tokens": USAGE.input,
    "completion_tokens": USAGE.output,
    "total_tokens": USAGE.input + USAGE.output,
}


def reply(case: str) -> Reply:
    if case == "refusal":
        raise ValueError(CANNOT[case])
    if case == "error_before":
        return Reply(BUSY, JSON, json.dumps({"error": ERROR, "error_type": "overloaded"}).encode())
    said = words(case, "reasoning")
    if case == "error_after":
        return Reply(200, SSE, b"".join(said) + event({"error": ERROR, "error_type": "generation"}))
    last = chunk({"role": "assistant", "content": ""}, finish(case))
    return streamed(*said, last, chunk(usage=COUNTED))
