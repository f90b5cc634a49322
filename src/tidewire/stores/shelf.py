"""The acknowledged entries of one stream in memory, and the readers that wait for more. Every log keeps its live streams so."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Final

from tidewire.core.events import Entry, StoredEntry
from tidewire.core.ports import Meta

log = logging.getLogger("tidewire.stores")

NOTHING: Final[list[Entry]] = []
PACK: Final = 64  # entries
BROKEN: Final = "a reader could not be woken"


class Shelf:
    """Entries base+1 … last as bytes: the newest one by one, older ones in packs, which take less memory. While readers are woken
    the newest batch is at hand as it was given, so that those at the end decode nothing.
    """

    __slots__ = ("_packs", "_raws", "_waker", "_wakers", "base", "failed", "last", "meta", "size", "tip")

    def __init__(self, meta: Meta, base: int = 0) -> None:
        self.meta = meta
        self.base = base
        self.last = base
        self.failed: Exception | None = None
        self._packs: list[bytes] = []  # PACK entries each, joined by line ends, which JSON on one line holds none of
        self._raws: list[bytes] = []
        self.size = 0  # bytes of entries in memory
        self.tip = NOTHING
        self._waker: Callable[[], None] | None = None  # of the first reader; most streams have one
        self._wakers: list[Callable[[], None]] = []  # of the others

    def publish(self, entries: list[Entry]) -> None:
        """Make acknowledged entries visible and wake the readers."""
        raws = self._raws
        if len(entries) == 1:  # the usual batch: one token
            raw = entries[0].raw
            raws.append(raw)
            self.size += len(raw)
        else:
            new = [entry.raw for entry in entries]
            raws += new
            self.size += sum(map(len, new))
        if len(raws) >= 2 * PACK:
            self._pack()
        self.last = entries[-1].seq
        self.tip = entries
        if self._wakers:
            for wake in self._all():  # a copy: a reader may leave as it is woken
                _call(wake)
        elif self._waker is not None:
            try:
                self._waker()
            except Exception:  # supervisor boundary, as in _call
                log.exception(BROKEN)
        self.tip = NOTHING  # whoever did not take it now reads the bytes: let it go while it is still in the cache

    def fail(self, error: Exception) -> None:
        """No more can be read: readers find the error and end."""
        self.failed = error
        for wake in self._all():
            _call(wake)

    def read(self, after: int, limit: int) -> list[Entry]:
        """Entries after+1 … in memory, at most limit. after must be at least base."""
        tip = self.tip
        into = after - (self.last - len(tip))
        if into >= 0:  # the newest batch is at hand as it was given
            return tip if into == 0 and len(tip) <= limit else tip[into : into + limit]
        return [StoredEntry(after + 1 + i, raw) for i, raw in enumerate(self._slice(after - self.base, limit))]

    def shed(self, room: int, until: int) -> None:
        """Forget the oldest entries, none after `until`, until the rest takes `room` bytes or less; for a log that has them stored."""
        while self.size > room and self._packs and self.base + PACK <= until:
            self.size -= len(self._packs.pop(0)) - (PACK - 1)
            self.base += PACK
        while self.size > room and self._raws and not self._packs and self.base < until:
            self.size -= len(self._raws.pop(0))
            self.base += 1

    def _pack(self) -> None:
        raws = self._raws
        while len(raws) >= 2 * PACK:
            self._packs.append(b"\n".join(raws[:PACK]))
            del raws[:PACK]

    def _slice(self, low: int, limit: int) -> list[bytes]:
        """The bytes of entries low … low + limit, counted from base."""
        packed = len(self._packs) * PACK
        if low >= packed:
            return self._raws[low - packed : low - packed + limit]
        first, skip = divmod(low, PACK)
        out: list[bytes] = []
        for pack in self._packs[first : first + (skip + limit - 1) // PACK + 1]:
            out += pack.split(b"\n")
        return (out + self._raws[: max(0, skip + limit - len(out))])[skip : skip + limit]

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
        log.exception(BROKEN)
