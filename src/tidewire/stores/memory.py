"""A log in memory: durability class `memory`. What is appended is acknowledged at once."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from typing import Final

import msgspec

from tidewire.core.errors import Conflict, CursorAhead, Expired, UnknownStream
from tidewire.core.events import DurabilityClass, Entry
from tidewire.core.ports import Meta
from tidewire.stores.shelf import Shelf

Key = tuple[str, str]

TOMBSTONES: Final = 10_000  # expired ids remembered, so that a late client hears "expired" and not "unknown"


class MemoryLog:
    durability: DurabilityClass = "memory"

    def __init__(self, ended_bytes: int = 256 * 1024 * 1024) -> None:
        """ended_bytes: what ended streams may hold together; beyond it the oldest of them expire before their time."""
        self._ended: OrderedDict[Key, int] = OrderedDict()
        self._ended_size = 0
        self._ended_limit = ended_bytes
        self._shelves: dict[Key, Shelf] = {}
        self._writers: dict[Key, MemoryWriter] = {}
        self._expired: OrderedDict[Key, None] = OrderedDict()

    async def start(self) -> list[Meta]:
        return []

    async def open(self, meta: Meta, failed: Callable[[Exception], None]) -> MemoryWriter:
        key = (meta.tenant, meta.stream)
        old = self._shelves.get(key)
        if old is not None and old.meta.epoch >= meta.epoch:
            raise Conflict(f"stream {meta.stream} exists already; follow it, or start one with another id")
        if old is None:
            self._expired.pop(key, None)
            self._shelves[key] = old = Shelf(meta)
        else:
            old.meta = meta
            self._ended_size -= self._ended.pop(key, 0)
        writer = self._writers.get(key)
        if writer is not None:
            writer.refuse(
                Conflict(f"stream {meta.stream} was taken over in epoch {meta.epoch}; this writer can add nothing more")
            )
        self._writers[key] = writer = MemoryWriter(old, failed, self._closed)
        return writer

    async def cursor(self, tenant: str, stream: str, after: int, wake: Callable[[], None]) -> MemoryCursor:
        shelf = self._find(tenant, stream)
        if after > shelf.last:
            raise CursorAhead(
                f"cursor {after} is past the end of stream {stream}, whose last event is {shelf.last}", param="after"
            )
        return MemoryCursor(shelf, after, wake)

    async def meta(self, tenant: str, stream: str) -> Meta:
        shelf = self._find(tenant, stream)
        return msgspec.structs.replace(shelf.meta, last=shelf.last)

    async def find(self, tenant: str, *, chat: str | None = None, limit: int = 50) -> list[Meta]:
        found: list[Meta] = []
        for (owner, _), shelf in reversed(self._shelves.items()):
            if owner == tenant and (chat is None or shelf.meta.chat == chat):
                found.append(msgspec.structs.replace(shelf.meta, last=shelf.last))
                if len(found) >= limit:
                    break
        return found

    async def delete(self, tenant: str, stream: str) -> None:
        self._find(tenant, stream)
        self._drop((tenant, stream), "deleted")

    async def expire(self, now: int) -> int:
        over = [k for k, s in self._shelves.items() if s.meta.expires is not None and s.meta.expires <= now]
        for key in over:
            self._drop(key, "expired")
        return len(over)

    def size(self) -> tuple[int, int]:
        live = sum(self._shelves[key].size for key in self._writers)  # not all of them: thousands may have ended
        return len(self._shelves), live + self._ended_size

    async def close(self) -> None:
        self._shelves.clear()
        self._writers.clear()

    def _find(self, tenant: str, stream: str) -> Shelf:
        shelf = self._shelves.get((tenant, stream))
        if shelf is None:
            if (tenant, stream) in self._expired:
                raise Expired(f"stream {stream} has expired or was deleted; start a new one")
            raise UnknownStream(f"there is no stream {stream}")
        return shelf

    def _drop(self, key: Key, how: str) -> None:
        shelf = self._shelves.pop(key)
        self._ended_size -= self._ended.pop(key, 0)
        self._expired[key] = None
        if len(self._expired) > TOMBSTONES:
            self._expired.popitem(last=False)
        shelf.fail(Expired(f"stream {key[1]} was {how} while it was being read"))
        writer = self._writers.pop(key, None)
        if writer is not None:
            writer.refuse(Expired(f"stream {key[1]} has expired or was deleted; start a new one"))

    def _closed(self, shelf: Shelf) -> None:
        key = (shelf.meta.tenant, shelf.meta.stream)
        del self._writers[key]
        self._ended[key] = shelf.size
        self._ended_size += shelf.size
        while self._ended_size > self._ended_limit:
            self._drop(next(iter(self._ended)), "expired")


class MemoryWriter:
    __slots__ = ("_closed", "_dead", "_failed", "_shelf")

    full = False

    def __init__(self, shelf: Shelf, failed: Callable[[Exception], None], closed: Callable[[Shelf], None]) -> None:
        self._shelf = shelf
        self._failed = failed
        self._closed = closed
        self._dead: Exception | None = None

    def append(self, entries: list[Entry]) -> None:
        if self._dead is None:  # what a hand that was refused still gives is not stored
            self._shelf.publish(entries)

    @property
    def size(self) -> int:
        return self._shelf.size

    async def room(self) -> None:
        return

    async def close(self, meta: Meta) -> None:
        if self._dead is not None:
            raise self._dead
        self._shelf.meta = msgspec.structs.replace(meta, last=self._shelf.last)
        self._dead = Conflict(f"stream {meta.stream} has been closed; nothing can be added")
        self._failed = _nobody
        self._closed(self._shelf)

    def refuse(self, error: Exception) -> None:
        """Nothing more can be stored by this hand: say so, once."""
        self._dead = error
        self._failed(error)


class MemoryCursor:
    __slots__ = ("_shelf", "_wake", "seq")

    def __init__(self, shelf: Shelf, after: int, wake: Callable[[], None]) -> None:
        self._shelf = shelf
        self._wake = wake
        self.seq = after
        shelf.watch(wake)

    def take(self, limit: int) -> list[Entry]:
        shelf = self._shelf
        seq = self.seq
        if seq == shelf.last:
            return []
        entries = shelf.tip
        if seq + len(entries) != shelf.last or len(entries) > limit:
            entries = shelf.read(seq, limit)
        self.seq = entries[-1].seq
        return entries

    @property
    def failed(self) -> Exception | None:
        return self._shelf.failed

    def close(self) -> None:
        self._shelf.unwatch(self._wake)


def _nobody(error: Exception) -> None:
    """Told in place of a run that has ended: a writer that held it would keep it until the collector looks."""
