"""Worlds in which everything stands around the hosts at once, in the server's order: a route that falls back, hedges and goes on, a
cascade over it, the server's tools around that, equal questions shared, answers kept, documents searched. Hosts fail, also in the middle
of a citation's marker; tools raise, hang, flood and fault; searches are late and fail, and passages change while answers rest on them;
readers leave and come back, or press stop while a tool runs. What must never be is what `worlds` asserts, and:

- the text is that of one model a round, from its first word on, whatever was edited;
- each side effect of a tool happens once, no call is left without its result, and no tool runs on;
- an answer that is whole says what it used;
- each marker of a passage that was given becomes one citation, and the end says what the answer rests on (`documents.check`).
"""

from __future__ import annotations

import asyncio
import random
import re
from collections import Counter
from collections.abc import Callable
from typing import Any

from simulation.documents import Documents, check
from simulation.worlds import Counted, Host, Unmetered, World
from tidewire.core.errors import UpstreamError
from tidewire.core.events import (
    Attempt,
    Citation,
    Closed,
    Delta,
    Edit,
    Finish,
    Notice,
    PartEnded,
    PartStarted,
    Progress,
    Retrieved,
    Superseded,
    Usage,
    edit,
)
from tidewire.routing.cascade import REFINEMENT_FAILED, Cascade
from tidewire.routing.cascade_plan import CascadePlan, Member
from tidewire.routing.hedge import Hedges
from tidewire.routing.judge import Rules
from tidewire.server.toolbox import problem
from tidewire.toolbox.calls import Bounds, Shared
from tidewire.toolbox.runner import Runner
from tidewire.toolbox.unfinished import Unfinished
from toolbox.played_tools import Played
from toolbox.test_tool_faults import behaviour
from virtual_time import VirtualLoop
from workshop import Reader

MARKER = re.compile(r"\[(\d)\]")
REFINED = (0.0, 0.1, 1.0)  # shares of answers that may be refined


class Caller(Host):
    """A host that also calls the server's tools behind its words, by ids that every host uses, and breaks off in the middle of calls."""

    def __init__(self, name: str, rng: random.Random, tools: list[str], **more: Any) -> None:
        super().__init__(name, rng, **more)
        self._tools = tools

    async def answer(self, request: Any, sink: Any) -> None:
        rng = self._rng
        if not request.tools or rng.random() < 0.5:
            await super().answer(request, Booked(sink))
            return
        self.asked += 1
        self.open += 1
        try:
            sink.feed([Attempt(n=1, provider=self.name, model=request.model, reason="start")])
            await asyncio.sleep(self._median * rng.lognormvariate(0, self._sigma))
            breaks = rng.random() < self._faulty
            for part in range(rng.randint(1, 3)):
                sink.feed([PartStarted(part=part, kind="tool_call", name=rng.choice(self._tools), call=f"c{part}")])
                for piece in ('{"city": ', '"Kiel"}'):
                    sink.feed([Delta(part=part, text=piece)])
                    await asyncio.sleep(rng.expovariate(50))
                    if breaks and rng.random() < 0.4:
                        raise UpstreamError("that was no event", code="upstream_bad_event")
                sink.feed([PartEnded(part=part)])
            sink.feed([Usage(counted_by="host", input=10, output=5), Finish(reason="tool_calls")])
        finally:
            self.open -= 1


class Stronger(Host):
    """Writes the draft again with every third word its own, so that edits keep the others."""

    async def answer(self, request: Any, sink: Any) -> None:
        await super().answer(request, Booked(sink))

    def voice(self, request: Any) -> str:
        draft = request.messages[-2:-1]
        return str(draft[0].text.partition(".")[0]) if draft else self.name  # it may be asked by itself

    def word(self, n: int, name: str = "") -> str:
        return f"{self.name if n % 3 == 1 else name}.{n} "


class Booked:
    """A sink that says the tokens before the end, as hosts do."""

    def __init__(self, sink: Any) -> None:
        self._sink = sink

    @property
    def full(self) -> bool:
        return bool(self._sink.full)

    def feed(self, events: Any) -> None:
        if isinstance(events[-1], Finish):
            events = [*events[:-1], Usage(counted_by="host", input=10, output=5), events[-1]]
        self._sink.feed(events)

    async def room(self) -> None:
        await self._sink.room()


