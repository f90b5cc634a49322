"""The documents as the model that quotes them sees them: passages for a question, and how rare a word is."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from typing import Final

from tidewire.core.ports import Passage, Sink
from tidewire.core.request import Request
from tidewire.retrieval.asked import query as query_of
from tidewire.retrieval.asked import retrieved, within
from tidewire.retrieval.engines.memory import MemoryIndex
from tidewire.retrieval.search import Finder, Found
from tidewire.retrieval.watch import Watch

PATIENCE: Final = 0.1  # seconds for the meaning of a question: a model that is still being loaded is done without
FILLING: Final = 5.0  # seconds that a count, and the search behind it, waits for an index that is being filled


class Corpus:
    """What `providers.extractive.Corpus` asks for. It quotes several passages of one document, so none is held back for that.

    groups: whose documents may be quoted. clock: Unix seconds.
    """

    def __init__(
        self,
        finder: Finder,
        index: MemoryIndex,
        watch: Watch,
        groups: frozenset[str] = frozenset(),
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._finder = finder
        self._index = index
        self._watch = watch
        self._groups = groups
        self._clock = clock

    @asynccontextmanager
    async def search(self, request: Request, query: str, limit: int, sink: Sink) -> AsyncIterator[Sequence[Passage]]:
        if limit < 1:
            yield []
            return
        namespace = request.tenant
        began = asyncio.get_running_loop().time()
        asked = query_of(
            request,
            query,
            limit=limit,
            groups=self._groups,
            deadline=began + within(request, PATIENCE),
            per_document=limit,
        )
        results = await self._finder.find(namespace, asked)
        ms = (asyncio.get_running_loop().time() - began) * 1000
        found = self._watch.live(namespace, results.found)
        told = retrieved(namespace, results, found, ms=ms, behind=self._watch.behind, now=self._clock())
        with self._watch.follow(told, sink):
            sink.feed([told])
            yield [passage(one) for one in found]

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
        chunk=row.chunk,
        version=row.version,
    )
