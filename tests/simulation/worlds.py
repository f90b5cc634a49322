"""Small worlds under virtual time: hosts that fail in every way they do, readers that come, go and press stop, one seed each.

    python tests/simulation/worlds.py [--worlds 20000] [--from 0]

A world is a log, a desk, two to four hosts, plain or behind a route that falls back, hedges and goes on, in a third of them
behind a cache or shared among equal requests, in a quarter under a plan that insists on a first token, and a dozen questions. `live` raises AssertionError for what never may be: an event lost, doubled or out of order, a stream without its one end, text of two
hosts mixed, a budget overdrawn, a task or a call at a host left over.
"""

from __future__ import annotations

import argparse
import asyncio
import logging
import math
import random
import sys
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from tidewire.cache.answers import Cache, Cached, Rules
from tidewire.cache.flight import Flights, Shared
from tidewire.cache.identity import Basis, key
from tidewire.cache.shelf import MemoryShelf
from tidewire.core import events as ev
from tidewire.core.errors import TidewireError, UpstreamError
from tidewire.core.events import Attempt, Delta, Finish, PartEnded, PartStarted
from tidewire.core.ports import ModelInfo
from tidewire.engine.desk import Terms
from tidewire.engine.plan import Plan as UsePlan
from tidewire.engine.plan import Plans
from tidewire.routing.budget import HALF_LIFE, LENT, Budget
from tidewire.routing.health import Healths
from tidewire.routing.hedge import Hedges
from tidewire.routing.route import Route
from tidewire.routing.table import Candidate, Plan
from tidewire.stores.memory import MemoryLog
from virtual_time import VirtualLoop
from workshop import Reader, desk_of, question, read, settle, stored, well_formed

RETRIES = 0.2  # tries beyond the first, of the requests
HEDGED = 0.05
FAULTS = ("before", "later", "after", "cut", "stall")


class Unmetered:
    """Counts nothing, whatever it is told."""

    def __getattr__(self, name: str) -> Any:
        return lambda *args: None


class Host:
    """Waits a lognormal time and says numbered words of its own; some of its answers go wrong.

    median: seconds to the first word, of a lognormal with this sigma. faulty: the share that goes wrong.
    """

    def __init__(self, name: str, rng: random.Random, faulty: float, median: float = 0.3, sigma: float = 0.8) -> None:
        self.name = name
        self.asked = 0
        self.open = 0
        self._rng = rng
        self._faulty = faulty
        self._median = median
        self._sigma = sigma

    def word(self, n: int, name: str = "") -> str:
        return f"{name or self.name}.{n} "

    def voice(self, request: Any) -> str:
        return self.name

    def said(self, n: int, name: str, request: Any) -> str:
        """Word n; with passages to rest on, every fourth cites one, and not all of those are there."""
        word = self.word(n, name)
        return f"{word[:-1]}[{1 + n % 3}] " if request.documents and n % 4 == 2 else word

    async def answer(self, request: Any, sink: Any) -> None:
        rng = self._rng
        self.asked += 1
        self.open += 1
        try:
            fault = rng.choice(FAULTS) if rng.random() < self._faulty else ""
            words = rng.randint(1, 20)
            breaks = rng.randrange(words)
            sink.feed([Attempt(n=1, provider=self.name, model=request.model, reason="start")])
            if fault == "before":
                raise UpstreamError("it is down", code="upstream_unavailable")
            await asyncio.sleep(self._median * rng.lognormvariate(0, self._sigma))
            if fault == "later":
                raise UpstreamError("it is busy", code="upstream_error", retry_after=rng.choice([None, 0.2, 60.0]))
            sink.feed([PartStarted(part=0, kind="text")])
            last = request.messages[-1]
            given = last.text.split() if last.role == "assistant" else []  # what it is to go on from
            name = given[0].partition(".")[0] if given else self.voice(request)
            if given and (rest := self.said(len(given) - 1, name, request)[len(given[-1]) : -1]):
                sink.feed([Delta(part=0, text=rest + " ")])  # it was cut in the middle of a word
            for n in range(words):
                said = self.said(len(given) + n, name, request)
                if said[-2] == "]" and (n == breaks or rng.random() < 0.5):
                    head, _, said = said.partition("[")
                    sink.feed([Delta(part=0, text=head + "[")])  # a marker in two pieces, or cut in its middle
                if n == breaks and fault in ("after", "cut"):
                    if fault == "cut":
                        return  # neither a part's end nor a finish
                    raise UpstreamError("the connection was reset", code="upstream_cut")
                if n == breaks and fault == "stall":
                    await asyncio.get_running_loop().create_future()
                sink.feed([Delta(part=0, text=said)])
                if rng.random() < 0.7:
                    await asyncio.sleep(rng.expovariate(50))
                if sink.full:
                    await sink.room()
            sink.feed([PartEnded(part=0), Finish(reason="stop")])
        finally:
            try:
                await asyncio.sleep(0)  # a connection closes, and that may take a turn of the loop
            finally:
                self.open -= 1  # cancelled a second time, too

    async def models(self) -> list[ModelInfo]:
        return []

    async def close(self) -> None: ...