class Arranged(World):
    """seed: tells all of it. In half of them documents are searched, around everything else."""

    readers = (*World.readers, "calls_off")

    def __init__(self, seed: int, *, requests: int = 12) -> None:
        super().__init__(seed, requests=requests)
        rng = self.other = random.Random(f"{seed}.arranged")
        self.wrapped = rng.choice([(), (), ("coalesce",), ("cache",), ("coalesce", "cache")])
        self.effects: Counter[str] = Counter()
        self.tools = {
            name: Played(
                name,
                behaviour(rng, self.effects),
                timeout=5.0,
                idempotent=rng.random() < 0.5,
                retries=2,
                result_bytes=1_000_000,
            )
            for name in ("a", "b")
        }
        faulty = rng.choice([0.0, 0.1, 0.3, 1.0])
        self.hosts = {
            name: Caller(name, random.Random(rng.random()), [*self.tools, "nobody"], faulty=faulty)
            for name in self.hosts
        }
        self.said = {"edits": rng.random() < 0.7}
        self.refining = Hedges(rng.choice(REFINED))
        self.cascaded = 0
        self.documents = Documents(random.Random(rng.random())) if rng.random() < 0.5 else None

    async def live(self) -> None:
        changing = None if self.documents is None else asyncio.ensure_future(self.documents.change())
        try:
            await super().live()
        finally:
            if changing is not None:
                changing.cancel()
        if self.documents is not None:
            assert len(self.documents.watch) == 0, "an answer that is over follows nothing"
        assert all(tool.running == 0 for tool in self.tools.values())
        assert all(count <= 1 for count in self.effects.values()), self.effects
        assert self.refining.spent <= self.refining.share * self.cascaded + 1e-9
        self.seen["calls"] += len(self.effects)
        self.seen["refinements"] += self.refining.spent

    def _around(self, clock: Callable[[], float]) -> Callable[[Any], Any]:
        outer = super()._around(clock)
        cascades = self.other.random() < 0.5
        rules = Rules(short_draft=self.other.choice([0, 60, 10_000]))
        bounds = Bounds(rounds=3, calls=8, parallel=self.other.randint(1, 4), heartbeat=self.other.choice([0.5, 10.0]))
        shared = Shared(bounds, problem, Unmetered())
        strong = Stronger("strong", random.Random(self.other.random()), faulty=0.5)
        self.hosts["strong"] = strong  # its words are told apart, and it is closed as the others are

        def around(provider: Any) -> Any:
            if cascades:
                provider = self._cascade(provider, Counted(strong, self), rules, clock)
            provider = outer(Runner(provider, lambda request: dict(self.tools), shared, Unfinished()))
            return provider if self.documents is None else self.documents.around(provider)

        return around

    def _cascade(self, quick: Any, strong: Any, rules: Rules, clock: Callable[[], float]) -> Any:
        members = {"quick": quick, "strong": strong}
        plan = CascadePlan(
            draft=Member(model="quick"), refine=Member(model="strong"), rules=rules, without_edits=self.other.choice(["draft", "wait"])
        )  # fmt: skip

        async def find(model: str) -> tuple[Any, str]:
            return members[model], model if model == "strong" else quick.name

        self_ = self

        class Asked(Hedges):
            """Counts what it is told of."""

            def request(self) -> None:
                self_.cascaded += 1
                self_.refining.request()

            def take(self) -> bool:
                return self_.refining.take()

        return Cascade("cascade", plan, find=find, share=Asked(), meter=Unmetered(), clock=clock, limit=20.0)

    async def _calls_off(self, desk: Any, stream: str, policy: str) -> list[Any]:
        """Presses stop as soon as a tool runs."""
        reader = await Reader.of(desk, stream)
        try:
            while not reader.entries or type(reader.entries[-1].event) not in (Closed, Progress):
                await reader.more()
            if type(last := reader.entries[-1].event) is Progress and last.stage == "calling":
                self.seen["stopped in a call"] += await desk.cancel("default", stream)
            return await reader.all()
        finally:
            reader.leave()

    def _check(self, events: list[Any]) -> None:
        end = self._ended(events)
        kinds: dict[int, PartStarted] = {}
        texts: dict[int, list[str]] = {}
        attempts: list[Attempt] = []
        used: Usage | None = None
        edited = failed = False
        for event in events:
            if type(event) is Delta:
                texts[event.part].append(event.text)
            elif type(event) is PartStarted:
                kinds[event.part] = event
                texts[event.part] = []
            elif type(event) is Attempt:
                attempts.append(event)
            elif type(event) is Edit:
                edited = True
                edit(texts[event.part], event)
            elif type(event) is Usage:
                used = event
            elif type(event) is Notice:
                failed = failed or event.code == REFINEMENT_FAILED
        self.seen["edited"] += edited
        if end.status == "completed" or not edited:
            rounds = 1 + sum(a.reason == "tools" for a in attempts)
            said = [w for n, t in texts.items() if kinds[n].kind == "text" for w in "".join(t).split()]
            self._words(said, rounds, strong="" if failed else "strong")
        marked = [int(m) for n, t in texts.items() if kinds[n].kind == "text" for m in MARKER.findall("".join(t))]
        check(events, None if edited else marked)
        for event in events:
            if type(event) in (Citation, Retrieved, Superseded):
                self.seen[type(event).__name__] += 1
            elif type(event) is Notice:
                self.seen[event.code] += 1
        if end.status == "completed":
            ours = Counter(k.call for k in kinds.values() if k.kind == "server_call")
            results = Counter(k.call for k in kinds.values() if k.kind == "tool_result")
            assert ours == results
            assert max(ours.values(), default=1) == 1
            assert used is not None
            assert (used.input or 0) >= 10 * sum(a.reason in ("start", "tools", "refinement") for a in attempts[-1:])

    def _words(self, said: list[str], rounds: int, strong: str) -> None:
        """Runs of one host's words, each from its first on, and no more of them than rounds; some may be the stronger model's."""
        runs, name, n = 0, "", 0
        for word in said:
            host, _, number = word.partition(".")
            if number.partition("[")[0] == "0":
                runs, name, n = runs + 1, host, 0
            assert host in (name, strong), said
            assert number.partition("[")[0] == str(n), said
            n += 1
        assert runs <= rounds, said


def live(seed: int, *, requests: int = 12) -> Counter[str]:
    """One world from beginning to end; what was seen in it."""
    world = Arranged(seed, requests=requests)
    loop = VirtualLoop()
    loop.live(asyncio.wait_for(world.live(), 3600))  # virtual: nothing may hang
    assert not loop.complaints, loop.complaints
    return world.seen
