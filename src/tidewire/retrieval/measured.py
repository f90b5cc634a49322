"""The last look at passages before they go out, and the one place where searches are counted."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable
from typing import Final

import msgspec

from tidewire.core.meter import SearchMeter
from tidewire.retrieval.search import WORDS_LATE, Finder, Found, Query, Results

log = logging.getLogger("tidewire.retrieval")

LATE: Final = "dense:late"
FAILED: Final = "dense:"


class Measured:
    """A `Finder` around another. clock: Unix seconds.

    What a search gives was looked at when it began. A passage that expired while it ran is held back here; one that had expired
    before is held back too, and counted: it should have come no further than the index.
    """

    def __init__(self, finder: Finder, meter: SearchMeter, clock: Callable[[], float] = time.time) -> None:
        self._finder = finder
        self._meter = meter
        self._clock = clock

    async def find(self, namespace: str, query: Query) -> Results:
        started, asked = time.perf_counter(), self._clock()
        how = "failed"
        took: dict[str, float] = {}
        found: list[Found] = []
        try:
            results = await self._finder.find(namespace, query)
            how, took = _how(results), results.took
            found = self._handed_out(results.found, asked)
        except asyncio.CancelledError:
            how = "abandoned"
            raise
        finally:
            parts = {part: ms / 1000 for part, ms in took.items()}
            self._meter.searched(how, found=bool(found), seconds=time.perf_counter() - started, took=parts)
        return results if len(found) == len(results.found) else msgspec.structs.replace(results, found=found)

    def _handed_out(self, found: list[Found], asked: float) -> list[Found]:
        now = self._clock()
        out: list[Found] = []
        for one in found:
            row = one.row
            if row.expires is not None and row.expires <= min(asked, now):
                self._meter.expired_served()
                log.error("a search let an expired passage through; it was held back", extra={"chunk": row.chunk})
            elif row.expires is None or row.expires > now:
                self._meter.served(max(0.0, now - row.published), max(0.0, now - row.indexed))
                out.append(one)
        return out


def _how(results: Results) -> str:
    if results.cached:
        return "cached"
    if WORDS_LATE in results.notices:
        return "words_late"
    for notice in results.notices:
        if notice.startswith(FAILED):
            return "encoder_late" if notice == LATE else "encoder_failed"
    return "hybrid" if "dense" in results.took else "words"
