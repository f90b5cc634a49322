"""From a log to a connection: what is new is rendered and written in one call, each time the log wakes us.

No task and no queue: the reader is a cursor. A client that does not take its bytes makes `wire.clear` false, and the log is
not read for it until it does; what waits for it in this process is the transport's buffer and one batch.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Sequence
from typing import Final

from tidewire.core.errors import InternalError, TidewireError
from tidewire.core.events import Delta, Entry, ErrorInfo
from tidewire.core.ports import Cursor, Renderer
from tidewire.doors.connection import Wire

log = logging.getLogger("tidewire.door")

BATCH: Final = 256  # entries a write: 60 KB of usual tokens

Follow = Callable[[Callable[[], None]], Awaitable[Cursor]]


class Pump:
    """One reader on one connection.

    headers: of a good answer. whole: one document with a content-length, at the end. heartbeat: what fills a silence, b"" for
    nothing. beat: ticks (seconds) of silence before it. refuse: the body of an error before the first byte;
    extra: headers that such an answer carries too. showing: told once that the first words are written, and how far the client is.
    """

    __slots__ = (  # noqa: RUF023 - what every token touches stands together
        "_wire",
        "_over",
        "_take",
        "_renderer",
        "_quiet",
        "_beat",
        "_cursor",
        "_done",
        "_extra",
        "_headers",
        "_heartbeat",
        "_preamble",
        "_refuse",
        "_showing",
        "_whole",
    )

    def __init__(
        self,
        wire: Wire,
        renderer: Renderer,
        *,
        headers: Sequence[tuple[str, str]],
        refuse: Callable[[ErrorInfo], bytes],
        extra: Sequence[tuple[str, str]] = (),
        whole: bool = False,
        preamble: bytes = b"",
        heartbeat: bytes = b"",
        beat: int = 15,
        showing: Callable[[float | None], None] | None = None,
    ) -> None:
        self._wire = wire
        self._renderer = renderer
        self._headers = headers
        self._refuse = refuse
        self._extra = extra
        self._whole = whole
        self._preamble = preamble
        self._heartbeat = heartbeat
        self._beat = beat
        self._showing = showing
        self._quiet = 0
        self._cursor: Cursor | None = None
        self._take: Callable[[int], list] = _none  # type: ignore[type-arg]
        self._over = False
        self._done: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        wire.on_lost = self._finish
        wire.on_free = self.wake
        wire.on_tick = self._tick

    async def run(self, follow: Follow) -> None:
        """Returns when the answer is out, or the client is gone. Raises what `follow` raises, with nothing written."""
        cursor = await follow(self.wake)
        if self._done.done() or self._wire.gone:  # the client left meanwhile
            cursor.close()
            return
        self._cursor = cursor
        self._take = cursor.take if self._showing is None else self._first_words
        try:
            if self._preamble:
                self._wire.begin(self._headers, self._preamble)
            self.wake()
            await self._done
        finally:
            self._finish()

    def wake(self) -> None:
        """There may be more in the log. Never raises: a defect here breaks this connection and no other."""
        wire = self._wire
        if self._over or not wire.clear:
            return
        try:
            while entries := self._take(BATCH):
                renderer = self._renderer
                data = renderer.feed(entries)
                if renderer.ended:
                    self._last(data)
                    return
                if data:
                    self._quiet = 0
                    if wire.started:
                        wire.send(data)
                    else:
                        wire.begin(self._headers, data)
                # whoever took less than a batch has taken all; or what was written is more than the client takes
                if len(entries) < BATCH or not wire.clear:
                    return
            if self._cursor is not None and self._cursor.failed is not None:
                self._broken(self._cursor.failed)
        except Exception:  # supervisor boundary
            log.exception("a reader failed; its connection is closed, the stream goes on")
            wire.abort()

    def _first_words(self, limit: int) -> list[Entry]:
        """`Cursor.take` until there are words. They are written from here, so that no later token pays for a look whether it is the first."""
        assert self._cursor is not None
        assert self._showing is not None
        take = self._cursor.take
        entries = take(limit)
        if not any(type(entry.event) is Delta for entry in entries):
            return entries

        def again(limit: int) -> list[Entry]:
            self._take = take
            return entries

        self._take = again
        self.wake()
        self._showing(self._wire.way)
        return []

    def _last(self, data: bytes) -> None:
        wire = self._wire
        failure = self._renderer.failure
        self._over = True
        if not wire.started and failure is not None:
            self._fail(failure)
        elif self._whole:
            wire.answer(200, self._headers, data)
        elif wire.started:
            wire.end(wire.chunk(data) if data else b"")
        else:
            wire.end(wire.head(200, self._headers) + (wire.chunk(data) if data else b""))
        self._finish()

    def _fail(self, info: ErrorInfo) -> None:
        self._wire.answer(info.status, [*error_headers(info, self._refuse), *self._extra], self._refuse(info))

    def _broken(self, error: Exception) -> None:
        """The log can give no more."""
        if self._wire.started:
            self._wire.abort()  # the client sees an answer that is not whole, and may come back
        else:
            known = (
                error if isinstance(error, TidewireError) else InternalError("the log of this stream cannot be read")
            )
            self._over = True
            self._fail(known.info())
        self._finish()

    def _tick(self, now: float) -> None:
        self._quiet += 1
        if self._quiet >= self._beat and self._heartbeat and self._wire.clear:
            self._quiet = 0
            if self._wire.started:
                self._wire.send(self._heartbeat)
            else:  # no word for so long that proxies would give up: the status is 200 from here on
                self._wire.begin(self._headers, self._heartbeat)

    def _finish(self) -> None:
        self._over = True
        self._take = _none
        cursor, self._cursor = self._cursor, None
        if cursor is not None:
            cursor.close()
        if not self._done.done():
            self._done.set_result(None)


def error_headers(info: ErrorInfo, shape: Callable[[ErrorInfo], bytes]) -> list[tuple[str, str]]:
    headers = [("content-type", "application/json"), ("cache-control", "no-store")]
    if info.retry_after is not None:
        headers.append(("retry-after", f"{max(1, round(info.retry_after))}"))
    more = getattr(shape, "headers", None)  # of a dialect that says some of an error there
    return headers if more is None else [*headers, *more(info)]


def _none(limit: int) -> list[object]:
    return []
