"""Where answers are kept: the shape, and the one in memory. What is kept longest without being asked for goes first."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from typing import Final, Protocol

ENTRY: Final = 256  # bytes that an entry takes beside its answer, about
AHEAD: Final = 1.0  # seconds that an entry may seem to come from the future before the clock is not believed


class Shelf(Protocol):
    """Answers by tenant and key. Times in Unix seconds. Nothing here raises: what cannot be read was never kept."""

    async def get(self, tenant: str, key: bytes) -> tuple[float, bytes] | None:
        """When it was put there, and the answer; None where it is not there, or over its time."""

    def put(self, tenant: str, key: bytes, raw: bytes) -> None: ...

    async def clear(self, tenant: str) -> int:
        """Forget all of a tenant's at once; returns how many."""

    async def count(self, tenant: str) -> tuple[int, int]:
        """Answers of this tenant, and their bytes."""

    def sweep(self) -> None:
        """To be called now and then: forget what is over its time."""

    @property
    def size(self) -> int:
        """Bytes held for all tenants."""

    async def close(self) -> None: ...


def fresh(made: float, now: float, ttl: float) -> bool:
    """Whether an answer made then will do now. One of the future will not: the clock was put back."""
    return -AHEAD <= now - made < ttl


class MemoryShelf:
    """limit: bytes. ttl: seconds. now: Unix seconds."""

    def __init__(self, limit: int, ttl: float, now: Callable[[], float]) -> None:
        self._limit = limit
        self._ttl = ttl
        self._now = now
        self._kept: OrderedDict[tuple[str, bytes], tuple[float, bytes]] = OrderedDict()
        self.size = 0

    async def get(self, tenant: str, key: bytes) -> tuple[float, bytes] | None:
        found = self._kept.get((tenant, key))
        if found is None:
            return None
        if not fresh(found[0], self._now(), self._ttl):
            self._forget((tenant, key))
            return None
        self._kept.move_to_end((tenant, key))
        return found

    def put(self, tenant: str, key: bytes, raw: bytes) -> None:
        self._forget((tenant, key))
        if len(raw) + ENTRY > self._limit:
            return
        self._kept[tenant, key] = (self._now(), raw)
        self.size += len(raw) + ENTRY
        while self.size > self._limit:
            self._forget(next(iter(self._kept)))

    async def clear(self, tenant: str) -> int:
        gone = [place for place in self._kept if place[0] == tenant]
        for place in gone:
            self._forget(place)
        return len(gone)

    async def count(self, tenant: str) -> tuple[int, int]:
        sizes = [len(raw) + ENTRY for (whose, _), (_, raw) in self._kept.items() if whose == tenant]
        return len(sizes), sum(sizes)

    def sweep(self) -> None:
        now = self._now()
        for place in [p for p, (made, _) in self._kept.items() if not fresh(made, now, self._ttl)]:
            self._forget(place)

    async def close(self) -> None:
        self._kept.clear()
        self.size = 0

    def _forget(self, place: tuple[str, bytes]) -> None:
        found = self._kept.pop(place, None)
        if found is not None:
            self.size -= len(found[1]) + ENTRY
