"""Chat Completions as Groq writes it: `reasoning`, whole tool calls, usage and times under x_groq, errors as an event of that name.

After recorded streams and its documentation.
"""

from __future__ import annotations

import json
from typing import Any

from matrix.cases import ERROR, USAGE, Reply
from matrix.hosts.compatible import SSE, busy, called, chunk, finish, streamed, words

KIND = "groq"
SETTINGS: dict[str, Any] = {}
BASE = "/openai/v1"
MODEL = "qwen/qwen3-32b"
CANNOT = {"refusal": "its finish reasons know of none"}

COUNTED = {
    "queue_time": 0.17,
    "prompt_tokens": USAGE.input,
    "prompt_time": 0.0008,
    "completion_tokens": USAGE.output,
    "completion_time": 3.2,
    "total_tokens": USAGE.input + USAGE.output,
    "total_time": 3.2008,
    "prompt_tokens_details": {"cached_tokens": USAGE.cached},
}


def reply(case: str) -> Reply:
    if case == "refusal":
        raise ValueError(CANNOT[case])
    if case == "error_before":
        return busy(type="tokens")
    first = chunk({"role": "assistant", "content": ""}, x_groq={"id": "req_1", "seed": 1})
    if case == "error_after":
        error = json.dumps({"error": {"message": ERROR, "type": "server_error"}}).encode()
        return Reply(200, SSE, first + b"".join(words(case)) + b"event: error\ndata: " + error + b"\n\n")
    said = words(case, "reasoning")
    if calls := called(case):
        said = [
            chunk({"tool_calls": [{"id": f"abc{n}", "type": "function", "function": _function(*call), "index": n}]})
            for n, call in enumerate(calls)
        ]
    last = chunk({}, finish(case), x_groq={"id": "req_1", "usage": COUNTED})
    return streamed(first, *said, last)


def _function(name: str, arguments: dict[str, Any]) -> dict[str, str]:
    return {"name": name, "arguments": json.dumps(arguments)}
