"""Searches of the last seconds, found again: which chunks came out, in which order, with which scores.

No text is kept here, so nothing has to be deleted. What comes out is read from the store anew and looked at as a search looks at
it; where one passage is gone, has expired or may not be read, everything is searched anew.
"""

from __future__ import annotations

import hashlib
import time
from collections import OrderedDict
from collections.abc import Callable
from typing import Any, Final

import msgspec

from tidewire.retrieval.ports import Filter
from tidewire.retrieval.search import Found, Query, Results, Search, allowed

ENTRY: Final = 1000  # bytes that a search takes in memory besides its passages, about
PASSAGE: Final = 700  # bytes for the scores of one
COPY: Final = 40  # bytes for the number of one that is not shown

_encode = msgspec.msgpack.Encoder().encode


class _Kept(msgspec.Struct, frozen=True):
    """made: Unix seconds, as the search began. results: without what was found. scores: the fields of each `Found`, by chunk, best first."""

    made: float
    results: Results
    scores: dict[int, dict[str, Any]]

    @property
    def size(self) -> int:
        return ENTRY + sum(PASSAGE + COPY * len(scores["copies"]) for scores in self.scores.values())


class Recent:
    """A `Finder` around a search. seconds: how long a ranking is used again. limit: bytes of all. clock: Unix seconds.

    The key holds all that a ranking depends on: namespace, groups, the last change of the namespace that the index has taken in
    (finer than its epoch: vectors count), the settings and models that rank, and the query. What remains is time: a passage's age
    counts `seconds` late, at most, and a clock that jumps makes what it leaves behind unusable.
    """

    def __init__(self, search: Search, seconds: float, limit: int, clock: Callable[[], float] = time.time) -> None:
        self._search = search
        self._seconds = seconds
        self._limit = limit
        self._clock = clock
        self._kept: OrderedDict[bytes, _Kept] = OrderedDict()
        self.size = 0

    async def find(self, namespace: str, query: Query) -> Results:
        began, now = time.perf_counter(), self._clock()
        key = self._key(namespace, query)
        kept = None if key is None else self._kept.get(key)
        if kept is not None:
            found = await self._read(namespace, query, kept, now)
            if found is not None:
                took = {"fetch": round((time.perf_counter() - began) * 1000, 3)}
                return msgspec.structs.replace(kept.results, found=found, took=took, cached=True)
        results = await self._search.find(namespace, query)
        if key is not None and not results.notices:
            self._keep(key, results, now)
        return results

    def _key(self, namespace: str, query: Query) -> bytes | None:
        """None while the index is being filled, and for a query that cannot be written down (half a character)."""
        search, index = self._search, self._search.index
        if index.ready != "full":
            return None
        ranking = (
            search.terms,
            None if search.encoder is None else search.encoder.name,
            None if search.reranker is None else (search.reranker.name, search.reranker.candidates),
        )
        asked = msgspec.structs.replace(query, text=" ".join(query.text.split()), deadline=None)
        said = msgspec.structs.asdict(asked) | {"groups": sorted(query.groups), "sources": sorted(query.sources)}
        try:
            raw = _encode((namespace, index.seq(namespace), ranking, said))
        except ValueError:
            return None
        return hashlib.blake2b(raw, digest_size=32).digest()

    async def _read(self, namespace: str, query: Query, kept: _Kept, now: float) -> list[Found] | None:
        """None where it will not do any more."""
        if not 0.0 <= now - kept.made < self._seconds:
            return None
        copies = [copy for scores in kept.scores.values() for copy in scores["copies"]]  # who asks may be told of them
        rows = await self._search.store.fetch(namespace, [*kept.scores, *copies])
        which = Filter(now, query.groups, query.sources, query.since, query.until)
        if any(chunk not in rows or not allowed(rows[chunk], which) for chunk in (*kept.scores, *copies)):
            return None
        return [Found(row=rows[chunk], **scores) for chunk, scores in kept.scores.items()]

    def _keep(self, key: bytes, results: Results, now: float) -> None:
        scores = {one.row.chunk: msgspec.structs.asdict(one) for one in results.found}
        for fields in scores.values():
            del fields["row"]
        self._forget(key)
        self._kept[key] = kept = _Kept(now, msgspec.structs.replace(results, found=[]), scores)
        self.size += kept.size
        while self.size > self._limit:
            self._forget(next(iter(self._kept)))

    def _forget(self, key: bytes) -> None:
        kept = self._kept.pop(key, None)
        if kept is not None:
            self.size -= kept.size
