"""Going on from an answer that ended with tool calls: the request of that turn, what it said, and the results its client sends.

A log holds answers and no questions, so the socket that a stream was started on keeps its request, in memory and bounded.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import msgspec

from tidewire.core.errors import BadRequest, Conflict, NotFound
from tidewire.core.events import Closed, Delta, Edit, Entry, Event, PartStarted, Signature
from tidewire.core.ports import Desk
from tidewire.core.request import Content, Message, Request, Text, Thought, ToolCall, ToolResult
from tidewire.doors.prefix import replay

KEPT: Final = 32  # requests that a socket remembers


class Turns:
    """The latest requests of one socket. limit: bytes of all that are kept."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._kept: dict[tuple[str, str], tuple[Request, int]] = {}

    def keep(self, tenant: str, stream: str, request: Request) -> None:
        """Only what may come to call tools."""
        if not request.tools:
            return
        self._kept[tenant, stream] = (request, len(msgspec.json.encode(request)))
        while len(self._kept) > KEPT or sum(size for _, size in self._kept.values()) > self._limit:
            del self._kept[next(iter(self._kept))]

    async def go_on(self, desk: Desk, tenant: str, stream: str, results: Sequence[ToolResult]) -> Request:
        """The request that continues this stream. Raises NotFound, Conflict while it runs, BadRequest for results that do not fit."""
        if (tenant, stream) not in self._kept:
            raise NotFound(
                f"this socket did not start {stream[:80]} with tools, or has forgotten it; send the whole conversation as a request",
                code="unknown_turn",
                param="continue",
            )
        request = self._kept[tenant, stream][0]
        meta = await desk.meta(tenant, stream)
        said = _Answer()
        await replay(desk, meta, said.feed)
        if not said.reason:  # the log says so before the meta does
            raise Conflict(f"stream {stream} has not ended; its tool calls are complete once it has", param="continue")
        if said.reason != "tool_calls":
            raise BadRequest(f"stream {stream} ended with {said.reason}, and asks for no tool", param="continue")
        given = {result.call for result in results}
        if len(given) != len(results) or given != said.open:
            asked = ", ".join(sorted(said.open))[:200]
            raise BadRequest(
                f"results must hold one result for each of its calls, and no more: {asked}", param="results"
            )
        answered = Message(role="tool", content=list(results))
        return msgspec.structs.replace(request, stream=None, messages=[*request.messages, *said.messages(), answered])


class _Answer:
    """A log as the messages that it adds to a conversation."""

    def __init__(self) -> None:
        self.reason = ""
        self._parts: dict[int, PartStarted] = {}
        self._texts: dict[int, str] = {}
        self._signatures: dict[int, Signature] = {}

    def feed(self, entries: Sequence[Entry]) -> None:
        for entry in entries:
            self._take(entry.event)

    def _take(self, event: Event) -> None:
        match event:
            case PartStarted(part=part):
                self._parts[part] = event
                self._texts[part] = ""
            case Delta(part=part, text=text):
                self._texts[part] += text
            case Edit(part=part, start=start, end=end, text=text):
                old = self._texts[part]
                self._texts[part] = old[:start] + text + old[end:]
            case Signature(part=part):
                self._signatures[part] = event
            case Closed(reason=reason):
                self.reason = reason
            case _:
                pass

    @property
    def open(self) -> set[str]:
        """Calls without a result in the log itself, which those of a server's own tools have."""
        calls = {p.call or "" for p in self._parts.values() if p.kind == "tool_call"}
        return calls - {p.call for p in self._parts.values() if p.kind == "tool_result"}

    def messages(self) -> list[Message]:
        out: list[Message] = []
        for number, part in self._parts.items():
            content = self._content(part, self._texts[number], self._signatures.get(number))
            if content is None:
                continue
            role = "tool" if isinstance(content, ToolResult) else "assistant"
            if not out or out[-1].role != role:
                out.append(Message(role=role, content=[]))  # type: ignore[arg-type]
            out[-1].content.append(content)
        return out

    @staticmethod
    def _content(part: PartStarted, text: str, signature: Signature | None) -> Content | None:
        proof = signature.value if signature is not None else None
        if part.kind == "thinking":
            return Thought(text=text, signature=proof, redacted=signature is not None and signature.redacted)
        if part.kind in ("tool_call", "server_call"):
            return ToolCall(call=part.call or "", name=part.name or "", arguments=text, signature=proof)
        if part.kind == "tool_result":
            return ToolResult(call=part.call or "", text=text, failed=part.failed, name=part.name)
        return Text(text) if part.kind == "text" and text else None
