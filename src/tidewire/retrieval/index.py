"""The index as the rest of the house sees it: a Retriever, and what fills it. SQLite runs on threads of its own."""

from __future__ import annotations

import asyncio
import itertools
import math
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Final, TypeVar

from tidewire.core import prose
from tidewire.core.ports import Passage
from tidewire.retrieval.documents import Document
from tidewire.retrieval.store import Known, Store

T = TypeVar("T")
LONGEST: Final = 32  # words of a question that are searched for; more say nothing new and cost time


class Index:
    """Documents of any number of namespaces in one file, or in memory with ":memory:".

    Every call names its namespace. One thread writes and one reads, so that a search never waits for an ingest.
    Raises sqlite3.Error where the file cannot be opened.
    """

    def __init__(self, path: Path | str) -> None:
        if path != ":memory:":
            Path(path).parent.mkdir(parents=True, exist_ok=True)
        store = Store(path)
        store.prepare()
        self._writer = _Thread(store, "index-writer")
        self._reader = self._writer if path == ":memory:" else _Thread(Store(path), "index-reader")

    async def search(self, namespace: str, query: str, limit: int) -> Sequence[Passage]:
        """The passages that share the query's words, best first, by BM25. [] where it holds no word that means anything.

        Any text will do as a query; none is read as syntax.
        """
        match = expression(query)
        if not match or limit < 1:
            return []
        return await self._reader.run(lambda store: store.search(namespace, match, limit))

    async def rarity(self, namespace: str, terms: Sequence[str]) -> dict[str, float]:
        """How much each word tells passages apart: ln(1 + passages / (1 + passages that hold it))."""

        def look(store: Store) -> dict[str, float]:
            total = store.count(namespace)
            return {t: math.log(1 + total / (1 + store.holding(namespace, _quoted(t)))) for t in terms}

        return await self._reader.run(look)

    async def count(self, namespace: str) -> int:
        """How many passages there are."""
        return await self._reader.run(lambda store: store.count(namespace))

    async def documents(self, namespace: str) -> list[Known]:
        return await self._reader.run(lambda store: store.documents(namespace))

    async def put(self, namespace: str, documents: Sequence[Document]) -> int:
        """Add or replace documents, all or none; returns the number of their chunks. They are found once it returns."""
        return await self._writer.run(lambda store: store.put(namespace, documents))

    async def remove(self, namespace: str, locations: Sequence[str]) -> int:
        """Delete documents; none of them is found once it returns. `compact` clears their words from the file too."""
        return await self._writer.run(lambda store: store.remove(namespace, locations))

    async def compact(self, namespace: str) -> None:
        await self._writer.run(lambda store: store.compact(namespace))

    async def close(self) -> None:
        await self._reader.close()
        await self._writer.close()


class _Thread:
    """A store and the one thread that may touch it."""

    def __init__(self, store: Store, name: str) -> None:
        self._store = store
        self._pool = ThreadPoolExecutor(max_workers=1, thread_name_prefix=name)
        self._closed = False

    async def run(self, work: Callable[[Store], T]) -> T:
        return await asyncio.get_running_loop().run_in_executor(self._pool, work, self._store)

    async def close(self) -> None:
        if not self._closed:
            self._closed = True
            await self.run(Store.close)
            self._pool.shutdown()


def expression(query: str) -> str:
    """A full-text expression that finds any of the query's words, and rates those that stand side by side higher."""
    terms = prose.words(query)
    kept = [t for t in dict.fromkeys(terms) if t not in prose.STOPWORDS][:LONGEST]
    pairs = [f"{a} {b}" for a, b in itertools.pairwise(terms) if a in kept and b in kept]
    return " OR ".join(_quoted(t) for t in dict.fromkeys(kept + pairs))


def _quoted(text: str) -> str:
    return '"' + text.replace('"', '""') + '"'
