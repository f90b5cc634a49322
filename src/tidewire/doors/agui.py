"""The routes of AG-UI: run, and come back to a run."""

from __future__ import annotations

from typing import Protocol

from tidewire.core.errors import BadRequest, CursorAhead
from tidewire.core.ports import Dialect, Meta
from tidewire.doors.call import Call, whole
from tidewire.doors.prefix import replay
from tidewire.doors.responses import NOTHING, Counted
from tidewire.doors.streaming import Streaming


class Agui(Dialect, Protocol):
    """What the routes need of the dialect beyond the port."""

    def stream(self, meta: Meta, after: int = 0) -> Counted: ...


class AGUIRoutes:
    def __init__(self, streaming: Streaming, dialect: Agui) -> None:
        self._streaming = streaming
        self._dialect = dialect

    async def run(self, call: Call) -> None:
        """POST /agui"""
        await self._streaming.start(call, self._dialect)

    async def resume(self, call: Call) -> None:
        """GET /agui/{run}[?after=n], or Last-Event-ID: the events behind n, all without either; 204 where the run had ended there."""
        meta = await self._streaming.desk.meta(call.tenant, call.path["run"])
        came_back = call.headers.get("last-event-id", "").strip()
        after = whole(came_back, "Last-Event-ID") if came_back else call.number("after", 0)
        if after < 0:
            raise BadRequest(f"a cursor is 0 or more, this one is {after}", param="after")
        if after:
            events = self._dialect.stream(meta, NOTHING)
            await replay(self._streaming.desk, meta, events.feed)
            if after > events.count:
                raise CursorAhead(f"after is {after}, and this run has {events.count} events so far", param="after")
            if events.ended and after == events.count:
                await call.reply(204, [("x-tidewire-stream", meta.stream)])
                return
        await self._streaming.follow(call, self._dialect, meta.stream, after)
