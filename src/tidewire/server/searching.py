"""`doors.search.Searching` over the library."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Any, Final

from tidewire.core.errors import Overloaded
from tidewire.doors.search import Asked
from tidewire.retrieval.ports import Row
from tidewire.retrieval.ranking.duplicates import likeness
from tidewire.retrieval.ranking.recency import PRESETS
from tidewire.retrieval.search import Found, Query
from tidewire.server.library import Library

MOST: Final = 64  # searches at a time: two threads search, and whoever waits behind more is better told to come back


class Searching:
    def __init__(self, library: Library) -> None:
        self._library = library
        self._under_way = 0

    async def find(self, namespace: str, asked: Asked) -> dict[str, Any]:
        """Passages, best first, and what was done without. took: milliseconds by part. Raises Overloaded."""
        if self._under_way >= MOST:
            raise Overloaded(
                f"{MOST} searches are under way, and no more are at a time; try again soon", retry_after=1.0
            )
        self._under_way += 1
        try:
            return await self._find(namespace, asked)
        finally:
            self._under_way -= 1

    async def _find(self, namespace: str, asked: Asked) -> dict[str, Any]:
        deadline = None
        if asked.deadline_ms is not None:
            deadline = asyncio.get_running_loop().time() + asked.deadline_ms / 1000
        results = await self._library.finder.find(
            namespace,
            Query(
                text=asked.query,
                limit=asked.limit,
                groups=frozenset(asked.groups),
                sources=frozenset(asked.sources),
                since=asked.since,
                until=asked.until,
                recency=PRESETS[asked.recency] if asked.recency is not None else None,
                deadline=deadline,
            ),
        )
        hidden = await self._library.store.fetch(
            namespace, [chunk for found in results.found for chunk in found.copies]
        )
        return {
            "passages": [_passage(found, hidden) for found in results.found],
            "epoch": results.epoch,
            "cache": "hit" if results.cached else "miss",
            "ready": self._library.index.ready,
            "recency_weight": results.weight,
            "reranker": results.reranker or None,
            "took_ms": results.took,
            "notices": results.notices,
        }


def _passage(found: Found, hidden: Mapping[int, Row]) -> dict[str, Any]:
    """score: of the parts beside it. lexical, dense: None where that list did not hold it. rerank: in the reranker's own scale; None where it did not read it."""
    row = found.row
    return {
        "document": row.document,
        "version": row.version,
        "title": row.title,
        "heading": row.heading,
        "uri": row.uri,
        "start": row.start,
        "text": row.text,
        "published": row.published,
        "indexed": row.indexed,
        "expires": row.expires,
        "score": round(found.score, 4),
        "parts": {
            "lexical": found.lexical,
            "dense": found.dense,
            "recency": found.recency,
            "lift": found.lift,
            "rerank": found.rerank,
            "copies": len(found.copies),
        },
        "copies": [_copy(row, hidden[chunk]) for chunk in found.copies if chunk in hidden],
    }


def _copy(shown: Row, hidden: Row) -> dict[str, Any]:
    """A passage that is not shown because another says the same. likeness: of their words, 1 for the same text."""
    return {
        "document": hidden.document,
        "title": hidden.title,
        "uri": hidden.uri,
        "published": hidden.published,
        "likeness": round(likeness(shown, hidden), 3),
    }
