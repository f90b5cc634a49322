"""Calls become batches: what waits is put together when there is a hand free, and never held back for company."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Sequence
from typing import Final

from tidewire.core.errors import InternalError, Overloaded, ShuttingDown, TidewireError, TimedOut
from tidewire.core.meter import EncoderMeter
from tidewire.embedding.line import Bounds, Item, Line
from tidewire.embedding.pace import Pace

log = logging.getLogger("tidewire.embedding")

REFUSED: Final = 400  # the status of errors that are the request's fault
LEAST_BACK: Final = 0.1  # seconds after which a refused caller is told to come back, at least

Work = Callable[[Sequence[str], bool], Awaitable[Sequence[bytes]]]


class _Call:
    """One `encode`: its texts, and the vectors as far as they are there."""

    def __init__(self, texts: Sequence[str], now: float) -> None:
        self.texts = texts
        self.arrived = now
        self.vectors: list[bytes] = [b""] * len(texts)
        self.left = len(texts)
        self.done: asyncio.Future[list[bytes]] = asyncio.get_running_loop().create_future()

    def take(self, place: int, vector: bytes) -> None:
        self.vectors[place] = vector
        self.left -= 1
        if not self.left and not self.done.done():
            self.done.set_result(self.vectors)

    def fail(self, error: Exception) -> None:
        if not self.done.done():
            self.done.set_exception(error)


class Batches:
    """work: encodes the texts of one batch, all of them queries or none; its answers are in order. It raises TidewireError.

    hands: batches that may be worked on at once. stops: whether cancelling `work` ends it; then a batch whose callers are all gone is
    cancelled. size: of a text, in units of the pace. name: of the encoder, for the meter.
    """

    def __init__(
        self,
        work: Work,
        pace: Pace,
        bounds: Bounds,
        meter: EncoderMeter,
        *,
        name: str,
        size: Callable[[str], int],
        hands: int = 1,
        stops: bool = False,
    ) -> None:
        self._work = work
        self._line = Line(pace, bounds)
        self._meter = meter
        self._name = name
        self._size = size
        self._free = hands
        self._stops = stops
        self._running: dict[asyncio.Task[None], list[Item]] = {}
        self._closed = False

    async def encode(self, texts: Sequence[str], *, query: bool, deadline: float | None) -> list[bytes]:
        """A vector for each text, in order. Raises Overloaded where too many wait, TimedOut at the deadline, and what `work` raises."""
        if self._closed:
            raise ShuttingDown("the encoder is closed")
        if not texts:
            return []
        line, most = self._line, self._line.bounds.waiting
        if len(line) + len(texts) > most:
            back = max(LEAST_BACK, line.wait)
            raise Overloaded(
                f"{len(line)} texts wait to be embedded and {len(texts)} more came; {most} may wait: come back in {back:.1f} s",
                code="encoder_busy",
                retry_after=back,
            )
        now = asyncio.get_running_loop().time()
        if deadline is not None and deadline <= now:
            raise TimedOut(f"the deadline of {len(texts)} texts had passed before they came", code="encoder_late")
        call = _Call(texts, now)
        line.add(call, [self._size(text) for text in texts], deadline, query=query)
        self._begin()
        try:
            async with asyncio.timeout_at(deadline):
                return await call.done
        except TimeoutError:
            raise TimedOut(
                f"{call.left} of {len(texts)} texts were not embedded by the deadline", code="encoder_late"
            ) from None
        finally:
            self._leave(call)

    async def close(self) -> None:
        """Callers that still wait get ShuttingDown."""
        self._closed = True
        while len(self._line):
            for item in self._line.take(0.0)[0]:
                item.call.fail(ShuttingDown("the encoder was closed before this text was embedded"))
        for task in self._running:
            task.cancel()
        await asyncio.gather(*self._running, return_exceptions=True)

    def _begin(self) -> None:
        """Put free hands to work."""
        loop = asyncio.get_running_loop()
        while self._free and len(self._line) and not self._closed:
            items, query = self._line.take(loop.time())
            self._free -= 1
            task = loop.create_task(self._run(items, query))
            self._running[task] = items
            task.add_done_callback(self._ended)

    def _ended(self, task: asyncio.Task[None]) -> None:
        del self._running[task]
        self._free += 1
        self._begin()

    async def _run(self, items: list[Item], query: bool) -> None:  # noqa: FBT001 - of `Work`
        clock = asyncio.get_running_loop().time
        started = clock()
        waited = started - min(item.call.arrived for item in items)
        try:
            vectors = await self._work([item.call.texts[item.place] for item in items], query)
            encoded = list(zip(items, vectors, strict=True))
        except asyncio.CancelledError:
            for item in items:
                item.call.fail(ShuttingDown("the encoder was closed before this text was embedded"))
            raise
        except TidewireError as error:
            self._meter.encode_failed(self._name, error.kind)
            apart = _by_call(items) if error.status == REFUSED else []
            if len(apart) > 1:  # the text of one caller is no reason to refuse another's
                for own in apart:
                    await self._run(own, query)
            else:
                for item in items:
                    item.call.fail(error)
        except Exception:  # supervisor boundary: the callers of this batch are told, the next batch is worked on
            log.exception("an encoder broke")
            self._meter.encode_failed(self._name, "internal_error")
            for item in items:
                item.call.fail(InternalError("the encoder broke; the server's log says why"))
        else:
            took = clock() - started
            for item, vector in encoded:
                item.call.take(item.place, vector)
            self._line.pace.learn(sum(item.size for item in items), took)
            self._meter.encoded(self._name, "query" if query else "document", len(items), waited, took)

    def _leave(self, call: _Call) -> None:
        """A call is over, whichever way: what is left of it is not worked on."""
        if not call.left:
            return
        self._line.drop(call)
        if not call.done.done():
            call.done.cancel()
        if self._stops:
            for task, items in self._running.items():
                if all(item.call.done.done() and item.call.left for item in items):
                    task.cancel()


def _by_call(items: list[Item]) -> list[list[Item]]:
    calls: dict[int, list[Item]] = {}
    for item in items:
        calls.setdefault(id(item.call), []).append(item)
    return list(calls.values())
