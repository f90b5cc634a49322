"""Chat Completions as OpenAI's reference and recorded streams have it. Hosts whose bytes differ a little import from here.

Source: the OpenAI API reference, "Chat streaming", and the types of the official Python SDK: every chunk carries usage null until the
last, which has no choices; a tool call has its id and name in the first fragment only.
"""

from __future__ import annotations

import json
from typing import Any

from matrix.cases import BUSY, CALLS, ERROR, PIECES, THOUGHT, USAGE, Reply

KIND = "compatible"
SETTINGS: dict[str, Any] = {}
BASE = "/v1"
MODEL = "m"
CANNOT: dict[str, str] = {}

SSE = {"content-type": "text/event-stream; charset=utf-8"}
JSON = {"content-type": "application/json"}
DONE = b"data: [DONE]\n\n"
HEAD = {"id": "chatcmpl-1", "object": "chat.completion.chunk", "created": 1790000000, "model": "m"}
COUNTED = {
    "prompt_tokens": USAGE.input,
    "completion_tokens": USAGE.output,
    "total_tokens": USAGE.input + USAGE.output,
    "prompt_tokens_details": {"cached_tokens": USAGE.cached, "audio_tokens": 0},
    "completion_tokens_details": {"reasoning_tokens": 0, "audio_tokens": 0},
}


def reply(case: str) -> Reply:
    if case == "error_before":
        return busy()
    chunks = [chunk({"role": "assistant", "content": "", "refusal": None}), *words(case)]
    if case == "error_after":
        return Reply(200, SSE, b"".join(chunks) + event({"error": {"message": ERROR, "type": "server_error"}}))
    return streamed(*chunks, chunk({}, finish=finish(case)), chunk(usage=COUNTED))


def words(case: str, reasoning: str = "reasoning_content") -> list[bytes]:
    """What the model says in a case, chunk by chunk. reasoning: the host's name for the field of thoughts."""
    thoughts = [chunk({reasoning: piece}) for piece in (THOUGHT if case == "thinking" else ())]
    field = "refusal" if case == "refusal" else "content"
    return [*thoughts, *(chunk({field: piece}) for piece in PIECES.get(case, ())), *calls(case)]


def calls(case: str) -> list[bytes]:
    """The id and the name first, then the arguments in pieces of seven characters."""
    out = []
    for index, (name, arguments) in enumerate(called(case)):
        opening = {
            "index": index,
            "id": f"call_{index}",
            "type": "function",
            "function": {"name": name, "arguments": ""},
        }
        out.append(chunk({"tool_calls": [opening]}))
        text = json.dumps(arguments, ensure_ascii=False)
        for at in range(0, len(text), 7):
            out.append(chunk({"tool_calls": [{"index": index, "function": {"arguments": text[at : at + 7]}}]}))
    return out


def called(case: str) -> tuple[tuple[str, dict[str, Any]], ...]:
    return {"tool_call": CALLS[:1], "parallel_tool_calls": CALLS}.get(case, ())


def finish(case: str) -> str:
    special = {"length": "length", "refusal": "content_filter"}
    return special.get(case) or ("tool_calls" if called(case) else "stop")


def chunk(delta: dict[str, Any] | None = None, finish: str | None = None, **more: Any) -> bytes:
    """One event of a stream; without a delta, one that has no choices."""
    choice = {"index": 0, "delta": delta, "logprobs": None, "finish_reason": finish}
    return event(HEAD | {"choices": [] if delta is None else [choice], "usage": None} | more)


def event(value: Any) -> bytes:
    return b"data: " + json.dumps(value, ensure_ascii=False, separators=(",", ":")).encode() + b"\n\n"


def streamed(*chunks: bytes) -> Reply:
    return Reply(200, SSE, b"".join(chunks) + DONE)


def busy(**more: Any) -> Reply:
    error = {"message": ERROR, "type": "requests", "param": None, "code": "rate_limit_exceeded"} | more
    return Reply(BUSY, JSON, json.dumps({"error": error}).encode())
