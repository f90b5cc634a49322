"""The vectors of one namespace and encoder: a matrix of int8, and beside each row what a filter asks.

A scan of 100,000 rows of 384 numbers takes 2 ms, finds what an exact search finds, and makes a deletion one bit. Graphs (HNSW)
were measured to lose a fifth of the neighbours at this size, and to be slow where a filter leaves few rows.
"""

from __future__ import annotations

from collections.abc import Set as AbstractSet
from typing import Any, Final

import numpy as np

from tidewire.retrieval.engines.place import Place
from tidewire.retrieval.ports import Filter, Scored, Vector

cdist: Any
try:
    from simsimd import cdist
except ImportError:  # numpy does the same in ten times the time
    cdist = None

FIRST: Final = 256  # rows; a matrix that is full grows by half
WASTE: Final = 0.25  # of the rows may be dead before they are closed up
BLOCK: Final = 8192  # rows that numpy turns into floats at once
SAMPLED: Final = 32  # of so many scores one is looked at to tell what is high
SPARE: Final = 8


class Matrix:
    """One thread changes it, any may search it: a search sees the rows that were whole when it began."""

    def __init__(self, dimensions: int) -> None:
        self._dimensions = dimensions
        self._rows: dict[int, int] = {}
        self._count = 0
        self._dead = 0
        self._make(FIRST)

    def __len__(self) -> int:
        return len(self._rows)

    @property
    def size(self) -> int:
        return sum(getattr(self, name).nbytes for name in _ARRAYS)

    def put(self, chunk: int, vector: Vector, place: Place) -> None:
        """Replaces what the chunk had. A vector of another length is passed over: it is none of this encoder's."""
        if len(vector.data) != self._dimensions:
            return
        self.remove(chunk)
        if self._count == len(self._chunks):
            self._move(self._count + self._count // 2)
        row = self._count
        self._data[row] = np.frombuffer(vector.data, dtype=np.int8)
        self._scales[row] = vector.scale
        self._chunks[row] = chunk
        self._expires[row] = place.expires
        self._published[row] = place.published
        self._readers[row] = place.readers
        self._sources[row] = place.source
        self._alive[row] = True
        self._rows[chunk] = row
        self._count = row + 1

    def remove(self, chunk: int) -> None:
        row = self._rows.pop(chunk, None)
        if row is None:
            return
        self._alive[row] = False
        self._dead += 1
        if self._dead > FIRST and self._dead > WASTE * self._count:
            self._move(max(FIRST, len(self._rows) + len(self._rows) // 2))

    def search(
        self, vector: bytes, limit: int, which: Filter, readers: AbstractSet[int], sources: AbstractSet[int] | None
    ) -> list[Scored]:
        """readers, sources: numbers that may be read and are wanted; sources None: all. [] for a vector of another length."""
        query = np.frombuffer(vector, dtype="<f4")
        if len(query) != self._dimensions:
            return []
        count = self._count
        data, scales, chunks, alive = self._data, self._scales, self._chunks, self._alive
        wanted = alive[:count] & (self._expires[:count] > which.now)
        if which.since is not None:
            wanted &= self._published[:count] >= which.since
        if which.until is not None:
            wanted &= self._published[:count] <= which.until
        if self._readers[:count].any():
            wanted &= np.isin(self._readers[:count], list(readers))
        if sources is not None:
            wanted &= np.isin(self._sources[:count], list(sources))
        if not wanted.any():
            return []
        scores = np.where(wanted, _products(query, data[:count]) * scales[:count], -np.inf)
        best = _highest(scores, limit)
        return list(zip(chunks[best].tolist(), scores[best].tolist(), strict=True))

    def _make(self, size: int) -> None:
        self._data = np.zeros((size, self._dimensions), dtype=np.int8)
        self._scales = np.zeros(size, dtype=np.float32)
        self._chunks = np.zeros(size, dtype=np.int64)
        self._expires = np.zeros(size, dtype=np.float64)
        self._published = np.zeros(size, dtype=np.float64)
        self._readers = np.zeros(size, dtype=np.int32)
        self._sources = np.zeros(size, dtype=np.int32)
        self._alive = np.zeros(size, dtype=np.bool_)

    def _move(self, size: int) -> None:
        """The living rows into new arrays of this size; a search that runs keeps the old ones."""
        rows = np.flatnonzero(self._alive[: self._count])
        old = {name: getattr(self, name)[rows] for name in _ARRAYS}
        self._make(max(size, len(rows) + FIRST))
        for name, values in old.items():
            getattr(self, name)[: len(rows)] = values
        self._count, self._dead = len(rows), 0
        self._rows = {int(chunk): row for row, chunk in enumerate(self._chunks[: len(rows)])}


_ARRAYS: Final = ("_data", "_scales", "_chunks", "_expires", "_published", "_readers", "_sources", "_alive")


def _highest(scores: Any, limit: int) -> Any:
    """Rows of the highest scores, best first, without those that are no number.

    What every SAMPLED-th score says leaves few rows to choose among: a partition of all would take as long as the products do.
    """
    rows = np.arange(len(scores))
    rank = 2 * (limit // SAMPLED) + SPARE  # among the sampled: above it are twice as many as wanted, and some
    sample = scores[::SAMPLED]
    if rank < len(sample):
        above = np.flatnonzero(scores >= np.partition(sample, -rank)[-rank])
        rows = above if len(above) >= limit else rows
    if len(rows) > limit:
        rows = rows[np.argpartition(-scores[rows], limit - 1)[:limit]]
    rows = rows[np.isfinite(scores[rows])]
    return rows[np.argsort(-scores[rows], kind="stable")]


def _products(query: Any, data: Any) -> Any:
    """The inner products of a vector with all rows, but for the rows' scales. The query is laid on int8, too, for simsimd."""
    if cdist is None:
        blocks = [data[n : n + BLOCK].astype(np.float32) @ query for n in range(0, len(data), BLOCK)]
        return np.concatenate(blocks)
    scale = float(np.abs(query).max()) / 127 or 1.0
    small = np.round(query / scale).astype(np.int8)
    return np.asarray(cdist(small[None], data, "dot"))[0] * scale
