"""Tidewire's own: the store in SQLite, the index in memory, and the search over both, put together as the server does it.

The vector of a question is given, so that no time of an embedding model is in the figures.
"""

from __future__ import annotations

import asyncio
import hashlib
import time
from collections.abc import Sequence
from itertools import islice
from pathlib import Path
from typing import Final

import msgspec
from retrieval.parts import SPACE
from retrieval.peers.engine import LIMIT, Files

from tidewire.retrieval.chunk import chunks
from tidewire.retrieval.engines.matrix import Matrix
from tidewire.retrieval.engines.memory import MemoryIndex
from tidewire.retrieval.engines.tantivy_words import TantivyWords
from tidewire.retrieval.ports import Document
from tidewire.retrieval.search import Query, Search
from tidewire.retrieval.stores.sqlite import SqliteStore
from tidewire.retrieval.vectors import quantised
from tidewire.server import runtime

AT_ONCE: Final = 64  # documents in a transaction
BOTH: Final = "words and meaning"
WORDS: Final = "words"


class Given:
    """A `core.ports.Encoder` that knows its answer."""

    name = "given"

    def __init__(self) -> None:
        self.vector = b""

    @property
    def dimensions(self) -> int:
        return len(self.vector) // 4

    async def encode(
        self, texts: Sequence[str], *, query: bool = False, deadline: float | None = None
    ) -> Sequence[bytes]:
        return [self.vector] * len(texts)

    async def close(self) -> None: ...


class TidewireIndex:
    ways = (BOTH, WORDS)

    async def build(self, files: Files, folder: Path) -> None:
        await self.open(folder)
        lines = files.lines()
        while batch := [msgspec.json.decode(line, type=Document) for line in islice(lines, AT_ONCE)]:
            *_, last = await self._store.put(SPACE, batch)
        vectors = iter(files.vectors("vectors.f32"))
        numbers = sorted([row.chunk async for rows in self._store.rows(SPACE) for _, row in rows])
        given = zip(numbers, vectors, strict=True)
        while some := list(islice(given, 5000)):
            await self._store.add_vectors(Given.name, [(chunk, quantised(vector)) for chunk, vector in some])
        await self._index.visible(last.seq, full=True, within=600)

    async def open(self, folder: Path) -> None:
        self._encoder = Given()
        self._store = SqliteStore(folder / "documents.db")
        await self._store.start()
        self._index = MemoryIndex(self._store, TantivyWords(), Matrix, [Given.name])
        await self._index.start()
        while self._index.ready != "full":
            await asyncio.sleep(0.005)
        runtime.settle()
        self._search = {
            BOTH: Search(self._store, self._index, encoder=self._encoder),
            WORDS: Search(self._store, self._index),
        }

    async def find(self, way: str, text: str, vector: bytes, now: float) -> list[str]:
        self._encoder.vector = vector
        found = await self._search[way].find(SPACE, Query(text=text, limit=LIMIT))
        return [one.row.uri for one in found.found]

    async def put(self, name: str, text: str, vector: bytes) -> None:
        digest = hashlib.sha256(text.encode()).hexdigest()
        document = Document(name, "", text, name, digest, time.time(), chunks=tuple(chunks(text)))
        (receipt,) = await self._store.put(SPACE, [document])
        waiting = await self._store.pending(Given.name, 10)
        await self._store.add_vectors(Given.name, [(chunk, quantised(vector)) for chunk, _ in waiting])
        await self._index.visible(receipt.seq, full=True)

    async def delete(self, name: str) -> None:
        await self._store.remove(SPACE, [name])

    async def upkeep(self) -> bool:
        return False

    async def close(self) -> None:
        await self._index.close()
        await self._store.close()