class Counted:
    """A provider that counts how often it is asked, in world.asked."""

    def __init__(self, provider: Any, world: World) -> None:
        self.name = provider.name
        self._provider = provider
        self._world = world

    async def answer(self, request: Any, sink: Any) -> None:
        self._world.asked += 1
        await self._provider.answer(request, sink)

    async def models(self) -> list[ModelInfo]:
        return []

    async def close(self) -> None: ...


class Prompt:
    """A reader that takes what there is as it is woken, in the same call, as a door does."""

    def __init__(self) -> None:
        self.entries: list[Any] = []
        self._cursor: Any = None
        self._over = asyncio.get_running_loop().create_future()

    @classmethod
    async def reads(cls, desk: Any, stream: str, after: int = 0) -> list[Any]:
        """All from there on. Raises what the log broke for."""
        reader = cls()
        reader._cursor = await desk.follow("default", stream, after, reader._wake)
        try:
            reader._wake()
            await reader._over
        finally:
            reader._cursor.close()
        return reader.entries

    def _wake(self) -> None:
        if self._cursor is None or self._over.done():
            return
        taken = self._cursor.take(100_000)
        self.entries += taken
        if taken and type(taken[-1].event) is ev.Closed:
            self._over.set_result(None)
        elif not taken and self._cursor.failed is not None:
            self._over.set_exception(self._cursor.failed)


