"""The index in memory, kept in step with a store: what it knows of each chunk, its words, its vectors.

It is filled in the background, words before vectors, and answers meanwhile with what is there. From then on it follows the
store's changes. One thread changes the engines; searches have threads of their own, and all engines let go of the interpreter
while they search.
"""

from __future__ import annotations

import asyncio
import functools
import logging
import math
import sys
import time
from collections.abc import Callable, Sequence
from collections.abc import Set as AbstractSet
from concurrent.futures import ThreadPoolExecutor
from typing import Final, Literal, TypeVar

from tidewire.core.meter import SearchMeter
from tidewire.retrieval.engines.dense import Dense, Elsewhere
from tidewire.retrieval.engines.difference import differences
from tidewire.retrieval.engines.lexical import Lexical
from tidewire.retrieval.engines.place import Place
from tidewire.retrieval.engines.spare import give_back
from tidewire.retrieval.ports import Change, Filter, Row, Scored, Store, Vector

log = logging.getLogger("tidewire.retrieval")

T = TypeVar("T")
SEARCHERS: Final = 2  # threads: more cores than that are seldom free
AGAIN: Final = 1.0  # seconds until a store that failed is asked again
CATCH_UP: Final = 200  # changes taken in at once


class MemoryIndex:
    """A `retrieval.ports.Index`. matrix: makes the vectors' engine for so many dimensions; None: words alone.

    elsewhere: what it holds is kept in no matrix.
    encoders: names whose vectors are loaded; the first is the one that `visible(full=True)` waits for. clock: seconds; wall: Unix seconds.
    """

    def __init__(
        self,
        store: Store,
        words: Lexical,
        matrix: Callable[[int], Dense] | None = None,
        encoders: Sequence[str] = (),
        clock: Callable[[], float] = time.monotonic,
        *,
        meter: SearchMeter | None = None,
        elsewhere: Elsewhere | None = None,
        wall: Callable[[], float] = time.time,
    ) -> None:
        self._store = store
        self._words = words
        self._matrix = matrix
        self._encoders = tuple(encoders) if matrix is not None else ()
        self._clock = clock
        self._meter = meter
        self._wall = wall
        self._elsewhere = elsewhere
        self._places: dict[int, Place] = {}
        self._before: dict[int, Place] = {}  # what was known before it began anew
        self._matrices: dict[tuple[str, str], Dense] = {}
        self._counts: dict[str, int] = {}  # chunks by namespace
        self._epochs: dict[str, int] = {}
        self._readers: dict[tuple[str, ...], int] = {(): 0}
        self._sources: dict[str, int] = {"": 0}
        self._unseen: dict[int, int] = {}  # chunks without a vector of the first encoder: the change that brought them
        self._missing: dict[int, int] = {}  # and how many such chunks each change still has
        self._stored: dict[int, float] = {}  # and when what it brought was stored, since all was read
        self._seq = 0
        self._taken: dict[str, int] = {}  # by namespace: its last change since all was read
        self._filled = 0  # the last change when all was read
        self._last = 0  # the store's, as far as heard
        self._behind_since = 0.0
        self._ready: Literal["empty", "lexical", "full"] = "empty"
        self._changing = ThreadPoolExecutor(max_workers=1, thread_name_prefix="index-writer")
        self._searching = ThreadPoolExecutor(max_workers=SEARCHERS, thread_name_prefix="index-search")
        self._news = asyncio.Event()
        self._moved = asyncio.Condition()
        self._task: asyncio.Task[None] | None = None
        self._listeners: list[Callable[[Change], None]] = []

    async def start(self) -> None:
        self._task = asyncio.get_running_loop().create_task(self._follow())

    async def close(self) -> None:
        if self._task is not None:
            self._task.cancel()
            await asyncio.wait((self._task,))
        await self._change(self._words.close)
        self._changing.shutdown()
        self._searching.shutdown()

    # Searching

    async def lexical(self, namespace: str, query: str, limit: int, which: Filter) -> list[Scored]:
        found = await self._search(lambda: self._words.search(namespace, query, limit, which))
        return [pair for pair in found if (place := self._places.get(pair[0])) and place.namespace == namespace]

    async def dense(self, namespace: str, encoder: str, vector: bytes, limit: int, which: Filter) -> list[Scored]:
        if limit < 1:
            return []
        if self._elsewhere is not None and self._held_elsewhere(namespace, encoder):
            found = await self._elsewhere.search(namespace, encoder, vector, limit, which)
            return [pair for pair in found if pair[0] in self._places]
        matrix = self._matrices.get((namespace, encoder))
        if matrix is None:
            return []
        readers = {number for names, number in self._readers.items() if not names or not which.groups.isdisjoint(names)}
        sources = {self._sources.get(name, -1) for name in which.sources} if which.sources else None
        found = await self._search(lambda: matrix.search(vector, limit, which, readers, sources))
        return [pair for pair in found if pair[0] in self._places]

    def embedded(self, namespace: str, encoder: str) -> bool:
        return (namespace, encoder) in self._matrices or self._held_elsewhere(namespace, encoder)

    def forget(self, encoders: AbstractSet[str]) -> None:
        """Let go of all vectors but those of these encoders."""
        for key in [key for key in self._matrices if key[1] not in encoders]:
            del self._matrices[key]

    def release(self, namespace: str, encoder: str) -> None:
        """Let go of the vectors of a namespace that are held elsewhere from now on."""
        self._matrices.pop((namespace, encoder), None)

    def _held_elsewhere(self, namespace: str, encoder: str) -> bool:
        return self._elsewhere is not None and self._elsewhere.holds(namespace, encoder)

    async def rarity(self, namespace: str, terms: Sequence[str]) -> dict[str, float]:
        total = self._counts.get(namespace, 0)

        def look() -> dict[str, float]:
            return {term: math.log(1 + total / (1 + self._words.holding(namespace, term))) for term in terms}

        return await self._search(look)

    def count(self, namespace: str) -> int:
        """Chunks that can be found."""
        return self._counts.get(namespace, 0)

    def live(self, namespace: str, chunk: int, now: float) -> bool:
        place = self._places.get(chunk)
        return place is not None and place.namespace == namespace and place.expires > now

    # How far it is

    def state(self) -> tuple[str, int, int, int, float]:
        """`ready`, chunks that can be found, bytes of their vectors, and `lag`."""
        size = sum(matrix.size for matrix in list(self._matrices.values()))
        return self._ready, len(self._places), size, *self.lag()

    @property
    def ready(self) -> Literal["empty", "lexical", "full"]:
        return self._ready

    def epoch(self, namespace: str) -> int:
        return self._epochs.get(namespace, 0)

    def seq(self, namespace: str) -> int:
        return self._taken.get(namespace, self._filled)

    def listen(self, heard: Callable[[Change], None]) -> Callable[[], None]:
        self._listeners = [*self._listeners, heard]

        def stop() -> None:
            self._listeners = [one for one in self._listeners if one is not heard]

        return stop

    def lag(self) -> tuple[int, float]:
        behind = self._last - self._seq
        return behind, self._clock() - self._behind_since if behind else 0.0

    async def filled(self, within: float) -> bool:
        """Returns once all words that were stored when it started can be found; False after so many seconds."""
        if self._ready != "empty":
            return True
        try:
            async with asyncio.timeout(within), self._moved:
                await self._moved.wait_for(lambda: self._ready != "empty")
        except TimeoutError:
            return False
        return True

    async def visible(self, seq: int, *, full: bool = False, within: float = 10.0) -> bool:
        def there() -> bool:
            return self._ready != "empty" and self._seq >= seq and not (full and seq in self._missing)

        try:
            async with asyncio.timeout(within), self._moved:
                await self._moved.wait_for(there)
        except TimeoutError:
            return False
        return True

    # Following the store

    async def _follow(self) -> None:
        leave = self._store.listen(self._news.set)
        try:
            while True:
                try:
                    if self._ready == "empty":
                        await self._fill()
                    self._news.clear()
                    await self._catch_up()
                    if self._ready == "lexical":
                        await self._fill_vectors()
                    await self._rest()
                except Exception:  # supervisor boundary: what is in memory is searched until the store is back
                    log.exception("the index cannot follow the documents; trying again")
                    await asyncio.sleep(AGAIN)
        finally:
            leave()

    async def _rest(self) -> None:
        """Until there is news. What was added is folded in while nothing happens."""
        while not self._news.is_set():
            due = self._words.due
            if due is None:
                await self._news.wait()
                return
            try:
                async with asyncio.timeout(due):
                    await self._news.wait()
            except TimeoutError:
                await self._change(self._words.fold)

    async def _fill(self) -> None:
        """All chunks, from the beginning."""
        self._last = self._seq = self._filled = await self._store.seq()
        self._taken.clear()
        self._epochs |= {space: await self._store.epoch(space) for space in await self._store.namespaces()}
        spaces: dict[str, list[int]] = {}
        for chunk, place in self._places.items():  # of a time that nobody followed, or a reading that broke off
            spaces.setdefault(place.namespace, []).append(chunk)
        for namespace, chunks in spaces.items():
            await self._drop(namespace, chunks)
        async for rows in self._store.rows():
            await self._add(rows, self._seq, many=True)
        await self._change(self._words.fold)
        before, self._before = self._before, {}
        self._ready = "lexical"
        if before:
            for change in differences(before, self._places, self._seq, self.epoch):
                self._hear(change)
        await self._tell()

    async def _fill_vectors(self) -> None:
        for encoder in self._encoders:
            async for vectors in self._store.vectors(encoder):
                await self._take_vectors(encoder, vectors)
        await self._change(give_back)
        self._ready = "full"
        await self._tell()

    async def _catch_up(self) -> None:
        while True:
            self._last = await self._store.seq()
            if self._last == self._seq:
                self._behind_since = 0.0
                return
            self._behind_since = self._behind_since or self._clock()
            changes = await self._store.changes(self._seq, CATCH_UP)
            if not changes or changes[0].seq != self._seq + 1:
                await self._begin_anew()
                return
            self._last = max(self._last, changes[-1].seq)  # some came after that look
            for change in changes:
                await self._take(change)
                self._seq = change.seq
                self._epochs[change.namespace] = change.epoch
                self._taken[change.namespace] = change.seq
                self._hear(change)
            self._behind_since = self._behind_since if self._seq < self._last else 0.0
            await self._tell()

    async def _begin_anew(self) -> None:
        """It was away for longer than the store remembers. Who listens is told what changed meanwhile, once all is read."""
        log.warning("the index is made anew: it was too far behind", extra={"seq": self._seq})
        self._ready = "empty"  # searches say from here on that not all was looked at
        self._before = dict(self._places)
        self._news.set()

    def _hear(self, change: Change) -> None:
        for heard in self._listeners:
            heard(change)

    async def _take(self, change: Change) -> None:
        if change.removed:
            await self._drop(change.namespace, change.removed)
        if change.added:
            new = [chunk for chunk in change.added if chunk not in self._places]
            for chunk in change.added:
                if chunk in self._unseen:  # it was there already when all was read
                    self._seen(chunk)
                    self._miss(chunk, change.seq)
            rows = await self._store.fetch(change.namespace, new)
            await self._add([(change.namespace, row) for row in rows.values()], change.seq)
            self._found("lexical", change.seq, max((row.indexed for row in rows.values()), default=None))
            for encoder in self._encoders:
                vectors = await self._store.vectors_of(encoder, new)
                await self._take_vectors(encoder, list(vectors.items()))
        if change.vectors and change.encoder in self._encoders:
            vectors = await self._store.vectors_of(change.encoder, change.vectors)
            await self._take_vectors(change.encoder, list(vectors.items()))

    async def _add(self, rows: Sequence[tuple[str, Row]], seq: int, *, many: bool = False) -> None:
        new = [pair for pair in rows if pair[1].chunk not in self._places]
        await self._change(lambda: self._words.add(new, many=many))
        for namespace, row in new:
            readers = self._readers.setdefault(row.readers, len(self._readers))
            source = self._sources.setdefault(row.source, len(self._sources))
            expires = math.inf if row.expires is None else row.expires
            self._places[row.chunk] = Place(
                namespace, row.published, expires, readers, source, sys.intern(row.document)
            )
            self._counts[namespace] = self._counts.get(namespace, 0) + 1
            if self._encoders:
                self._miss(row.chunk, seq)

    def _found(self, stage: str, seq: int, stored: float | None) -> None:
        """What this change brought can be found from now on. stored: None where it brought nothing that is still there."""
        if self._meter is None or stored is None:
            return
        self._meter.visible(stage, max(0.0, self._wall() - stored))
        if stage == "lexical" and seq in self._missing:
            self._stored[seq] = stored

    async def _drop(self, namespace: str, chunks: Sequence[int]) -> None:
        """From here on they are not found, whatever the engines say."""
        known = [chunk for chunk in chunks if self._places.pop(chunk, None) is not None]
        self._counts[namespace] = self._counts.get(namespace, 0) - len(known)
        for chunk in known:
            self._seen(chunk)

        def forget() -> None:
            self._words.remove([(namespace, chunk) for chunk in known])
            for (space, _), matrix in list(self._matrices.items()):
                if space == namespace:
                    for chunk in known:
                        matrix.remove(chunk)

        await self._change(forget)

    def _miss(self, chunk: int, seq: int) -> None:
        self._unseen[chunk] = seq
        self._missing[seq] = self._missing.get(seq, 0) + 1

    def _seen(self, chunk: int) -> None:
        """It has a vector, or is gone: the change that brought it waits for one chunk less."""
        seq = self._unseen.pop(chunk, None)
        if seq is not None and (left := self._missing[seq] - 1):
            self._missing[seq] = left
        elif seq is not None:
            del self._missing[seq]
            self._found("dense", seq, self._stored.pop(seq, None))

    async def _take_vectors(self, encoder: str, vectors: Sequence[tuple[int, Vector]]) -> None:
        await self._change(functools.partial(self._put_vectors, encoder, vectors))
        if encoder == self._encoders[0]:
            for chunk, _ in vectors:
                self._seen(chunk)

    def _put_vectors(self, encoder: str, vectors: Sequence[tuple[int, Vector]]) -> None:
        """On the thread that changes."""
        assert self._matrix is not None
        for chunk, vector in vectors:
            place = self._places.get(chunk)
            if place is None or self._held_elsewhere(place.namespace, encoder):
                continue
            key = (place.namespace, encoder)
            matrix = self._matrices.get(key)
            if matrix is None:
                matrix = self._matrices[key] = self._matrix(len(vector.data))
            matrix.put(chunk, vector, place)

    async def _tell(self) -> None:
        async with self._moved:
            self._moved.notify_all()

    async def _change(self, work: Callable[[], T]) -> T:
        return await asyncio.get_running_loop().run_in_executor(self._changing, work)

    async def _search(self, work: Callable[[], T]) -> T:
        return await asyncio.get_running_loop().run_in_executor(self._searching, work)
