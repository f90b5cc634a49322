"""A route: a name that several models answer to. One candidate after another is tried; after the first token, to go on.

What it keeps: content that has passed is never said a second time; tries beyond the first stay within the
budget; none begins that is not likely to speak before the deadline. Where a first token is due, another candidate is asked while it
can still keep that.
"""

from __future__ import annotations

import asyncio
import math
import random
from collections.abc import Awaitable, Callable, Coroutine, Sequence
from typing import Any, Final

from tidewire.core.errors import BadRequest, TidewireError, TimedOut, UnknownModel, UpstreamError
from tidewire.core.events import Notice
from tidewire.core.meter import RouteMeter
from tidewire.core.ports import ModelInfo, Provider, Sink
from tidewire.core.request import Request
from tidewire.routing.budget import Budget
from tidewire.routing.choose import prefix, ranked
from tidewire.routing.continuation import Unbroken, continuable, prefills
from tidewire.routing.due import Due, deadline
from tidewire.routing.health import Healths
from tidewire.routing.hedge import Hedges, Moment, race
from tidewire.routing.table import Candidate, Needs, Plan, lacks, needs
from tidewire.routing.trying import Numbered, Patience, Reason, Try, asked_as, blames_request, told

Find = Callable[[str], Awaitable[tuple[Provider, str]]]

PATIENCE: Final = 5.0  # seconds: a host that asks for a longer pause is not waited for
DEGRADED: Final = "degraded"


class Route:
    """A `Provider`. find: the provider behind a model's name, and the name by which it knows it; raises UnknownModel.

    limit: seconds for an answer whose request sets no time limit. rng, clock: given, so that a seed tells all.
    """

    def __init__(
        self,
        name: str,
        plan: Plan,
        *,
        find: Find,
        healths: Healths,
        budget: Budget,
        meter: RouteMeter,
        rng: random.Random,
        clock: Callable[[], float],
        hedges: Hedges | None = None,
        limit: float = 1800.0,
    ) -> None:
        self.name = name
        self.plan = plan
        self.find = find
        self.healths = healths
        self.budget = budget
        self.meter = meter
        self.hedges = hedges or Hedges(plan.hedge_share)
        self.rng = rng
        self.clock = clock
        self.limit = limit

    async def answer(self, request: Request, sink: Sink) -> None:
        answering = _Answering(self, request, sink)
        try:
            await answering.run()
        finally:
            answering.forget()

    async def models(self) -> Sequence[ModelInfo]:
        names = ", ".join(c.model for c in self.plan.candidates)
        return [ModelInfo(id=self.name, provider="route", note=f"a route to {names}")]

    async def close(self) -> None:
        """The providers behind it belong to others."""

    def able(self, request: Request, need: Needs) -> list[Candidate]:
        """Candidates that may and can. Raises BadRequest that names the capability that is missing."""
        allowed = [c for c in self.plan.candidates if not c.tenants or request.tenant in c.tenants]
        if self.plan.regions:
            allowed = [c for c in allowed if c.region in self.plan.regions]
        if not allowed:
            raise UnknownModel(f"the route {self.name!r} has no model for this tenant", param="model")
        found = [c for c in allowed if not lacks(c, need)]
        if not found:
            missing = " and ".join(sorted({lacks(c, need) for c in allowed}))
            raise BadRequest(
                f"no model of the route {self.name!r} has {missing}, which this request needs; leave it out, or name another model",
                code="unsupported_value",
                param="tools" if missing == "tools" else "messages",
            )
        return found