class World:
    """seed: tells all of it. seen: what has happened, so that a test can say that everything did."""

    readers: tuple[str, ...] = ("reads", "leaves", "stops", "two")

    def __init__(self, seed: int, *, requests: int = 12) -> None:
        self.rng = rng = random.Random(seed)
        self.requests = requests
        self.asked = 0  # times that the route, or a host without it, was asked
        self.said: dict[str, Any] = {}  # what else each question holds
        self.read: dict[str, list[bytes]] = {}  # by stream, what its reader has
        self.seen: Counter[str] = Counter()
        faulty = rng.choice([0.0, 0.1, 0.3, 1.0])
        self.hosts = {
            f"h{n}": Host(f"h{n}", random.Random(rng.random()), faulty, median=rng.uniform(0.05, 1.0))
            for n in range(rng.randint(2, 4))
        }
        self.hedges = Hedges(rng.choice([0.0, HEDGED]))
        self.ahead = rng.choice([0, 5])
        self.own = random.Random(f"{seed}.cache")  # so that worlds without a cache are what they were
        due = UsePlan("voice", {"first_token": 200.0 if seed % 8 == 1 else 600.0}, models=("route",), enforce=True)
        self.plans = Plans(others=[due] if seed % 4 == 1 else [])
        self.wrapped = self.own.choice([("coalesce",), ("cache",), ("coalesce", "cache")]) if seed % 3 == 0 else ()

    async def live(self) -> None:
        loop = asyncio.get_running_loop()
        before, began = asyncio.all_tasks(), loop.time()
        plan = Plan(
            candidates=[Candidate(model=name, prefill="assistant") for name in self.hosts],
            continuations=self.rng.choice([0, 1, 3]),
            choose=self.rng.choice(["latency", "order", "weights"]),
            retry_share=RETRIES,
            hedge_share=self.hedges.share,
            first_token_s=self.rng.choice([1.0, 30.0]),
        )
        route = Route(
            "route",
            plan,
            find=self._find,
            healths=Healths(),
            budget=Budget(RETRIES),
            hedges=self.hedges,
            meter=Unmetered(),
            rng=self.rng,
            clock=loop.time,
        )
        log = MemoryLog()
        terms = Terms(stream_s=20.0, ahead=self.ahead)
        around = self._around(loop.time)
        providers = {name: around(Counted(provider, self)) for name, provider in {**self.hosts, "route": route}.items()}
        desk = desk_of(log, providers, terms=terms, meter=Unmetered(), plans=self.plans)
        routed = self.rng.random() < 0.7
        asked = [self._client(desk, log, "route" if routed else self.rng.choice(list(self.hosts)))
                 for _ in range(self.requests)]  # fmt: skip
        await asyncio.gather(*asked)
        await settle()
        assert desk.open_streams == 0
        for stream, raws in self.read.items():
            assert raws == await stored(log, stream)  # only now: nothing has come after the end
        await log.close()
        await settle()
        assert [h.name for h in self.hosts.values() if h.open] == []
        left = asyncio.all_tasks() - before
        assert not left, left
        tries = sum(h.asked for h in self.hosts.values())
        if routed:
            assert self.hedges.spent <= self.hedges.share * self.asked + 1e-9
            again = tries - self.hedges.spent - self.asked
            forgotten = (loop.time() - began) * math.log(2) / HALF_LIFE  # what was lent is lent again
            assert again <= max(LENT * (1 + forgotten), RETRIES * self.asked)
            self.seen["hedges"] += self.hedges.spent
        else:
            assert tries <= self.asked

    async def _find(self, model: str) -> tuple[Host, str]:
        return self.hosts[model], model

    async def _client(self, desk: Any, log: Any, model: str) -> None:
        rng = self.rng
        await asyncio.sleep(rng.uniform(0, 5))
        policy = rng.choice(["cancel", "grace:1", "continue"])
        said = self.own.choice(["Who?", "Why?", "What?"]) if self.wrapped else "Hello?"
        meta = await desk.start(question(said, model=model, on_disconnect=policy, **self.said))
        entries = await getattr(self, "_" + rng.choice(self.readers))(desk, meta.stream, policy)
        self.read[meta.stream] = [e.raw for e in entries]
        self._check(well_formed(entries))

    def _around(self, clock: Callable[[], float]) -> Callable[[Any], Any]:
        """Puts a provider into what this world has around it."""
        flights = Flights(Unmetered())
        cache = Cache(
            MemoryShelf(1 << 20, self.own.choice([1.0, 60.0]), clock),
            Rules(answers="all", pace=self.own.choice([0.0, 50.0, "original"])),
            basis=lambda answerer, request: Basis(answerer, ""),
            meter=Unmetered(),
            now=clock,
            clock=clock,
        )

        def around(provider: Any) -> Any:
            basis = Basis(provider.name, "")
            if "coalesce" in self.wrapped:
                provider = Shared(provider, flights, lambda request: key(request, basis))
            return Cached(provider, cache) if "cache" in self.wrapped else provider

        return around

    # What readers do; each gives the whole log, as it was read

    async def _reads(self, desk: Any, stream: str, policy: str) -> list[Any]:
        return await Prompt.reads(desk, stream)

    async def _leaves(self, desk: Any, stream: str, policy: str) -> list[Any]:
        """And comes back with the cursor, at once or late; the second part follows on the first."""
        first = await Reader.of(desk, stream)
        taken: list[Any] = []
        for _ in range(self.rng.randint(0, 6)):
            if taken and isinstance(taken[-1].event, ev.Closed):
                break
            await first.more()
            taken = first.entries
        first.leave()
        await asyncio.sleep(self.rng.choice([0.0, 0.5, 3.0]))
        if taken and isinstance(taken[-1].event, ev.Closed):
            return taken
        self.seen["resumed"] += 1
        return [*taken, *await Prompt.reads(desk, stream, after=len(taken))]

    async def _stops(self, desk: Any, stream: str, policy: str) -> list[Any]:
        reading = asyncio.ensure_future(Prompt.reads(desk, stream))
        await asyncio.sleep(self.rng.expovariate(2))
        if await desk.cancel("default", stream):
            self.seen["stopped"] += 1
        entries = await reading
        assert not await desk.cancel("default", stream)
        return entries

    async def _two(self, desk: Any, stream: str, policy: str) -> list[Any]:
        late = self.rng.uniform(0, 1)

        async def second() -> list[Any]:
            await asyncio.sleep(late)
            return await read(desk, stream)

        one, two = await asyncio.gather(Prompt.reads(desk, stream), second())
        assert [e.raw for e in one] == [e.raw for e in two]
        return one

    def _check(self, events: list[Any]) -> None:
        """The words of one host from the first on, none lost, none doubled, none of another."""
        said = "".join(e.text for e in events if type(e) is Delta and e.part == 0).split()
        end = self._ended(events)
        if said:
            host = self.hosts[said[0].partition(".")[0]]
            assert said == [host.word(n).strip() for n in range(len(said))]
        if end.status == "completed":
            assert said

    def _ended(self, events: list[Any]) -> Any:
        """The last event, which says how it ended; the attempts before it are numbered."""
        end = events[-1]
        self.seen[end.status] += 1
        if end.reused is not None:
            self.seen[end.reused] += 1
        attempts = [e for e in events if type(e) is Attempt]
        for attempt in attempts:
            self.seen[attempt.reason] += 1
        assert [a.n for a in attempts] == list(range(1, len(attempts) + 1))
        if end.status == "completed":
            assert end.error is None
        if end.status == "failed":
            assert end.error is not None
            assert end.error.code != "internal_error"
            self.seen[end.error.code] += 1
        return end


def live(seed: int, *, requests: int = 12) -> Counter[str]:
    """One world from beginning to end; what was seen in it."""
    world = World(seed, requests=requests)
    loop = VirtualLoop()
    loop.live(asyncio.wait_for(world.live(), 3600))  # virtual: nothing may hang
    assert not loop.complaints, loop.complaints
    return world.seen


def main() -> int:
    given = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    given.add_argument("--worlds", type=int, default=20_000)
    given.add_argument("--from", type=int, default=0, dest="first")
    told = given.parse_args()
    from simulation import arranged

    logging.disable()  # tools raise on purpose
    for name, one in (("plain", live), ("arranged", arranged.live)):
        began, seen = time.perf_counter(), Counter[str]()
        for seed in range(told.first, told.first + told.worlds):
            try:
                seen += one(seed)
            except (AssertionError, TidewireError, TimeoutError):
                sys.stderr.write(f"{name} world {seed}: again with --from {seed} --worlds 1\n")
                raise
        rate = told.worlds / (time.perf_counter() - began)
        sys.stdout.write(f"{told.worlds} {name} worlds, {rate:.0f} a second: {dict(sorted(seen.items()))}\n")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
