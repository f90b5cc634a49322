"""The acknowledged entries of one stream in memory, and the readers that wait for more. Every log keeps its live streams so."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Final

from tidewire.core.events import Entry, StoredEntry
from tidewire.core.ports import Meta

log = logging.getLogger("tidewire.stores")

NOTHING: Final[list[Entry]] = []


class Shelf:
    """Entries base+1 … last as bytes. While readers are woken the newest batch is at hand as it was given, so that those at the
    end decode nothing.
    """

    __slots__ = ("_raws", "_size", "_sized", "_waker", "_wakers", "base", "failed", "last", "meta", "tip")

    def __init__(self, meta: Meta, base: int = 0) -> None:
        self.meta = meta
        self.base = base
        self.last = base
        self._size = 0  # bytes of the first _sized entries in memory
        self._sized = 0
        self.failed: Exception | None = None
        self._raws: list[bytes] = []
        self.tip = NOTHING
        self._waker: Callable[[], None] | None = None  # of the first reader; most streams have one
        self._wakers: list[Callable[[], None]] = []  # of the others

    def publish(self, entries: list[Entry]) -> None:
        """Make acknowledged entries visible and wake the readers."""
        if len(entries) == 1:  # the usual batch: one token
            self._raws.append(entries[0].raw)
        else:
            self._raws += [entry.raw for entry in entries]
        self.last = entries[-1].seq
        self.tip = entries
        if self._wakers:
            for wake in self._all():  # a copy: a reader may leave as it is woken
                _call(wake)
        elif self._waker is not None:
            _call(self._waker)
        self.tip = NOTHING  # whoever did not take it now reads the bytes: let it go while it is still in the cache

    def fail(self, error: Exception) -> None:
        """No more can be read: readers find the error and end."""
        self.failed = error
        for wake in self._all():
            _call(wake)

    @property
    def size(self) -> int:
        """Bytes in memory. Counted when asked for, each entry once, so that appending a token need not."""
        new = self._raws[self._sized :]
        if new:
            self._sized += len(new)
            self._size += sum(map(len, new))
        return self._size

    def read(self, after: int, limit: int) -> list[Entry]:
        """Entries after+1 … in memory, at most limit. after must be at least base."""
        tip = self.tip
        into = after - (self.last - len(tip))
        if into >= 0:  # the newest batch is at hand as it was given
            return tip if into == 0 and len(tip) <= limit else tip[into : into + limit]
        low = after - self.base
        raws = self._raws[low : low + limit]
        return [StoredEntry(after + 1 + i, raw) for i, raw in enumerate(raws)]

    def shed(self, room: int, until: int) -> None:
        """Forget the oldest entries, none after `until`, until the rest takes `room` bytes; for a log that has them stored."""
        raws = self._raws
        size = self.size
        gone = 0
        most = min(until - self.base, len(raws))
        while size > room and gone < most:
            size -= len(raws[gone])
            gone += 1
        if gone:
            del raws[:gone]
            self._size = size
            self._sized -= gone
            self.base += gone

    def watch(self, wake: Callable[[], None]) -> None:
        if self._waker is None:
            self._waker = wake
        else:
            self._wakers.append(wake)

    @property
    def readers(self) -> int:
        return (self._waker is not None) + len(self._wakers)

    def unwatch(self, wake: Callable[[], None]) -> None:
        if wake == self._waker:
            self._waker = self._wakers.pop(0) if self._wakers else None
        elif wake in self._wakers:
            self._wakers.remove(wake)

    def _all(self) -> list[Callable[[], None]]:
        return [*([] if self._waker is None else [self._waker]), *self._wakers]


def _call(wake: Callable[[], None]) -> None:
    try:
        wake()
    except Exception:  # supervisor boundary: a reader's defect is neither the stream's nor the other readers'
        log.exception("a reader could not be woken")
