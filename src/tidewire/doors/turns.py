"""Going on from an answer that ended with tool calls: the request of that turn, what it said, and the results its client sends.

A log holds answers and no questions, so the socket that a stream was started on keeps its request, in memory and bounded.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import msgspec

from tidewire.core.errors import BadRequest, Conflict, NotFound
from tidewire.core.ports import Desk
from tidewire.core.request import Message, Request, ToolResult
from tidewire.core.said import Said
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
        said = Said()
        await replay(desk, meta, said.feed)
        if said.closed is None:  # the log says so before the meta does
            raise Conflict(f"stream {stream} has not ended; its tool calls are complete once it has", param="continue")
        if said.closed.reason != "tool_calls":
            raise BadRequest(f"stream {stream} ended with {said.closed.reason}, and asks for no tool", param="continue")
        given = {result.call for result in results}
        if len(given) != len(results) or given != said.open:
            asked = ", ".join(sorted(said.open))[:200]
            raise BadRequest(
                f"results must hold one result for each of its calls, and no more: {asked}", param="results"
            )
        answered = Message(role="tool", content=list(results))
        before = [] if request.session else [*request.messages, *said.messages()]  # a session has them
        return msgspec.structs.replace(request, stream=None, messages=[*before, answered])
