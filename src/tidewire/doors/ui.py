"""The routes that `useChat` calls: start, come back, stop. An id in a path names a chat, or one answer (a run)."""

from __future__ import annotations

from typing import Protocol

from tidewire.core.errors import CursorAhead, UnknownStream
from tidewire.core.ports import Dialect, Meta
from tidewire.doors.call import Call
from tidewire.doors.prefix import replay
from tidewire.doors.responses import NOTHING, Counted
from tidewire.doors.streaming import Streaming


class UI(Dialect, Protocol):
    """What the routes need of the dialect beyond the port."""

    def stream(self, meta: Meta, after: int = 0) -> Counted: ...


class UIRoutes:
    def __init__(self, streaming: Streaming, dialect: UI) -> None:
        self._streaming = streaming
        self._dialect = dialect

    async def start(self, call: Call) -> None:
        """POST /api/chat"""
        await self._streaming.start(call, self._dialect)

    async def resume(self, call: Call) -> None:
        """GET /api/chat/{id}/stream[?startIndex=n]. A chat's running answer from its first chunk, or 204 where none runs.

        With startIndex (the transport of @ai-sdk/workflow) an answer that has ended is read too; n < 0 counts from the tail.
        """
        meta, by_chat = await self._find(call)
        indexed = "startIndex" in call.query
        if meta is None or (by_chat and meta.ended is not None and not indexed):
            await call.reply(204, [])
            return
        after = 0
        if indexed and (index := call.number("startIndex", 0)) != 0:
            chunks = self._dialect.stream(meta, NOTHING)
            await replay(self._streaming.desk, meta, chunks.feed)
            if index > chunks.count:
                raise CursorAhead(
                    f"startIndex is {index}, and this stream has {chunks.count} chunks", param="startIndex"
                )
            after = index if index > 0 else max(0, chunks.count + index)
            call.extra.append(("x-workflow-stream-tail-index", str(chunks.count - 1)))
        await self._streaming.follow(call, self._dialect, meta.stream, after)

    async def stop(self, call: Call) -> None:
        """POST /api/chat/{id}/stop"""
        meta, _ = await self._find(call)
        if meta is None:
            raise UnknownStream("there is no chat or run with this id")
        stopped = await self._streaming.desk.cancel(call.tenant, meta.stream)
        await call.json({"stream": meta.stream, "cancelled": stopped})

    async def _find(self, call: Call) -> tuple[Meta | None, bool]:
        """The run of this id, or the newest of the chat of this id; and which of the two the id was."""
        name = call.path["id"]
        try:
            return await self._streaming.desk.meta(call.tenant, name), False
        except UnknownStream:
            metas = await self._streaming.desk.find(call.tenant, chat=name, limit=1)
            return (metas[0] if metas else None), True
