"""Chat Completions as DeepSeek writes it: thoughts first, usage with cache hits in the finish chunk, comments to keep the line open.

After recorded streams and its documentation.
"""

from __future__ import annotations

from typing import Any

from matrix.cases import ERROR, USAGE, Reply
from matrix.hosts.compatible import SSE, busy, chunk, event, finish, streamed, words

KIND = "deepseek"
SETTINGS: dict[str, Any] = {}
BASE = "/v1"
MODEL = "deepseek-reasoner"
CANNOT = {"structured": "it writes JSON, and keeps to no schema"}

COUNTED = {
    "prompt_tokens": USAGE.input,
    "completion_tokens": USAGE.output,
    "total_tokens": USAGE.input + USAGE.output,
    "prompt_cache_hit_tokens": USAGE.cached,
    "prompt_cache_miss_tokens": USAGE.input - (USAGE.cached or 0),
}


def reply(case: str) -> Reply:
    if case == "error_before":
        return busy(type="unknown_error")
    first = b": keep-alive\n\n" + chunk({"role": "assistant", "content": None, "reasoning_content": ""})
    said = [] if case == "refusal" else words(case)
    if case == "error_after":
        return Reply(200, SSE, first + b"".join(said) + event({"error": {"message": ERROR, "type": "server_error"}}))
    return streamed(first, *said, chunk({"content": "", "reasoning_content": None}, finish(case), usage=COUNTED))
