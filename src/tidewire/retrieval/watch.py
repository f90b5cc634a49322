"""Documents that answers under way were given passages of: when one changes or is taken away, those answers say so."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterator, Sequence

import msgspec

from tidewire.core.events import Retrieved, Superseded
from tidewire.core.meter import SearchMeter
from tidewire.core.ports import Sink
from tidewire.retrieval.ports import Change, Index
from tidewire.retrieval.search import Found


class _Reader(msgspec.Struct, frozen=True, eq=False):
    """An answer, as far as one document goes. version, chunks: what it was given of it."""

    sink: Sink
    version: int
    chunks: list[int]


class Watch:
    """One for each index. A change costs one look for each document that it names. clock: Unix seconds."""

    def __init__(self, index: Index, clock: Callable[[], float] = time.time, meter: SearchMeter | None = None) -> None:
        self._index = index
        self._clock = clock
        self._meter = meter
        self._readers: dict[tuple[str, str], set[_Reader]] = {}
        index.listen(self._changed)

    def __len__(self) -> int:
        """Documents that are followed now."""
        return len(self._readers)

    @property
    def behind(self) -> float:
        """Seconds since the oldest change that searches do not know yet."""
        return round(self._index.lag()[1], 3)

    def live(self, namespace: str, found: Sequence[Found]) -> list[Found]:
        """Without what has changed or gone while the search ran. Follow them before anything is waited for, and no change is missed."""
        now = self._clock()
        return [one for one in found if self._index.live(namespace, one.row.chunk, now)]

    @contextlib.contextmanager
    def follow(self, told: Retrieved, sink: Sink) -> Iterator[None]:
        """Until it is left, the sink is fed one `Superseded` for each document of these passages that changes."""
        mine: dict[tuple[str, str], _Reader] = {}
        for source in told.passages:
            reader = mine.setdefault((told.namespace, source.document), _Reader(sink, source.version, []))
            reader.chunks.append(source.chunk)
        for place, reader in mine.items():
            self._readers.setdefault(place, set()).add(reader)
        try:
            yield
        finally:
            for place, reader in mine.items():
                if (readers := self._readers.get(place)) is not None:
                    readers.discard(reader)
                    if not readers:
                        del self._readers[place]

    def _changed(self, change: Change) -> None:
        for document in change.documents:
            for reader in self._readers.pop((change.namespace, document), ()):
                # A change that takes documents away brings nothing.
                gone = not change.added
                said = Superseded(document=document, version=reader.version, chunks=reader.chunks, deleted=gone)
                reader.sink.feed([said])
                if self._meter is not None:
                    self._meter.superseded(deleted=gone)
