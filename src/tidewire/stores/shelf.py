"""The acknowledged entries of one stream in memory, and the readers that wait for more. Every log keeps its live streams so."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from tidewire.core.events import Entry, StoredEntry
from tidewire.core.ports import Meta

NOTHING: Final[list[Entry]] = []


class Shelf:
    """Entries base+1 … last as bytes. While readers are woken the newest batch is at hand as it was given, so that those at the
    end decode nothing.
    """

    __slots__ = ("_raws", "_watchers", "base", "failed", "last", "meta", "size", "tip")

    def __init__(self, meta: Meta, base: int = 0) -> None:
        self.meta = meta
        self.base = base
        self.last = base
        self.size = 0
        self.failed: Exception | None = None
        self._raws: list[bytes] = []
        self.tip = NOTHING
        self._watchers: list[Callable[[], None]] = []

    def publish(self, entries: list[Entry]) -> None:
        """Make acknowledged entries visible and wake the readers."""
        if len(entries) == 1:  # the usual batch: one token
            raw = entries[0].raw
            self._raws.append(raw)
            self.size += len(raw)
        else:
            raws = [entry.raw for entry in entries]
            self._raws += raws
            self.size += sum(map(len, raws))
        self.last = entries[-1].seq
        self.tip = entries
        for wake in self._watchers if len(self._watchers) < 2 else tuple(self._watchers):
            wake()
        self.tip = NOTHING  # whoever did not take it now reads the bytes: let it go while it is still in the cache

    def fail(self, error: Exception) -> None:
        """No more can be read: readers find the error and end."""
        self.failed = error
        for wake in tuple(self._watchers):
            wake()

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
            self.size = size
            self.base += gone

    def watch(self, wake: Callable[[], None]) -> None:
        self._watchers.append(wake)

    @property
    def watched(self) -> bool:
        return bool(self._watchers)

    def unwatch(self, wake: Callable[[], None]) -> None:
        if wake in self._watchers:
            self._watchers.remove(wake)