class _Answering:
    """One answer of a route."""

    def __init__(self, route: Route, request: Request, sink: Sink) -> None:
        self._route = route
        self._request = request
        lasting = route.plan.continuations > 0 and continuable(request)
        self._unbroken = Unbroken(sink, request) if lasting else None
        self._sink = Numbered(self._unbroken or sink)
        self._now = route.clock
        began = self._now()
        self._deadline = deadline(request, route.limit, began)
        self._due = Due(request.first_by, began, instead=route.plan.degrade, healths=route.healths)
        self._tries = 0  # that reached a host
        self._others = 0  # candidates after the first
        self._again = 0
        self._errors: dict[str, TidewireError] = {}  # by candidate, its last one
        self._last: TidewireError | None = None
        self._unsaid: BadRequest | None = None  # what a host's protocol has no words for
        self._cut: TidewireError | None = None  # by which words broke off last
        self._left: list[Candidate] = []
        self._failed: list[Candidate] = []

    async def run(self) -> None:
        route, request = self._route, self._request
        need = needs(request)
        able = route.able(request, need)
        now = self._now()
        route.budget.request(now)
        key = prefix(request) if route.plan.sticky else b""
        self._left = ranked(route.plan, able, need, healths=route.healths, rng=route.rng, now=now, key=key)
        while (step := self._next()) is not None:
            candidate, reason, pause = step
            if pause:
                await asyncio.sleep(pause)
            if await self._tried(candidate, reason):
                return
        if not await self._degraded():
            raise self._refusal(able)

    def forget(self) -> None:
        """Errors know by their tracebacks who kept them: all of it would stay until the collector looks."""
        self._errors.clear()
        self._last = self._unsaid = self._cut = None

    def _next(self) -> tuple[Candidate, Reason, float] | None:
        """Whom to ask now, why, and after how many seconds: others before the same again."""
        now, plan = self._now(), self._route.plan
        if self._last is not None and blames_request(self._last):
            return None
        self._left.sort(key=lambda c: self._due.slow(c.model, now))
        while self._left and (not self._tries or self._others < plan.fallbacks):
            candidate = self._left.pop(0)
            if not self._route.healths[candidate.model].breaker.allows(now) or not self._in_time(candidate, 0.0):
                continue
            if not self._tries:
                return candidate, "start", 0.0
            if not self._route.budget.take(now):
                return None
            self._others += 1
            return candidate, "fallback", 0.0
        if self._again >= plan.retries or not self._tries:
            return None
        waits = ((self._pause(c), c) for c in self._failed)
        open_to = [(wait, c) for wait, c in waits if wait is not None and self._in_time(c, wait)]
        if not open_to or not self._route.budget.take(now):
            return None
        wait, candidate = min(open_to, key=lambda pair: pair[0])
        self._again += 1
        return candidate, "retry", wait

    def _in_time(self, candidate: Candidate, wait: float) -> bool:
        """Whether a try begun then is likely to speak before the deadline. The first is given the benefit of the doubt."""
        now = self._now()
        typical = self._route.healths[candidate.model].times.quantile(0.5, now) if self._tries else None
        return now + wait + (typical or 0.0) < self._deadline and now + wait < self._due.latest

    def _patience(self) -> Patience:
        """For a try that begins now."""
        now = self._now()
        return min(
            (self._route.plan.first_token_s, "upstream_first_token_timeout"),
            (self._deadline - now, "time_limit"),
            (self._due.latest - now, "plan_first_token"),
        )

    def _pause(self, candidate: Candidate) -> float | None:
        """Seconds until a candidate that failed may be tried again, with jitter; None: not in this answer."""
        error = self._errors[candidate.model]
        if not error.retryable or not self._route.healths[candidate.model].breaker.allows(self._now()):
            return None
        if error.retry_after is not None:
            return error.retry_after + self._route.rng.uniform(0, 0.1) if error.retry_after <= PATIENCE else None
        return min(2.0, 0.1 * 2.0 ** (self._again + 1)) * self._route.rng.uniform(0.5, 1.0)

    async def _tried(self, candidate: Candidate, reason: Reason) -> bool:
        """True once the answer is whole. False where another candidate may be tried: nothing was said, and why is kept."""
        route = self._route
        health = route.healths[candidate.model]
        try:
            provider, name = await route.find(candidate.model)
        except UnknownModel as error:
            self._remember(candidate, error)
            return False
        if not health.breaker.allows(self._now()):  # opened while its provider was looked for
            return False
        if self._patience()[0] <= 0:
            return False
        self._sink.reason = reason
        before = self._sink.n
        try:
            await self._ask(candidate, provider, name)
        except TidewireError as error:
            self._tries += self._sink.n > before or not isinstance(error, BadRequest)
            if error.begun:
                if await self._go_on(candidate, error):
                    return True
                raise
            if isinstance(error, BadRequest) and error.kind == "unsupported_value" and self._sink.n == before:
                self._unsaid = error  # no host was asked: what this one's protocol cannot say, another's may
                return False
            self._remember(candidate, error)
            return False
        return True

    async def _go_on(self, candidate: Candidate, error: TidewireError) -> bool:
        """Candidates say the rest of an answer that broke off: others first. False where none can."""
        route, unbroken = self._route, self._unbroken
        if unbroken is None:
            return False
        others = [*self._left, candidate]
        unbroken.cut()
        self._due.lift()
        for _ in range(route.plan.continuations):
            whom = next((c for c in others if route.healths[c.model].breaker.allows(self._now())), None)
            if whom is None or not unbroken.may_go_on(self._cut or error) or not self._in_time(whom, 0.0):
                break
            others = [*(c for c in others if c is not whom), whom]
            if await self._said_by(whom, unbroken):
                return True
        return unbroken.give_up()

    async def _said_by(self, whom: Candidate, unbroken: Unbroken) -> bool:
        """Whether this candidate has said the rest. One that takes no prefill, though its host should, is told to go on instead."""
        route = self._route
        try:
            provider, name = await route.find(whom.model)
        except UnknownModel:
            route.meter.continued(route.name, whom.model, "failed")
            return False
        for prefill in (True, False) if prefills(whom, provider, name) else (False,):
            asked = unbroken.question(prefill=prefill)
            if asked is None:
                unbroken.finish("length")
                return True
            if not route.budget.take(self._now()):
                return False
            self._request, self._sink.reason = asked, "continuation"
            try:
                async with unbroken.joined():
                    await self._ask(whom, provider, name)
            except TidewireError as error:
                if error.begun:
                    self._cut = error
                lost = unbroken.lost is not None
                unbroken.cut()
                route.meter.continued(route.name, whom.model, "unjoinable" if lost else "failed")
                if not asked.prefill or error.begun or not (lost or blames_request(error)):
                    return False
                continue
            route.meter.continued(route.name, whom.model, "whole")
            return True
        return False

    async def _ask(self, candidate: Candidate, provider: Provider, name: str) -> None:
        """One candidate; and, where that one is late, a second beside it: the first of all where the route hedges, any while a
        first token is due.
        """
        route = self._route

        async def ask(whom: Candidate, provider: Provider, name: str, lane: Sink) -> None:
            health = route.healths[whom.model]
            one = Try(route.name, route.plan, whom, health=health, meter=route.meter, clock=route.clock)
            try:
                await one.run(provider, asked_as(self._request, name), lane, patience=self._patience())
            except TidewireError as error:
                self._errors[whom.model] = error
                raise

        hedges = route.plan.hedge_share > 0 and not self._tries
        late = route.healths[candidate.model].times.quantile(0.95, self._now()) if hedges else None
        beside = await self._beside() if late is not None or not math.isinf(self._due.latest) else None
        if beside is None:
            await ask(candidate, provider, name, self._sink)
            return
        other, others_provider, others_name = beside
        breaker = route.healths[other.model].breaker

        def hedge() -> bool:
            return breaker.allows(self._now()) and route.hedges.take()

        def fallback() -> bool:
            """One that does not wait for the first to fail."""
            if not breaker.allows(self._now()) or not route.budget.take(self._now()):
                return False
            self._others += 1
            return True

        moments: list[Moment] = []
        if late is not None:
            route.hedges.request()
            moments.append((late, hedge))
        if self._others < route.plan.fallbacks and (rush := self._due.rush(other.model, self._now())) is not None:
            moments.append((rush, fallback))
        if not moments:
            await ask(candidate, provider, name, self._sink)
            return

        async def second(lane: Sink) -> None:
            self._left.remove(other)
            self._tries += 1
            try:
                await ask(other, others_provider, others_name, lane)
            except TidewireError as error:
                self._remember(other, error)
                raise

        def first(lane: Sink) -> Coroutine[Any, Any, None]:
            return ask(candidate, provider, name, lane)

        await race(first, second, self._sink, moments=moments)

    async def _beside(self) -> tuple[Candidate, Provider, str] | None:
        """Who would be asked next, and may be."""
        for candidate in self._left:
            if self._route.healths[candidate.model].breaker.allows(self._now()):
                try:
                    return candidate, *(await self._route.find(candidate.model))
                except UnknownModel:
                    continue
        return None

    def _remember(self, candidate: Candidate, error: TidewireError) -> None:
        self._last = error
        self._errors.setdefault(candidate.model, error)  # of two asked side by side, each keeps its own
        if candidate not in self._failed:
            self._failed.append(candidate)

    async def _degraded(self) -> bool:
        """No candidate answered: whether the model for such a time has."""
        last, degrade = self._last, self._route.plan.degrade
        if (last is None and self._unsaid is not None) or (last is not None and blames_request(last)):
            return False
        if not degrade or self._deadline <= self._now():
            return False
        self._due.lift()
        message = f"no model of {self._route.name} can answer now; {degrade} does instead"
        self._sink.feed([Notice(code=DEGRADED, message=message)])
        return await self._tried(Candidate(model=degrade), "fallback")

    def _refusal(self, able: Sequence[Candidate]) -> TidewireError:
        """Why there is no answer, and what was tried."""
        last = self._last
        if last is None and self._unsaid is not None:
            return self._unsaid
        if last is not None and blames_request(last):
            return last
        if last is not None:
            tries = f"{self._tries} {'try' if self._tries == 1 else 'tries'}"
            models = f"{len(self._failed)} model{'s' * (len(self._failed) != 1)}"
            return told(last, f"the route {self._route.name!r} gave up after {tries} at {models}")
        now = self._now()
        if now >= self._deadline:
            return TimedOut(
                "the time limit was over before a model could be asked; raise time_limit", code="time_limit"
            )
        wait = max(1, math.ceil(min((self._route.healths[c.model].breaker.wait(now) for c in able), default=0.0)))
        error = UpstreamError(
            f"no model of the route {self._route.name!r} is asked now, since they failed of late; try again in {wait} s",
            code="upstream_unavailable",
            retry_after=float(wait),
        )
        error.status = 503
        return error
