"""Responses as OpenAI's reference and recorded streams of OpenAI have it.

Source: the OpenAI API reference, "Streaming events", the types of the official Python SDK, and its recorded order of events: every item
is added, filled and done; thoughts come as summaries; an error is told twice, as `error` and as response.failed.
"""

from __future__ import annotations

import json
from typing import Any

from matrix.cases import BUSY, CALLS, ERROR, PIECES, THOUGHT, USAGE, Reply

KIND = "openai-responses"
SETTINGS: dict[str, Any] = {}
BASE = "/v1"
MODEL = "m"
CANNOT: dict[str, str] = {}

COUNTED = {
    "input_tokens": USAGE.input,
    "input_tokens_details": {"cached_tokens": USAGE.cached},
    "output_tokens": USAGE.output,
    "output_tokens_details": {"reasoning_tokens": 0},
    "total_tokens": USAGE.input + USAGE.output,
}


def reply(case: str) -> Reply:
    if case == "error_before":
        error = {"message": ERROR, "type": "requests", "param": None, "code": "rate_limit_exceeded"}
        return Reply(BUSY, {"content-type": "application/json"}, json.dumps({"error": error}).encode())
    said = _Said()
    said.event("response.created", response=said.response("in_progress"))
    said.event("response.in_progress", response=said.response("in_progress"))
    if case == "thinking":
        said.thought("".join(THOUGHT), THOUGHT)
    if case in PIECES:
        said.message(PIECES[case], refusal=case == "refusal", broken=case == "error_after")
    for name, arguments in {"tool_call": CALLS[:1], "parallel_tool_calls": CALLS}.get(case, ()):
        said.call(name, json.dumps(arguments, ensure_ascii=False))
    said.last(case)
    return Reply(200, {"content-type": "text/event-stream; charset=utf-8"}, b"".join(said.frames))


class _Said:
    """The frames of one answer, numbered."""

    def __init__(self) -> None:
        self.frames: list[bytes] = []
        self.output: list[dict[str, Any]] = []

    def event(self, kind: str, **fields: Any) -> None:
        data = {"type": kind, "sequence_number": len(self.frames), **fields}
        text = json.dumps(data, ensure_ascii=False, separators=(",", ":"))
        self.frames.append(f"event: {kind}\ndata: {text}\n\n".encode())

    def response(self, status: str, **more: Any) -> dict[str, Any]:
        head = {"id": "resp_1", "object": "response", "created_at": 1790000000, "status": status, "model": "m"}
        return {**head, "error": None, "incomplete_details": None, "output": self.output, "usage": None, **more}

    def thought(self, text: str, pieces: list[str]) -> None:
        place = {"item_id": "rs_1", "output_index": len(self.output)}
        item = {"id": "rs_1", "type": "reasoning", "summary": []}
        self.event("response.output_item.added", output_index=place["output_index"], item=item)
        place |= {"summary_index": 0}
        self.event("response.reasoning_summary_part.added", **place, part={"type": "summary_text", "text": ""})
        for piece in pieces:
            self.event("response.reasoning_summary_text.delta", **place, delta=piece, obfuscation="xK3")
        part = {"type": "summary_text", "text": text}
        self.event("response.reasoning_summary_text.done", **place, text=text)
        self.event("response.reasoning_summary_part.done", **place, part=part)
        self._done(item | {"summary": [part], "encrypted_content": "gAAAAAB-sealed"})

    def message(self, pieces: list[str], *, refusal: bool, broken: bool) -> None:
        index = len(self.output)
        item = {"id": "msg_1", "type": "message", "status": "in_progress", "role": "assistant", "content": []}
        self.event("response.output_item.added", output_index=index, item=item)
        place = {"item_id": "msg_1", "output_index": index, "content_index": 0}

        def part(text: str) -> dict[str, Any]:
            if refusal:
                return {"type": "refusal", "refusal": text}
            return {"type": "output_text", "annotations": [], "logprobs": [], "text": text}

        self.event("response.content_part.added", **place, part=part(""))
        kind = "response.refusal" if refusal else "response.output_text"
        more = {} if refusal else {"logprobs": []}
        for piece in pieces:
            self.event(f"{kind}.delta", **place, delta=piece, **more)
        if broken:
            return
        text = "".join(pieces)
        self.event(f"{kind}.done", **place, **{"refusal" if refusal else "text": text}, **more)
        self.event("response.content_part.done", **place, part=part(text))
        self._done(item | {"status": "completed", "content": [part(text)]})

    def call(self, name: str, arguments: str) -> None:
        n = len(self.output)
        head = {"id": f"fc_{n}", "type": "function_call", "call_id": f"call_{n}", "name": name}
        place = {"item_id": f"fc_{n}", "output_index": n}
        added = head | {"status": "in_progress", "arguments": ""}
        self.event("response.output_item.added", output_index=n, item=added)
        for at in range(0, len(arguments), 7):
            self.event("response.function_call_arguments.delta", **place, delta=arguments[at : at + 7])
        self.event("response.function_call_arguments.done", **place, arguments=arguments)
        self._done(head | {"status": "completed", "arguments": arguments})

    def last(self, case: str) -> None:
        cut = {"length": "max_output_tokens", "refusal": "content_filter"}.get(case)
        if case == "error_after":
            error = {"code": "server_error", "message": ERROR}
            self.event("error", **error, param=None)
            self.event("response.failed", response=self.response("failed", error=error))
        elif cut is not None:
            details = {"reason": cut}
            final = self.response("incomplete", incomplete_details=details, usage=COUNTED)
            self.event("response.incomplete", response=final)
        else:
            self.event("response.completed", response=self.response("completed", usage=COUNTED))

    def _done(self, item: dict[str, Any]) -> None:
        self.event("response.output_item.done", output_index=len(self.output), item=item)
        self.output.append(item)
