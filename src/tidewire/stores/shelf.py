"""The acknowledged entries of one stream in memory, and the readers that wait for more. Every log keeps its live streams so."""

from __future__ import annotations

from collections.abc import Callable

from tidewire.core.events import Entry
from tidewire.core.ports import Meta


class Shelf:
    """Entries base+1 … last as bytes; of the newest batch the decoded events too, so that a reader at the end decodes nothing."""

    __slots__ = ("_raws", "_tip", "_watchers", "base", "failed", "last", "meta", "size")

    def __init__(self, meta: Meta, base: int = 0) -> None:
        self.meta = meta
        self.base = base
        self.last = base
        self.size = 0
        self.failed: Exception | None = None
        self._raws: list[bytes] = []
        self._tip: list[Entry] = []
        self._watchers: list[Callable[[], None]] = []

    def publish(self, entries: list[Entry]) -> None:
        """Make acknowledged entries visible and wake the readers."""
        raws = self._raws
        size = 0
        for entry in entries:
            raw = entry.raw
            size += len(raw)
            raws.append(raw)
        self.size += size
        self.last += len(entries)
        self._tip = entries
        for wake in self._watchers if len(self._watchers) < 2 else tuple(self._watchers):
            wake()

    def fail(self, error: Exception) -> None:
        """No more can be read: readers find the error and end."""
        self.failed = error
        for wake in tuple(self._watchers):
            wake()

    def read(self, after: int, limit: int) -> list[Entry]:
        """Entries after+1 … in memory, at most limit. after must be at least base."""
        behind = self.last - after
        tip = self._tip
        if behind == len(tip) and behind <= limit:
            return tip
        low = after - self.base
        raws = self._raws[low : low + limit]
        return [Entry(after + 1 + i, raw) for i, raw in enumerate(raws)]

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
            if self.base > self.last - len(self._tip):
                self._tip = []

    def rest(self) -> None:
        """The stream has ended: keep the bytes only."""
        self._tip = []

    def watch(self, wake: Callable[[], None]) -> None:
        self._watchers.append(wake)

    @property
    def watched(self) -> bool:
        return bool(self._watchers)

    def unwatch(self, wake: Callable[[], None]) -> None:
        if wake in self._watchers:
            self._watchers.remove(wake)
