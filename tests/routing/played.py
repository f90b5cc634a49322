"""Hosts that are played, a route over them, and a sink that keeps what it is given."""

from __future__ import annotations

import asyncio
import random

import async_solipsism
import pytest

from tidewire.core.errors import TidewireError, UnknownModel, UpstreamError
from tidewire.core.events import Attempt, Delta, Finish, PartEnded, PartStarted
from tidewire.core.request import Message, Request, Text
from tidewire.routing.budget import Budget
from tidewire.routing.health import Healths
from tidewire.routing.route import Route
from tidewire.routing.table import Candidate, Plan


class Cup:
    full = False

    def __init__(self):
        self.events = []

    def feed(self, events):
        self.events.extend(events)

    async def room(self): ...

    @property
    def text(self):
        return "".join(e.text for e in self.events if isinstance(e, Delta))


def question(text="Hello?", **more):
    return Request(model="r", messages=[Message(role="user", content=[Text(text)])], **more)


def virtually(work):
    with asyncio.Runner(loop_factory=async_solipsism.EventLoop) as runner:
        runner.run(work)


def at_every_moment(one, every=0.005):
    """Calls it with a later moment each time, in virtual seconds, until it says that all was over by then."""

    async def work():
        at = 0.0
        while not await one(at):
            at += every

    virtually(work())


class Tally:
    def __init__(self) -> None:
        self.asked: dict[str, int] = {}
        self.failures: list[tuple[str, str]] = []
        self.states: dict[str, str] = {}
        self.continuations: list[tuple[str, str]] = []
        self.costs: list[tuple[str, float]] = []

    def tried(self, route, model):
        self.asked[model] = self.asked.get(model, 0) + 1

    def try_failed(self, route, model, code):
        self.failures.append((model, code))

    def route_cost(self, route, model, usd):
        self.costs.append((model, usd))

    def continued(self, route, model, result):
        self.continuations.append((model, result))

    def breaker(self, model, state):
        self.states[model] = state

    def warmed(self, provider, dialled, answered): ...

    def not_warmed(self, provider, code): ...


class Host:
    """Speaks after `wait` seconds, one word every `pace`; raises `error` before word number `at`."""

    def __init__(self, name, *, wait=0.1, pace=0.01, words=3, error=None, at=0, close_early=False):
        self.name = name
        self.wait, self.pace, self.words = wait, pace, words
        self.error, self.at = error, at
        self.asked = self.open = 0

    async def answer(self, request, sink):
        self.asked += 1
        self.open += 1
        try:
            sink.feed([Attempt(n=1, provider=self.name, model=request.model, reason="start")])
            await asyncio.sleep(self.wait)
            for word in range(self.words):
                if self.error is not None and word == self.at:
                    raise self.error() if isinstance(self.error, type) else self.error
                sink.feed(
                    [*([] if word else [PartStarted(part=0, kind="text")]), Delta(part=0, text=f"{self.name}{word} ")]
                )
                await asyncio.sleep(self.pace)
            sink.feed([PartEnded(part=0), Finish(reason="stop")])
        finally:
            self.open -= 1

    async def models(self):
        return []

    async def close(self): ...


class Down(UpstreamError):
    def __init__(self):
        super().__init__("it is down", code="upstream_unavailable", upstream_status=503)


def refused():
    error = UpstreamError("no such field", code="upstream_refused", upstream_status=400)
    error.status, error.retryable = 400, False
    return error


def route(plan, hosts, *, healths=None, budget=None, tally=None, seed=1, limit=600.0):
    known = {host.name: host for host in hosts}

    async def find(model):
        if model not in known:
            raise UnknownModel(f"there is no model {model!r}")
        return known[model], f"{model}-as-it-knows-it"

    return Route(
        "r",
        plan,
        find=find,
        healths=Healths() if healths is None else healths,
        budget=budget or Budget(plan.retry_share),
        meter=tally or Tally(),
        rng=random.Random(seed),
        clock=asyncio.get_running_loop().time,
        limit=limit,
    )


def plan(*names, choose="order", **more):
    return Plan(
        candidates=[c if isinstance(c, Candidate) else Candidate(model=c) for c in names], choose=choose, **more
    )


def attempts(cup):
    return [(e.n, e.provider, e.reason) for e in cup.events if isinstance(e, Attempt)]


async def refusal(of, request=None, cup=None):
    with pytest.raises(TidewireError) as caught:
        await of.answer(request or question(), cup or Cup())
    return caught.value
