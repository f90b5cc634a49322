"""A reader's place in a log whose older part is on disk."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable

from tidewire.core.errors import Expired, InternalError
from tidewire.core.events import Entry, StoredEntry
from tidewire.core.ports import Meta
from tidewire.stores import schema
from tidewire.stores.readers import Readers
from tidewire.stores.shelf import Shelf

log = logging.getLogger("tidewire.stores")


class StoredShelf(Shelf):
    """sid: the stream's number in the file."""

    __slots__ = ("sid",)

    def __init__(self, meta: Meta, base: int, sid: int) -> None:
        super().__init__(meta, base)
        self.sid = sid


class SqliteCursor:
    """Reads from the shelf; behind its window, from pages fetched meanwhile. left: told of the shelf when the reader goes."""

    __slots__ = ("_closed", "_error", "_fetched", "_fetching", "_first", "_left", "_readers", "_shelf", "_wake", "seq")

    def __init__(
        self,
        shelf: StoredShelf,
        after: int,
        wake: Callable[[], None],
        readers: Readers,
        left: Callable[[StoredShelf], None],
    ) -> None:
        self.seq = after
        self._shelf = shelf
        self._wake = wake
        self._readers = readers
        self._left = left
        self._fetched: list[bytes] = []  # of which _first is the number of the first
        self._first = 0
        self._fetching = False
        self._closed = False
        self._error: Exception | None = None
        shelf.watch(wake)

    def take(self, limit: int) -> list[Entry]:
        shelf = self._shelf
        seq = self.seq
        if seq == shelf.last:
            return []
        if seq >= shelf.base:
            if self._fetched:
                self._fetched = []
            entries = shelf.read(seq, limit)
        elif self._fetched:
            low = seq + 1 - self._first
            entries = [StoredEntry(seq + 1 + i, raw) for i, raw in enumerate(self._fetched[low : low + limit])]
            if low + len(entries) == len(self._fetched):
                self._fetched = []
        else:
            self._fetch()
            return []
        self.seq = seq + len(entries)
        return entries

    @property
    def failed(self) -> Exception | None:
        if self._error is not None:
            return self._error
        error = self._shelf.failed
        if error is None or isinstance(error, Expired) or self.seq == self._shelf.last:
            return error
        return None  # what was stored before the log broke can still be read

    def close(self) -> None:
        if not self._closed:
            self._closed = True
            self._fetched = []
            self._shelf.unwatch(self._wake)
            self._left(self._shelf)

    def _fetch(self) -> None:
        if self._fetching or self._closed or self.failed is not None:
            return
        if self._readers.closed:
            self._error = InternalError("the log is closed: the server is shutting down", code="storage_failed")
            return
        self._fetching = True
        self._readers.fetch(self._shelf.sid, self.seq).add_done_callback(self._take_in)

    def _take_in(self, future: asyncio.Future[list[bytes]]) -> None:
        self._fetching = False
        if future.cancelled():
            self._error = InternalError("the log is closed: the server is shutting down", code="storage_failed")
        elif (error := future.exception()) is not None:
            log.error("events of a stream could not be read: %r", error)
            self._error = (
                schema.broken(error) if isinstance(error, Exception) else InternalError("the read was stopped")
            )
        elif fetched := future.result():
            self._fetched = fetched
            self._first = self.seq + 1
        elif self._shelf.failed is None:
            self._error = Expired(f"stream {self._shelf.meta.stream} was deleted while it was being read")
        if not self._closed:
            self._wake()
