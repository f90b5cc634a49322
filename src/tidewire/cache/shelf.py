"""Where answers are kept: the shape, and the one in memory. What is kept longest without being asked for goes first."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Sequence
from typing import Final, Protocol

ENTRY: Final = 256  # bytes that an entry takes beside its answer, about
AHEAD: Final = 1.0  # seconds that an entry may seem to come from the future before the clock is not believed


Place = tuple[str, bytes]  # tenant, key


class Shelf(Protocol):
    """Answers by tenant and key. Times in Unix seconds. Nothing here raises: what cannot be read was never kept."""

    async def get(self, tenant: str, key: bytes) -> tuple[float, bytes] | None:
        """When it was put there, and the answer; None where it is not there, or over its time."""

    def put(self, tenant: str, key: bytes, raw: bytes, documents: Sequence[str] = ()) -> None:
        """documents: ids of those that it was made from."""

    def forget(self, tenant: str, documents: Sequence[str]) -> None:
        """Forget all that was made from one of these documents."""

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
        self._kept: OrderedDict[Place, tuple[float, bytes]] = OrderedDict()
        self._sources: dict[Place, Sequence[str]] = {}
        self._made_from: dict[tuple[str, str], set[Place]] = {}  # by tenant and document
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

    def put(self, tenant: str, key: bytes, raw: bytes, documents: Sequence[str] = ()) -> None:
        self._forget((tenant, key))
        if len(raw) + ENTRY > self._limit:
            return
        self._kept[tenant, key] = (self._now(), raw)
        if documents:
            self._sources[tenant, key] = documents
        for document in documents:
            self._made_from.setdefault((tenant, document), set()).add((tenant, key))
        self.size += len(raw) + ENTRY
        while self.size > self._limit:
            self._forget(next(iter(self._kept)))

    def forget(self, tenant: str, documents: Sequence[str]) -> None:
        for document in documents:
            for place in tuple(self._made_from.get((tenant, document), ())):
                self._forget(place)

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
        for place in tuple(self._kept):
            self._forget(place)

    def _forget(self, place: Place) -> None:
        found = self._kept.pop(place, None)
        if found is None:
            return
        self.size -= len(found[1]) + ENTRY
        for document in self._sources.pop(place, ()):
            others = self._made_from[place[0], document]
            others.discard(place)
            if not others:
                del self._made_from[place[0], document]
