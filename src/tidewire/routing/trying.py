"""One try at one candidate: its attempts numbered with all the others of the answer, its health and breaker kept."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from typing import Final, Literal

import msgspec

from tidewire.core.errors import BadRequest, Overloaded, TidewireError, TimedOut, UpstreamError
from tidewire.core.events import Attempt, Blob, Delta, Event, Finish, PartStarted, Usage
from tidewire.core.meter import RouteMeter
from tidewire.core.passing import Passing
from tidewire.core.ports import Provider, Sink
from tidewire.core.request import Request
from tidewire.routing.health import Health
from tidewire.routing.table import DECIMALS, Candidate, Plan

Reason = Literal["start", "retry", "fallback", "continuation", "hedge", "refinement"]
# Seconds until the first token, and the code of what is raised when it has not come by then.
Patience = tuple[float, str]

LATE: Final = {
    "upstream_first_token_timeout": "after {seconds:g} s; try again, or ask a quicker model",
    "time_limit": "when the time limit was over; raise time_limit",
    "plan_first_token": "when the first token was due by its plan (first_token_ms); try again, or name another plan",
}


class Numbered(Passing):
    """Passes on what it hears with one count of attempts, however many providers feed it one after another. n: so far."""

    __slots__ = ("_sink", "n", "reason")

    def __init__(self, sink: Sink) -> None:
        self._sink = sink
        self.n = 0
        self.reason: Reason = "start"  # of the try that begins next

    def feed(self, events: Sequence[Event]) -> None:
        if len(events) != 1 or type(events[0]) is not Delta:
            events = [self._counted(e) if isinstance(e, Attempt) else e for e in events]
        self._sink.feed(events)

    def _counted(self, event: Attempt) -> Attempt:
        self.n += 1
        reason = self.reason if event.reason == "start" else event.reason
        return Attempt(n=self.n, provider=event.provider, model=event.model, reason=reason)


class Try(Passing):
    """The sink of its provider: passes on what it hears, notes when content comes, and says what the tokens cost."""

    def __init__(
        self, route: str, plan: Plan, whom: Candidate, *, health: Health, meter: RouteMeter, clock: Callable[[], float]
    ) -> None:
        self.model = whom.model
        self._whom = whom
        self._usd = 0.0  # of what the host has reported so far
        self._begun = False  # content has come
        self._finish = False  # the end was heard
        self._route = route
        self._plan = plan
        self._health = health
        self._meter = meter
        self._clock = clock
        self._probe = False
        self._timer: asyncio.Timeout | None = None
        self._began = 0.0

    async def run(self, provider: Provider, request: Request, sink: Sink, *, patience: Patience) -> None:
        """Returns at the end of the answer. Raises what the provider does, with `begun` set where content had passed; and
        TimedOut when the first token has not come in time.
        """
        health = self._health
        self._began = self._clock()
        self._probe = health.breaker.begin(self._began)
        self._meter.tried(self._route, self.model)
        self._sink = sink
        health.in_flight += 1
        health.tries += 1
        try:
            try:
                async with asyncio.timeout(patience[0]) as self._timer:
                    await provider.answer(request, self)
            except TimeoutError:
                seconds, code = patience
                raise TimedOut(
                    f"{self.model} had said nothing {LATE[code].format(seconds=seconds)}", code=code
                ) from None
            if not self._finish:
                raise UpstreamError(f"{self.model} ended its answer without saying why", code="upstream_unfinished")
            if not self._begun:
                self._spoke()  # an answer without a word is one
        except TidewireError as error:
            if self._finish:
                return  # it was whole before this
            error.begun = error.begun or self._begun
            self._failed(error)
            raise
        except asyncio.CancelledError:
            if not self._begun:
                health.late(self._clock() - self._began, self._clock())
            raise
        except Exception:
            self._failed(None)
            raise
        finally:
            health.in_flight -= 1
            health.breaker.dropped(probe=self._probe)
            self._meter.breaker(self.model, health.breaker.state(self._clock()))
            if self._usd:
                self._meter.route_cost(self._route, self.model, self._usd)
            self._timer = None  # it holds the task, and that the error, and that this

    def feed(self, events: Sequence[Event]) -> None:
        if self._begun and len(events) == 1 and type(events[0]) is Delta:
            self._sink.feed(events)
            return
        self._sink.feed([self._priced(event) if isinstance(event, Usage) else event for event in events])
        before = self._begun
        for event in events:
            if isinstance(event, Delta | PartStarted | Blob):
                self._begun = True
            elif isinstance(event, Finish):
                self._finish = True
        if self._begun and not before:
            self._spoke()

    def _priced(self, usage: Usage) -> Usage:
        """With its cost, where the candidate has prices and the host has counted."""
        if usage.counted_by != "host" or usage.reused is not None:
            return usage
        usd = self._whom.price(usage.input or 0, usage.output or 0)
        if not usd:
            return usage  # perhaps with what a route behind this one says
        self._usd = usd
        return msgspec.structs.replace(usage, cost=round(usd, DECIMALS))

    def _spoke(self) -> None:
        if self._timer is not None and not self._timer.expired():
            self._timer.reschedule(None)
        now = self._clock()
        after = now - self._began
        self._health.spoke(after, now)
        if after > self._plan.slow_s:
            self._break(now)
        else:
            self._health.breaker.succeeded(now, probe=self._probe)
        self._probe = False

    def _failed(self, error: TidewireError | None) -> None:
        now = self._clock()
        self._meter.try_failed(self._route, self.model, "internal_error" if error is None else error.kind)
        if error is not None and blames_request(error):
            if self._probe:
                self._health.breaker.succeeded(now, probe=True)  # a host that reads requests and refuses them is well
                self._probe = False
            return
        if error is not None and error.kind == "time_limit":  # the request's own, which says nothing of the host
            self._health.late(now - self._began, now)
            return
        if error is not None and error.kind == "plan_first_token":
            if self._health.missed(now - self._began, now):
                self._break(now)
                self._probe = False
            return
        self._health.erred(now - self._began, now)
        self._break(now)
        self._probe = False

    def _break(self, now: float) -> None:
        plan = self._plan
        self._health.breaker.failed(now, probe=self._probe, share=plan.break_share, pause=plan.break_s)


def blames_request(error: TidewireError) -> bool:
    """Whether another host would refuse it too. A key, a quota or a model that is not there is the host's own matter."""
    if isinstance(error, BadRequest):
        return True
    if isinstance(error, UpstreamError | TimedOut | Overloaded):
        return error.kind == "upstream_refused" or error.status in (400, 413, 422)
    return not error.retryable and error.status < 500 and error.status != 404


def told(error: TidewireError, more: str) -> TidewireError:
    """The same error with more in its sentence."""
    message = f"{error.message}; {more}"
    found: TidewireError
    if isinstance(error, UpstreamError):
        found = UpstreamError(
            message, code=error.kind, retry_after=error.retry_after, upstream_status=error.upstream_status
        )
    else:
        found = type(error)(message, code=error.kind, param=error.param, retry_after=error.retry_after)
    found.status, found.retryable, found.begun = error.status, error.retryable, error.begun
    return found


def asked_as(request: Request, model: str) -> Request:
    return msgspec.structs.replace(request, model=model)
