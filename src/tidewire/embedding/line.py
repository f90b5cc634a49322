"""Texts that wait to be encoded, and which of them go next. Pure: the time is told, never asked for."""

from __future__ import annotations

from typing import Any, Final

import msgspec

from tidewire.embedding.pace import Pace

NEVER: Final = float("inf")
PATIENCE: Final = 1.0  # seconds that documents wait behind queries without a turn


class Item(msgspec.Struct, frozen=True):
    """One text of a call. What goes first: the earlier due, then the caller's turn, then the order of arrival.

    due: seconds, by which it must be encoded; `NEVER` where nobody says. turn: so many turns this caller has had before.
    size: of the text, in units of the pace. call and place: whose it is, and which of the call's texts.
    """

    due: float
    turn: int
    number: int
    size: int
    place: int
    call: Any = None


class Bounds(msgspec.Struct, frozen=True):
    """texts, units: of one batch. seconds: that one batch may take where it has more than one text: a query that comes meanwhile waits so long.

    waiting: texts that may wait.
    """

    texts: int
    units: int
    seconds: float
    waiting: int


class Line:
    """Queries before documents; within each, the largest batch that still meets the earliest deadline.

    The texts of a call take turns with those of other calls, so that a long call delays a short one by little. Where a deadline cannot be
    kept whatever goes next, the text waits behind those whose deadline can.

    For texts of one kind that have all arrived, no choice of batches keeps deadlines that this one misses, as long as the pace is
    right: batches go by deadlines, and a batch that could be larger would have to pay `Pace.fixed` once more.
    """

    def __init__(self, pace: Pace, bounds: Bounds) -> None:
        self.pace = pace
        self.bounds = bounds
        self._queries: list[Item] = []
        self._documents: list[Item] = []
        self._turn = 0  # of the last text that was taken without a deadline
        self._number = 0
        self._behind: float | None = None  # since when documents wait behind queries

    def __len__(self) -> int:
        return len(self._queries) + len(self._documents)

    @property
    def wait(self) -> float:
        """Seconds, about, until what waits now is done."""
        return sum(self.pace.seconds(item.size) for item in (*self._queries, *self._documents))

    def add(self, call: Any, sizes: list[int], due: float | None, *, query: bool) -> None:
        """All texts of a call, by their sizes. Whether there is room is the caller's to ask: len(line) and bounds.waiting."""
        line = self._queries if query else self._documents
        by = NEVER if due is None else due
        line += [
            Item(due=by, turn=self._turn + place, number=self._number, size=size, place=place, call=call)
            for place, size in enumerate(sizes)
        ]
        self._number += 1
        line.sort(key=_order)

    def drop(self, call: Any) -> None:
        """The caller is gone: nothing of it is encoded any more."""
        self._queries = [item for item in self._queries if item.call is not call]
        self._documents = [item for item in self._documents if item.call is not call]

    def take(self, now: float) -> tuple[list[Item], bool]:
        """The next batch, taken out of the line, and whether it is of queries; empty where nothing waits."""
        if not self._documents or not self._queries:
            self._behind = None
        elif self._behind is None:
            self._behind = now
        query = bool(self._queries) and (self._behind is None or now - self._behind < PATIENCE)
        if not query:
            self._behind = None
        line = self._queries if query else self._documents
        batch = self._batch(line, now)
        taken = set(map(id, batch))
        line[:] = [item for item in line if id(item) not in taken]
        self._turn = max((item.turn + 1 for item in batch if item.due == NEVER), default=self._turn)
        return batch, query

    def _batch(self, line: list[Item], now: float) -> list[Item]:
        late: list[Item] = []
        batch: list[Item] = []
        units, by = 0, NEVER
        for item in line:
            if not batch:
                if item.due < now + self.pace.seconds(item.size):
                    late.append(item)
                    continue
                by = item.due
            elif not self._fits(len(batch) + 1, units + item.size, by - now):
                break
            batch.append(item)
            units += item.size
        return batch or self._largest(late)

    def _largest(self, late: list[Item]) -> list[Item]:
        batch: list[Item] = []
        units = 0
        for item in late:
            if batch and not self._fits(len(batch) + 1, units + item.size, NEVER):
                break
            batch.append(item)
            units += item.size
        return batch

    def _fits(self, texts: int, units: int, left: float) -> bool:
        bounds = self.bounds
        return texts <= bounds.texts and units <= bounds.units and self.pace.seconds(units) <= min(left, bounds.seconds)


def _order(item: Item) -> tuple[float, int, int]:
    return item.due, item.turn, item.number
