"""Equal requests under way share one answer of the host.

The host is asked in a task of its own, so that no client's leaving ends the answer of another. Each rider gets the events from
the first on, then live; its own stream's log is its buffer, and nothing is queued here. What the flight itself remembers is
for those who join later, and is bounded: an answer that has grown beyond it takes no more riders. Nor does one that has begun to
search documents by itself: who asks after a document was deleted may not hear what was found before.
"""

from __future__ import annotations

import asyncio
import copy
from collections.abc import Callable, Sequence
from typing import Final

import msgspec

from tidewire.cache.kept import searches
from tidewire.core.errors import TidewireError
from tidewire.core.events import Attempt, Blob, Delta, Event, Finish, Timing, Usage
from tidewire.core.meter import CacheMeter
from tidewire.core.ports import ModelInfo, Provider, Sink
from tidewire.core.request import Request

HELD: Final = 256 * 1024  # bytes, about, of an answer that may still be joined
PATIENCE: Final = 1.0  # seconds in all that the others wait for one whose log is full, in one answer

Key = Callable[[Request], bytes | None]
Price = Callable[[Attempt | None, Usage], float]


class Flights:
    """The answers under way that may be joined, by key. price: USD for the tokens of an attempt."""

    def __init__(self, meter: CacheMeter, price: Price = lambda attempt, usage: 0.0) -> None:
        self.meter = meter
        self.price = price
        self._open: dict[bytes, Flight] = {}

    async def answer(self, key: bytes, inner: Provider, request: Request, sink: Sink) -> None:
        flight = self._open.get(key)
        if flight is None or not flight.joinable:
            flight = self._open[key] = Flight(self, key, inner, request)
        await flight.carry(sink)

    def forget(self, flight: Flight) -> None:
        """Whoever comes from now on asks anew."""
        if self._open.get(flight.key) is flight:
            del self._open[flight.key]

    def __len__(self) -> int:
        return len(self._open)


class Shared:
    """A `Provider` around another. key: None for a request that shares with nobody."""

    def __init__(self, inner: Provider, flights: Flights, key: Key) -> None:
        self.name = inner.name
        self._inner = inner
        self._flights = flights
        self._key = key

    async def answer(self, request: Request, sink: Sink) -> None:
        key = None if request.reuse is not None and not request.reuse.read else self._key(request)
        if key is None:
            await self._inner.answer(request, sink)
        else:
            await self._flights.answer(key, self._inner, request, sink)

    async def models(self) -> Sequence[ModelInfo]:
        return await self._inner.models()

    async def close(self) -> None:
        await self._inner.close()


class _Rider:
    """One who gets the answer. founder: asked first. patience: seconds that others will still wait for it."""

    __slots__ = ("founder", "patience", "sink")

    def __init__(self, sink: Sink, *, founder: bool) -> None:
        self.sink = sink
        self.founder = founder
        self.patience = PATIENCE


