"""Chat Completions as Mistral writes it: no role of its own for thoughts but a list of parts, tool calls whole and without index, usage in
the last chunk with a choice. After recorded streams.
"""

from __future__ import annotations

import json
from typing import Any

from matrix.cases import BUSY, ERROR, PIECES, THOUGHT, USAGE, Reply
from matrix.hosts.compatible import JSON, called, chunk, event, finish, streamed

KIND = "mistral"
SETTINGS: dict[str, Any] = {}
BASE = "/v1"
MODEL = "magistral-medium-2507"
CANNOT = {"refusal": "its finish reasons know of none"}

COUNTED = {
    "prompt_tokens": USAGE.input,
    "total_tokens": USAGE.input + USAGE.output,
    "completion_tokens": USAGE.output,
    "prompt_tokens_details": {"cached_tokens": USAGE.cached},
}


def reply(case: str) -> Reply:
    if case == "refusal":
        raise ValueError(CANNOT[case])
    if case == "error_before":
        error = {"object": "error", "message": ERROR, "type": "rate_limited", "param": None, "code": "1300"}
        return Reply(BUSY, JSON, json.dumps(error).encode())
    chunks = [said({"role": "assistant", "content": ""}), *words(case)]
    if case == "error_after":
        broken = event(
            {"object": "error", "error": {"message": ERROR, "type": "internal_server_error", "code": "3000"}}
        )
        return Reply(200, streamed().headers, b"".join(chunks) + broken)
    if calls := called(case):
        given = [
            {"id": f"D681PevK{n}", "function": {"name": name, "arguments": json.dumps(arguments)}}
            for n, (name, arguments) in enumerate(calls)
        ]
        return streamed(*chunks, said({"content": "", "tool_calls": given}, finish(case), usage=COUNTED))
    return streamed(*chunks, said({"content": ""}, finish(case), usage=COUNTED))


def words(case: str) -> list[bytes]:
    if case != "thinking":
        return [said({"content": piece}) for piece in PIECES.get(case, ())]
    thoughts = [[{"type": "thinking", "thinking": [{"type": "text", "text": piece}]}] for piece in THOUGHT]
    texts = [[{"type": "text", "text": piece}] for piece in PIECES[case]]
    return [said({"content": parts}) for parts in (*thoughts, *texts)]


def said(delta: dict[str, Any], finish: str | None = None, **more: Any) -> bytes:
    """Chunks carry no usage but the last."""
    made = json.loads(chunk(delta, finish)[6:])
    del made["usage"]
    return event(made | more)
