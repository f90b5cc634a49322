"""The index as the rest of the house sees it: a Retriever, and what fills it. SQLite runs on threads of its own."""

from __future__ import annotations

import asyncio
import math
import sqlite3
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Final, TypeVar

import msgspec

from tidewire.core import prose
from tidewire.core.errors import SettingsError
from tidewire.core.ports import Passage
from tidewire.retrieval.documents import Document
from tidewire.retrieval.store import Known, Store

T = TypeVar("T")
DEPTH: Final = 200  # passages that are looked at again after BM25
BEGINNING: Final = 50  # characters into a document that still count as its beginning
QUESTION: Final = 200  # characters of a question that is looked for as it stands
LONGEST: Final = 32  # words of a question that are searched for; more say nothing new and cost time


class Index:
    """Documents of any number of namespaces in one file, or in memory with ":memory:".

    Every call names its namespace. One thread writes and one reads, so that a search never waits for an ingest.
    Raises SettingsError where the file cannot be opened.
    """

    def __init__(self, path: Path | str) -> None:
        try:
            if path != ":memory:":
                Path(path).parent.mkdir(parents=True, exist_ok=True)
            store = Store(path)
            store.prepare()
        except OSError as error:
            raise SettingsError(
                f"the data folder {str(Path(path).parent)!r} cannot be used ({error.strerror}); give another one with --data, "
                "or the right to write there",
                param="data",
            ) from error
        except sqlite3.Error as error:
            raise SettingsError(
                f"the index {str(path)!r} cannot be used ({error}); if it is damaged, delete it and run `tidewire ingest` again",
                param="data",
            ) from error
        self._writer = _Thread(store, "index-writer")
        self._reader = self._writer if path == ":memory:" else _Thread(Store(path), "index-reader")

    async def search(self, namespace: str, query: str, limit: int) -> Sequence[Passage]:
        """The passages that share the query's words, best first, by BM25. [] where it holds no word that means anything.

        Any text will do as a query; none is read as syntax.
        """
        match = expression(query)
        if not match or limit < 1:
            return []
        depth = max(DEPTH, 2 * limit)
        return await self._reader.run(lambda store: rerank(query, store.search(namespace, match, depth))[:limit])

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


def rerank(query: str, passages: Sequence[Passage]) -> list[Passage]:
    """Lift passages whose very heading or title is asked for, and a document's beginning: it says what the thing is."""
    asked = {prose.stem(w) for w in prose.content_words(query)}

    def lifted(p: Passage) -> float:
        own = [{prose.stem(w) for w in prose.content_words(n)} for n in (p.heading.rpartition(" > ")[2], p.title)]
        named = 1.4 if asked in own else 1.2 if any(o and o <= asked for o in own) else 1.0
        return p.score * named * (1.15 if p.start < BEGINNING else 1.0)

    return sorted((msgspec.structs.replace(p, score=lifted(p)) for p in passages), key=lambda p: -p.score)


def expression(query: str) -> str:
    """A full-text expression that finds any of the query's words.

    The question as it stands counts as one more word, a rare one: a heading may ask it, and in documents where every
    passage speaks of streams, "stream" tells none apart. Adjacent words are not looked for as phrases: on the NPL
    collection that took nDCG@10 from 0.45 to 0.38.
    """
    terms = [_quoted(term) for term in prose.content_words(f"{query} {prose.parts(query)}")[:LONGEST]]
    asked = _quoted(query.partition("\n")[0][:QUESTION])
    if terms and asked and asked not in terms:
        terms.append(asked)
    return " OR ".join(terms)


def _quoted(text: str) -> str:
    """The words of a text as one phrase, nothing else of it; empty where there is none."""
    words = " ".join(prose.words(text))
    return f'"{words}"' if words else ""