class Flight:
    """One answer and its riders; the `Sink` of the provider that gives it.

    The first of those who are there pays: its usage is booked, that of the others says that it is shared. Who joined later gets
    no times of the host, since they count from another stream's opening. An error is everybody's.
    """

    def __init__(self, flights: Flights, key: bytes, inner: Provider, request: Request) -> None:
        self.key = key
        self._flights = flights
        self._riders: list[_Rider] = []
        self._payer: _Rider | None = None  # when it spoke last
        self._heard: list[Event] | None = []  # None: no longer to be joined
        self._size = 0
        self._tokens = 0
        self._attempt: Attempt | None = None
        self._usage: Usage | None = None
        self._news = asyncio.Event()  # a rider came or went
        self._loop = asyncio.get_running_loop()
        self._began = self._loop.time()
        self._task = self._loop.create_task(inner.answer(request, self))

    @property
    def joinable(self) -> bool:
        return self._heard is not None and not self._task.done() and not self._task.cancelling()

    async def carry(self, sink: Sink) -> None:
        """Feed the sink all of the answer. Raises what the provider raises. The last who is cancelled takes the provider along."""
        rider = _Rider(sink, founder=not self._riders)
        late = self._loop.time() - self._began
        self._riders.append(rider)
        self._news.set()
        if self._heard and not rider.founder:
            sink.feed(self._copied(self._heard, rider))
        try:
            await asyncio.wait((self._task,))
        finally:
            self._riders.remove(rider)
            self._news.set()
            if not self._riders:
                await self._land()
        error = self._task.exception()  # raises CancelledError where the loop goes down
        if rider is not self._payer and error is None:
            usage = self._usage or Usage(counted_by="server", output=self._tokens)
            self._flights.meter.reused(
                "shared", late, usage.output or self._tokens, self._flights.price(self._attempt, usage)
            )
        if error is not None:
            raise error if rider.founder or not isinstance(error, TidewireError) else copy.copy(error)

    async def _land(self) -> None:
        """Nobody is left: the host is let go of, if it still speaks."""
        self._flights.forget(self)
        if not self._task.done():
            self._task.cancel()
            await asyncio.wait((self._task,))
        if not self._task.cancelled():
            self._task.exception()  # has been looked at

    # The provider's sink

    def feed(self, events: Sequence[Event]) -> None:
        for event in events:
            if type(event) is Delta:
                self._tokens += 1
            elif isinstance(event, Usage):
                self._usage = event
            elif isinstance(event, Attempt):
                self._attempt = event
        if self._heard is not None:
            self._remember(events)
        self._payer = self._riders[0] if self._riders else None
        copies = [(rider, self._copied(events, rider)) for rider in self._riders if not rider.founder]
        if self._riders and self._riders[0].founder:
            self._riders[0].sink.feed(events)
        for rider, copied in copies:
            rider.sink.feed(copied)

    @property
    def full(self) -> bool:
        """Whether somebody is to be waited for: one whose log is full and who has not kept the others waiting for long, or all."""
        riders = self._riders
        if len(riders) == 1:
            return riders[0].sink.full
        return any(r.sink.full for r in riders if r.patience > 0) or (bool(riders) and all(r.sink.full for r in riders))

    async def room(self) -> None:
        while self.full:
            self._news.clear()
            full = [r for r in self._riders if r.sink.full]
            alone = len(full) == len(self._riders)  # nobody else is kept waiting
            waits = [self._loop.create_task(r.sink.room()) for r in full]
            waits.append(self._loop.create_task(self._joined_or_left()))
            began = self._loop.time()
            limit = None if alone else min(r.patience for r in full if r.patience > 0)
            try:
                done, _ = await asyncio.wait(waits, timeout=limit, return_when=asyncio.FIRST_COMPLETED)
            finally:
                for wait in waits:
                    wait.cancel()
                await asyncio.gather(*waits, return_exceptions=True)
            if limit is not None:
                took = self._loop.time() - began if done else limit
                for rider in full:
                    rider.patience -= took

    async def _joined_or_left(self) -> None:
        await self._news.wait()

    # What riders are given

    def _remember(self, events: Sequence[Event]) -> None:
        assert self._heard is not None
        self._heard.extend(events)
        self._size += sum(map(_weight, events))
        if self._size > HELD or any(map(searches, events)):
            self._heard = None
            self._flights.forget(self)

    def _copied(self, events: Sequence[Event], rider: _Rider) -> list[Event]:
        """Events of the rider's own: its run numbers them."""
        out: list[Event] = []
        pays = self._riders[0] is rider
        for event in events:
            if type(event) is Delta:
                out.append(Delta(part=event.part, text=event.text))
            elif isinstance(event, Usage) and not pays:
                out.append(msgspec.structs.replace(event, reused="shared", cost=None))
            elif isinstance(event, Finish):
                if self._usage is None and not pays:
                    out.append(Usage(counted_by="server", output=self._tokens, reused="shared"))
                out.append(Finish(reason=event.reason, early=event.early))
            elif not isinstance(event, Timing):
                out.append(copy.copy(event))
        return out


def _weight(event: Event) -> int:
    """Bytes in memory, about."""
    if type(event) is Delta:
        return 64 + len(event.text)
    return 64 + len(event.data) if isinstance(event, Blob) else 256
