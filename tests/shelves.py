"""Documents that come, go and expire in two tenants, at random and under a seed: what caches over a search are held against.

The store and the index are the real ones; `Shelves` knows besides, in plain words, what may be served at any moment.
"""

from __future__ import annotations

import asyncio
import contextlib
import random
import re
from collections.abc import AsyncIterator
from pathlib import Path

from tidewire.retrieval.chunk import chunks
from tidewire.retrieval.engines.fts5_words import Fts5Words
from tidewire.retrieval.engines.memory import MemoryIndex
from tidewire.retrieval.ports import Document
from tidewire.retrieval.search import Search
from tidewire.retrieval.stores.sqlite import SqliteStore

TENANTS = ("acme", "acm", "default")
WORDS = ("heron", "tide", "lamp", "stone", "river")
NAMES = tuple(f"{n}.md" for n in range(6))


class Shelves:
    """now: Unix seconds, which a test turns. behind: the index may not have taken in all changes yet.

    Each text ends in its mark: the word v<number>, which is in no other text.
    """

    def __init__(self, seed: int, folder: Path) -> None:
        self.rng = random.Random(seed)
        self.now = 1_800_000_000.0
        self.store = SqliteStore(folder / "documents.db", lambda: self.now)
        self.index = MemoryIndex(self.store, Fts5Words())
        self.search = Search(self.store, self.index, clock=lambda: self.now)
        self._held: dict[tuple[str, str], tuple[str, float | None, tuple[str, ...]]] = {}
        self._marks = 0
        self.behind = False

    @contextlib.asynccontextmanager
    async def open(self) -> AsyncIterator[Shelves]:
        await self.store.start()
        await self.index.start()
        while self.index.ready != "full":
            await asyncio.sleep(0.001)
        try:
            yield self
        finally:
            await self.index.close()
            await self.store.close()

    def readable(self, tenant: str, groups: frozenset[str]) -> set[str]:
        """The marks of all that may be served to them now."""
        return {
            mark
            for (space, _), (mark, expires, readers) in self._held.items()
            if space == tenant
            and (expires is None or expires > self.now)
            and (not readers or not groups.isdisjoint(readers))
        }

    async def change(self, tenant: str = "") -> None:
        """Something happens to a document, and has been acknowledged when this returns; or the clock is set. tenant: "" for any."""
        rng = self.rng
        tenant, name = tenant or rng.choice(TENANTS), rng.choice(NAMES)
        what = rng.choices(["put", "remove", "sweep", "pass", "jump"], [5, 2, 1, 4, 1])[0]
        if what == "put":
            expires = rng.choice([None, None, self.now + 3.0, self.now + 12.0])
            text = "Where the {} stays by the {}, the {} is called".format(*rng.sample(WORDS, 3))
            await self.put(tenant, name, text, expires, rng.choice([(), (), ("staff",)]))
        elif what == "remove":
            self._held.pop((tenant, name), None)
            await self.settled((await self.store.remove(tenant, [name]))[0].seq)
        elif what == "sweep":
            await self.store.expire(self.now)
            await self.settled(await self.store.seq())
            self._held = {at: held for at, held in self._held.items() if held[1] is None or held[1] > self.now}
        elif what == "pass":
            self.now += rng.choice([1.0, 5.0, 20.0])
        else:
            self.now += rng.choice([-3600.0, -8.0, 3600.0, 86400.0])

    async def put(
        self, tenant: str, name: str, text: str, expires: float | None = None, readers: tuple[str, ...] = ()
    ) -> None:
        """The text gets its mark at the end."""
        self._marks += 1
        mark = f"v{self._marks}"
        text = f"{text} {mark}."
        document = Document(
            location=name,
            title=f"about {name}",
            text=text,
            uri=name,
            digest=mark,
            published=self.now - self.rng.randint(0, 9) * 86400.0,
            expires=expires,
            readers=readers,
            chunks=tuple(chunks(text)),
        )
        self._held[tenant, name] = mark, expires, readers
        await self.settled((await self.store.put(tenant, [document]))[0].seq)

    async def settled(self, seq: int) -> None:
        """Sometimes a caller does not wait to see what it has written."""
        self.behind = self.rng.random() < 0.2
        if not self.behind:
            assert await self.index.visible(seq)


def marks(text: str) -> set[str]:
    return set(re.findall(r"\bv\d+\b", text))
