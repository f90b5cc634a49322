"""A second model asked when the first is late: the first valid content wins, and the other is let go of at once.

After Dean and Barroso, "The Tail at Scale" (CACM 2013): a hedge sent after the 95th percentile costs 5 % more requests at most.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Sequence
from typing import Any, Final

import msgspec

from tidewire.core.errors import TidewireError, TimedOut
from tidewire.core.events import Attempt, Blob, Delta, Event, Finish, PartStarted, Progress, Timing, Usage
from tidewire.core.ports import ModelInfo, Provider, Sink
from tidewire.core.request import Request
from tidewire.routing.tally import added

SHARE: Final = 0.05  # of the requests, what a 95th percentile leaves over
SAVED: Final = 20.0  # hedges that a quiet time may save up
HELD: Final = 256  # events of one that says much before its first word; then it is believed

Ask = Callable[[Sink], Coroutine[Any, Any, None]]
Delay = Callable[[], float | None]
Moment = tuple[
    float, Callable[[], bool]
]  # seconds after which a second may be asked, and whether it may then; what it costs is taken


class Hedges:
    """The budget, a token bucket that starts empty: of any number of requests, `share` at most are asked a second time."""

    __slots__ = ("_tokens", "share", "spent")

    def __init__(self, share: float = SHARE) -> None:
        self.share = share
        self.spent = 0
        self._tokens = 0.0

    def request(self) -> None:
        self._tokens = min(SAVED, self._tokens + self.share)

    def take(self) -> bool:
        """True where one more may be asked; it counts from here on."""
        if self._tokens < 1 - 1e-9:  # twenty times 0.05 is one
            return False
        self._tokens = max(0.0, self._tokens - 1)
        self.spent += 1
        return True


class Hedged:
    """A `Provider` of two. delay: seconds after which the second is asked, None for not at all.

    model: the second's own name for the model; None: the request's.
    """

    def __init__(
        self, name: str, first: Provider, second: Provider, *, delay: Delay, budget: Hedges, model: str | None = None
    ) -> None:
        self.name = name
        self._first = first
        self._second = second
        self._delay = delay
        self._budget = budget
        self._model = model

    async def answer(self, request: Request, sink: Sink) -> None:
        other = request if self._model is None else msgspec.structs.replace(request, model=self._model)
        self._budget.request()
        delay = self._delay()
        await race(
            lambda lane: self._first.answer(request, lane),
            lambda lane: self._second.answer(other, lane),
            sink,
            moments=[] if delay is None else [(delay, self._budget.take)],
        )

    async def models(self) -> Sequence[ModelInfo]:
        return await self._first.models()

    async def close(self) -> None:
        for provider in (self._first, self._second):
            await provider.close()


async def race(first: Ask, second: Ask, sink: Sink, *, moments: Sequence[Moment]) -> None:
    """Ask the first; at the first of `moments` that comes without content and allows it, the second too.

    Returns when the one whose content came first has ended. Raises its error; where neither had content, the better of
    both. An error before the second was asked is raised at once. Nothing of either runs on when this is left, by
    cancellation either.
    """
    running = _Race(sink)
    try:
        await running.run(first, second, sorted(moments, key=lambda moment: moment[0]))
    finally:
        await running.stop()
        running.forget()


class _Race:
    def __init__(self, sink: Sink) -> None:
        self.sink = sink
        self.attempts = 0
        self.winner: _Lane | None = None
        self.lost: Usage | None = None  # what the loser had told of its tokens
        self._loop = asyncio.get_running_loop()
        self._began = self._loop.time()
        self._decided = self._loop.create_future()
        self._lanes: list[_Lane] = []

    async def run(self, first: Ask, second: Ask, moments: Sequence[Moment]) -> None:
        one = self._enter(first, hedge=False)
        for delay, allowed in moments:
            left = max(0.0, self._began + delay - self._loop.time())
            await asyncio.wait({one.task, self._decided}, timeout=left, return_when=asyncio.FIRST_COMPLETED)
            if self.winner is not None or one.task.done():
                break
            if not self.sink.full and allowed():
                self._enter(second, hedge=True)
                break
        errors: list[BaseException] = []
        under_way = {lane.task: lane for lane in self._lanes}
        while under_way:
            ended, _ = await asyncio.wait(under_way, return_when=asyncio.FIRST_COMPLETED)
            for task in ended:
                lane = under_way.pop(task)
                if self.winner not in (None, lane):
                    continue  # the loser, whatever became of it
                error = asyncio.CancelledError() if task.cancelled() else task.exception()
                if error is None:
                    self.win(lane)
                elif self.winner is lane:
                    raise error
                else:
                    errors.append(error)
        if self.winner is None:
            best = min(errors, key=_worse)
            if isinstance(best, TidewireError):
                best.begun = False  # what it had begun was held here, and nobody has seen it
            raise best

    def win(self, lane: _Lane) -> None:
        """From here on this one's events flow, and the other's connection closes."""
        if self.winner is not None:
            return
        self.winner = lane
        if not self._decided.done():
            self._decided.set_result(None)
        for other in self._lanes:
            if other is not lane:
                self.lost = other.told
                other.held.clear()
                other.task.cancel()
        held, lane.held = lane.held, []
        if held:
            lane.pass_on(held)

    async def stop(self) -> None:
        tasks = [lane.task for lane in self._lanes]
        for task in tasks:
            if not task.cancelling():  # a second cancel would cut short how the loser lets go
                task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    def forget(self) -> None:
        """The two hold each other: they would stay until the collector looks."""
        self._lanes.clear()

    def _enter(self, ask: Ask, *, hedge: bool) -> _Lane:
        lane = _Lane(self, hedge=hedge, late=(self._loop.time() - self._began) * 1000)
        lane.task = self._loop.create_task(ask(lane))
        self._lanes.append(lane)
        return lane


class _Lane:
    """The sink of one of the two. late: milliseconds after the race began that it was asked. told: its last Usage."""

    __slots__ = ("_hedge", "_late", "_race", "held", "task", "told")

    task: asyncio.Task[None]

    def __init__(self, race: _Race, *, hedge: bool, late: float) -> None:
        self._race = race
        self._hedge = hedge
        self._late = late
        self.held: list[Event] = []
        self.told: Usage | None = None

    def feed(self, events: Sequence[Event]) -> None:
        winner = self._race.winner
        if winner is self:
            if len(events) == 1 and type(events[0]) is Delta:
                self._race.sink.feed(events)
            else:
                self.pass_on(events)
            return
        for event in events:
            if isinstance(event, Usage):
                self.told = event
        if winner is not None:
            self._race.lost = self.told
            return
        known = [self._counted(e) for e in events if isinstance(e, Attempt | Progress)]
        if known:
            self._race.sink.feed(known)
        self.held += [e for e in events if not isinstance(e, Attempt | Progress)]
        if any(_content(e) for e in events) or len(self.held) > HELD:
            self._race.win(self)

    def pass_on(self, events: Sequence[Event]) -> None:
        self._race.sink.feed([self._counted(e) for e in events])

    def _counted(self, event: Event) -> Event:
        """Attempts in one count; spans from the race's beginning; the tokens of both."""
        if isinstance(event, Attempt):
            self._race.attempts += 1
            reason = "hedge" if self._hedge and event.reason == "start" else event.reason
            return Attempt(n=self._race.attempts, provider=event.provider, model=event.model, reason=reason)
        if isinstance(event, Timing) and self._late:
            span = event.span
            return Timing(span=msgspec.structs.replace(span, start=round(span.start + self._late, 3)))
        if isinstance(event, Usage) and self._race.lost is not None:
            return added(event, self._race.lost)
        return event

    @property
    def full(self) -> bool:
        return self._race.winner in (None, self) and self._race.sink.full

    async def room(self) -> None:
        await self._race.sink.room()


def _content(event: Event) -> bool:
    """What a reader could see: no attempt, progress or error, and no part that is still empty. A good end counts too."""
    if isinstance(event, Delta):
        return bool(event.text)
    if isinstance(event, PartStarted):
        return event.kind == "tool_call"
    return isinstance(event, Blob | Finish)


def _worse(error: BaseException) -> tuple[bool, bool, bool, bool]:
    """The better of two errors sorts first: of ours, one that may be tried again, one that says more than that it was late."""
    if not isinstance(error, TidewireError):
        return True, True, True, True
    return False, not error.retryable, isinstance(error, TimedOut), error.retry_after is None
