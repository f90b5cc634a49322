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
        self._dead = 0
        self._table = _Table(FIRST, dimensions)

    def __len__(self) -> int:
        return len(self._rows)

    @property
    def size(self) -> int:
        return self._table.size

    def put(self, chunk: int, vector: Vector, place: Place) -> None:
        """Replaces what the chunk had, which is found until then. A vector of another length is passed over: it is none of this encoder's."""
        row = self._rows.get(chunk)
        if len(vector.data) != self._dimensions or (row is not None and self._table.holds(row, vector, place)):
            return
        if self._table.count == len(self._table.chunks):
            self._move(self._table.count + self._table.count // 2)
        row = self._rows.get(chunk)
        self._rows[chunk] = self._table.add(chunk, vector, place)
        if row is not None:
            self._let_go(row)

    def remove(self, chunk: int) -> None:
        row = self._rows.pop(chunk, None)
        if row is not None:
            self._let_go(row)

    def _let_go(self, row: int) -> None:
        self._table.alive[row] = False
        self._dead += 1
        if self._dead > FIRST and self._dead > WASTE * self._table.count:
            self._move(max(FIRST, len(self._rows) + len(self._rows) // 2))

    def search(
        self, vector: bytes, limit: int, which: Filter, readers: AbstractSet[int], sources: AbstractSet[int] | None
    ) -> list[Scored]:
        """readers, sources: numbers that may be read and are wanted; sources None: all. [] for a vector of another length."""
        query = np.frombuffer(vector, dtype="<f4")
        table = self._table
        alive = table.alive.copy()  # before the count: of a row that is put again, the old or the new one is among them
        if len(query) != self._dimensions or not table.count:
            return []
        scores = _products(query, table.data[: table.count])
        scores *= table.scales[: len(scores)]
        # Most filters let most rows pass: those that score high are asked first, and all only where too few of them do.
        rows = _promising(scores, limit)
        rows = rows[alive[rows] & table.passing(rows, which, readers, sources)]
        if len(rows) < limit:
            all_of_them = slice(len(scores))
            rows = np.flatnonzero(alive[all_of_them] & table.passing(all_of_them, which, readers, sources))
        best = _highest(scores, rows, limit)
        return list(zip(table.chunks[best].tolist(), scores[best].tolist(), strict=True))

    def _move(self, size: int) -> None:
        """The living rows into a new table of this size; a search that runs keeps the old one."""
        old = self._table
        rows = np.flatnonzero(old.alive[: old.count])
        self._table, self._dead = old.only(rows, max(size, len(rows) + FIRST)), 0
        self._rows = {int(chunk): row for row, chunk in enumerate(old.chunks[rows])}


class _Table:
    """A row for each vector, of which `count` are whole; dead ones among them."""

    def __init__(self, size: int, dimensions: int) -> None:
        self.count = 0
        self.data = np.zeros((size, dimensions), dtype=np.int8)
        self.scales = np.zeros(size, dtype=np.float32)
        self.chunks = np.zeros(size, dtype=np.int64)
        self.expires = np.zeros(size, dtype=np.float64)
        self.published = np.zeros(size, dtype=np.float64)
        self.readers = np.zeros(size, dtype=np.int32)
        self.sources = np.zeros(size, dtype=np.int32)
        self.alive = np.zeros(size, dtype=np.bool_)

    @property
    def size(self) -> int:
        """Bytes."""
        return sum(getattr(self, name).nbytes for name in _COLUMNS)

    def add(self, chunk: int, vector: Vector, place: Place) -> int:
        row = self.count
        self.data[row] = np.frombuffer(vector.data, dtype=np.int8)
        self.scales[row] = vector.scale
        self.chunks[row] = chunk
        self.expires[row] = place.expires
        self.published[row] = place.published
        self.readers[row] = place.readers
        self.sources[row] = place.source
        self.alive[row] = True
        self.count = row + 1
        return row

    def holds(self, row: int, vector: Vector, place: Place) -> bool:
        return (
            self.data[row].tobytes() == vector.data
            and self.scales[row] == np.float32(vector.scale)
            and (self.expires[row], self.published[row]) == (place.expires, place.published)
            and (self.readers[row], self.sources[row]) == (place.readers, place.source)
        )

    def passing(self, rows: Any, which: Filter, readers: AbstractSet[int], sources: AbstractSet[int] | None) -> Any:
        """A boolean for each of the rows, which are numbers or a slice."""
        passes = self.expires[rows] > which.now
        if which.since is not None:
            passes &= self.published[rows] >= which.since
        if which.until is not None:
            passes &= self.published[rows] <= which.until
        restricted = self.readers[rows]
        if restricted.any():
            passes &= np.isin(restricted, list(readers))
        if sources is not None:
            passes &= np.isin(self.sources[rows], list(sources))
        return passes

    def only(self, rows: Any, size: int) -> _Table:
        """These rows alone, with room for so many."""
        new = _Table(size, self.data.shape[1])
        for name in _COLUMNS:
            getattr(new, name)[: len(rows)] = getattr(self, name)[rows]
        new.count = len(rows)
        return new


_COLUMNS: Final = ("data", "scales", "chunks", "expires", "published", "readers", "sources", "alive")


def _promising(scores: Any, limit: int) -> Any:
    """Rows that score highest, in no order, twice as many as wanted and some: as what every SAMPLED-th score says lets expect.

    A partition of all scores would take as long as the products do.
    """
    rank = 2 * (limit // SAMPLED) + SPARE  # among the sampled
    sample = scores[::SAMPLED]
    return (
        np.flatnonzero(scores >= np.partition(sample, -rank)[-rank]) if rank < len(sample) else np.arange(len(scores))
    )


def _highest(scores: Any, rows: Any, limit: int) -> Any:
    """Those of the rows that score highest, best first, without those whose score is no number."""
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
    return np.asarray(cdist(small[None], data, "dot", out_dtype="float32"))[0] * np.float32(scale)
