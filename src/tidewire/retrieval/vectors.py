"""Gives chunks their vectors, in the background: the newest documents first, behind every query, through outages of the encoder.

A chunk is found by its words at once, and by its meaning when its turn has come. Another encoder begins anew; what the one before it made
stays until the new one has come through.
"""

from __future__ import annotations

import asyncio
import logging
from array import array
from collections.abc import Callable, Sequence
from typing import Final

import msgspec

from tidewire.core.errors import TidewireError
from tidewire.core.meter import EncoderMeter
from tidewire.core.ports import Encoder
from tidewire.retrieval.ports import Store, Vector

log = logging.getLogger("tidewire.retrieval")

NOTE: Final = "encoders"  # of the store: names whose vectors it may hold, as JSON
FIRST: Final = 1.0  # seconds after the first failure; then twice that, and so on
LONGEST: Final = 60.0
COUNT_EVERY: Final = 2.0  # seconds
REFUSED: Final = 400  # the status of errors that are the text's fault
MOST_REFUSED: Final = 1000  # chunks that are left out; more than that is no matter of single texts


def quantised(vector: bytes) -> Vector:
    """Little-endian float32 in, int8 out: the largest component becomes 127. Cosine to what came in: above 0.9999 at 384 numbers."""
    numbers = array("f")
    numbers.frombytes(vector)
    scale = max(map(abs, numbers), default=0.0) / 127 or 1.0
    return Vector(data=array("b", [round(number / scale) for number in numbers]).tobytes(), scale=scale)


class Vectors:
    """batch: chunks in one call of the encoder. What is put meanwhile waits for that call, and goes next.

    through: called when all chunks have its vectors, and each time that this is so again.
    """

    def __init__(
        self,
        store: Store,
        encoder: Encoder,
        meter: EncoderMeter,
        *,
        batch: int,
        through: Callable[[], None] = lambda: None,
    ) -> None:
        self._store = store
        self._encoder = encoder
        self._meter = meter
        self._batch = batch
        self._through = through
        self._news = asyncio.Event()
        self._refused: set[int] = set()
        self._counted = float("-inf")
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        self._task = asyncio.get_running_loop().create_task(self._work())

    async def close(self) -> None:
        if self._task is not None:
            self._task.cancel()
            await asyncio.wait((self._task,))

    async def _work(self) -> None:
        """Never returns. What fails is tried again, ever later, and all of it: nothing of a batch is stored unless all is there."""
        leave = self._store.listen(self._news.set)
        failures = 0
        try:
            while True:
                try:
                    await self._round()
                except TidewireError as error:
                    log.warning("chunks could not be embedded; trying again", extra={"code": error.kind})
                except Exception:  # supervisor boundary: documents stay findable by their words
                    log.exception("chunks could not be embedded; trying again")
                else:
                    failures = 0
                    continue
                await asyncio.sleep(min(LONGEST, FIRST * 2**failures))
                failures = min(failures + 1, 10)
        finally:
            leave()

    async def _round(self) -> None:
        """One batch; or the wait for news, where nothing is pending."""
        self._news.clear()
        name = self._encoder.name
        rows = await self._store.pending(name, self._batch + len(self._refused))
        rows = [row for row in rows if row[0] not in self._refused][: self._batch]
        await self._count(final=not rows)
        if rows:
            await self._remember(name)
            await self._embed(name, rows)
            return
        await self._forget(name)
        self._through()
        await self._news.wait()

    async def _embed(self, name: str, rows: Sequence[tuple[int, str]]) -> None:
        try:
            made = await self._encoder.encode([text for _, text in rows])
        except TidewireError as error:
            if error.status != REFUSED or len(self._refused) >= MOST_REFUSED:
                raise
            if len(rows) == 1:
                log.warning("the encoder refuses a chunk; it is found by its words only", extra={"code": error.kind})
                self._refused.add(rows[0][0])
            else:
                for row in rows:
                    await self._embed(name, [row])
            return
        small: list[tuple[int, Vector]] = []
        for (chunk, _), vector in zip(rows, made, strict=True):
            small.append((chunk, quantised(vector)))
            await asyncio.sleep(0)  # streams go on in between
        await self._store.add_vectors(name, small)

    async def _count(self, *, final: bool) -> None:
        now = asyncio.get_running_loop().time()
        if final or now - self._counted > COUNT_EVERY:
            self._counted = now
            counts = [await self._store.count(namespace) for namespace in await self._store.namespaces()]
            self._meter.pending(sum(waiting for _, _, waiting in counts))

    async def _remember(self, name: str) -> None:
        names = await self._names()
        if name not in names:
            await self._store.set_note(NOTE, msgspec.json.encode([*names, name]).decode())

    async def _forget(self, name: str) -> None:
        """The new encoder has come through: what those before it made goes."""
        names = await self._names()
        for other in names:
            if other != name:
                gone = await self._store.forget_encoder(other)
                log.info("vectors of an encoder that is no longer used were removed", extra={"count": gone})
        if names not in ([], [name]):
            await self._store.set_note(NOTE, msgspec.json.encode([name]).decode())

    async def _names(self) -> list[str]:
        return msgspec.json.decode(await self._store.note(NOTE) or "[]", type=list[str])
