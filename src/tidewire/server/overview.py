"""`doors.library.Library`: what is indexed, what waits, what was not taken, what is being done about it."""

from __future__ import annotations

import asyncio
import time
from typing import Any, Final

from tidewire.retrieval.ports import AGES, Shelf
from tidewire.server.documents import Documents
from tidewire.server.library import Library
from tidewire.server.reindexing import Reindexing

SHARE: Final = 0.05  # of the time of the thread that reads


class Overview:
    """largest: bytes of a document that can be put over HTTP."""

    def __init__(self, library: Library, documents: Documents, reindexing: Reindexing, largest: int) -> None:
        self._library = library
        self._largest = largest
        self._documents = documents
        self._reindexing = reindexing
        self._counting = asyncio.Lock()
        self._counted: dict[str, tuple[float, list[Shelf]]] = {}  # by namespace, until when, on the loop's clock

    async def look(self, namespace: str) -> dict[str, Any]:
        """ages: seconds, None for any, and how many documents are no older. behind: changes that no search sees yet.

        encoder: None where search is by words alone: then nothing waits for a vector.
        """
        index, encoder = self._library.index, self._library.search.encoder
        shelves = await self._shelves(namespace)
        pending = sum(one.pending for one in shelves) if encoder is not None else 0
        return {
            "documents": sum(one.documents for one in shelves),
            "chunks": sum(one.chunks for one in shelves),
            "characters": sum(one.size for one in shelves),
            "pending": pending,
            "expiring": sum(one.expiring for one in shelves),
            "ages": [[age, sum(one.ages[n] for one in shelves)] for n, age in enumerate((*AGES, None))],
            "shelves": [_shelf(one, words_alone=encoder is None) for one in shelves],
            "sources": self._documents.sources(namespace),
            "troubles": self._documents.troubles(namespace),
            "epoch": index.epoch(namespace),
            "ready": index.ready,
            "behind": index.lag()[0],
            "encoder": encoder.name if encoder is not None else None,
            "largest": self._largest,
            "job": self._reindexing.job(namespace),
        }

    async def _shelves(self, namespace: str) -> list[Shelf]:
        """Searches wait for the thread that counts, so it is not asked for more than a share of its time, however many pages look."""
        now = asyncio.get_running_loop().time
        async with self._counting:
            until, shelves = self._counted.get(namespace, (0.0, []))
            begun = now()
            if begun < until:
                return shelves
            shelves = await self._library.store.shelves(namespace, time.time())
            self._counted = {name: kept for name, kept in self._counted.items() if kept[0] > begun}
            self._counted[namespace] = now() + (now() - begun) / SHARE, shelves
            return shelves

    async def passages(self, namespace: str, document: str, *, after: int, limit: int) -> list[Any] | None:
        store = self._library.store
        waiting = dict(await store.chunks(namespace, document, after=after, limit=limit))
        rows = await store.fetch(namespace, list(waiting))
        now = time.time()
        live = [row for _, row in sorted(rows.items()) if row.expires is None or row.expires > now]
        if not live and after == 0:
            return None
        embeds = self._library.search.encoder is not None
        return [
            {
                "chunk": row.chunk,
                "start": row.start,
                "heading": row.heading,
                "text": row.text,
                "pending": embeds and waiting[row.chunk],
            }
            for row in live
        ]


def _shelf(shelf: Shelf, *, words_alone: bool) -> dict[str, Any]:
    return {
        "source": shelf.source,
        "documents": shelf.documents,
        "chunks": shelf.chunks,
        "pending": 0 if words_alone else shelf.pending,
        "oldest": shelf.oldest,
        "newest": shelf.newest,
        "indexed": shelf.indexed,
        "expiring": shelf.expiring,
    }
