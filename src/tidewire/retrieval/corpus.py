"""The documents as the model that quotes them sees them: passages for a question, and how rare a word is."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Final

from tidewire.core.ports import Passage
from tidewire.retrieval.engines.memory import MemoryIndex
from tidewire.retrieval.search import Finder, Found, Query

PATIENCE: Final = 0.1  # seconds for the meaning of a question: a model that is still being loaded is done without
FILLING: Final = 5.0  # seconds that a question waits for an index that has only just begun to be filled


class Corpus:
    """What `providers.extractive.Corpus` asks for. It quotes several passages of one document, so none is held back for that."""

    def __init__(self, finder: Finder, index: MemoryIndex) -> None:
        self._finder = finder
        self._index = index

    async def search(self, namespace: str, query: str, limit: int) -> Sequence[Passage]:
        if limit < 1:
            return []
        await self._index.filled(FILLING)
        deadline = asyncio.get_running_loop().time() + PATIENCE
        results = await self._finder.find(
            namespace, Query(text=query, limit=limit, per_document=limit, deadline=deadline)
        )
        return [passage(found) for found in results.found]

    async def rarity(self, namespace: str, terms: Sequence[str]) -> dict[str, float]:
        return await self._index.rarity(namespace, terms)

    async def count(self, namespace: str) -> int:
        await self._index.filled(FILLING)
        return self._index.count(namespace)


def passage(found: Found) -> Passage:
    row = found.row
    return Passage(
        source=row.document,
        title=row.title,
        text=row.text,
        start=row.start,
        heading=row.heading,
        uri=row.uri,
        changed=row.published,
        score=found.score,
    )
