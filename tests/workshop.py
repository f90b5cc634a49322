"""A desk on a workbench: a log, providers that do what a test says, a clock that a test may turn, and a meter that remembers.

@in_virtual_time                                # time passes only when everything waits
async def test_...():

desk = desk_of(log, {"m": Acts(script)})        # script: async (request, sink) -> None
meta = await desk.start(question())
entries = await read(desk, meta.stream)         # everything, to the last event
well_formed(entries)
"""

from __future__ import annotations

import asyncio
import functools
from collections.abc import Awaitable, Callable, Sequence
from typing import Any

import async_solipsism

from tidewire.core import events as ev
from tidewire.core.errors import UnknownModel
from tidewire.core.events import Delta, Entry, Finish, PartEnded, PartStarted
from tidewire.core.meter import Meter
from tidewire.core.ports import Log, ModelInfo, Provider
from tidewire.core.request import DisconnectPolicy, Message, Request, Text
from tidewire.engine.admission import Admission, Limits
from tidewire.engine.desk import Desk, Terms
from tidewire.engine.plan import Plans

Script = Callable[[Request, Any], Awaitable[None]]


def in_virtual_time(test: Callable[..., Awaitable[None]]) -> Callable[..., None]:
    @functools.wraps(test)
    def run(*args: Any, **fixtures: Any) -> None:
        with asyncio.Runner(loop_factory=async_solipsism.EventLoop) as runner:
            runner.run(test(*args, **fixtures))  # type: ignore[arg-type]

    return run


class Acts:
    """A provider that is one function."""

    def __init__(self, script: Script, name: str = "acts") -> None:
        self.name = name
        self._script = script

    async def answer(self, request: Request, sink: Any) -> None:
        await self._script(request, sink)

    async def models(self) -> Sequence[ModelInfo]:
        return [ModelInfo(id=self.name, provider=self.name)]

    async def close(self) -> None:
        """There is nothing to let go of."""


def words(*texts: str, part: int = 0, kind: ev.PartKind = "text") -> list[ev.Event]:
    return [PartStarted(part=part, kind=kind), *(Delta(part=part, text=t) for t in texts)]


def says(*texts: str, interval: float = 0.0, finish: ev.Reason = "stop") -> Script:
    """One delta after the other, `interval` seconds apart, and a proper end."""

    async def script(request: Request, sink: Any) -> None:
        sink.feed([PartStarted(part=0, kind="text")])
        for text in texts:
            sink.feed([Delta(part=0, text=text)])
            await asyncio.sleep(interval)
            if sink.full:
                await sink.room()
        sink.feed([PartEnded(part=0), Finish(reason=finish)])

    return script


async def silence(request: Request, sink: Any) -> None:
    """Begins, and then says nothing until it is let go of."""
    sink.feed(words("one "))
    await asyncio.get_running_loop().create_future()


def question(said: str = "Hello?", model: str = "m", **more: Any) -> Request:
    policy = more.pop("on_disconnect", "continue")
    return Request(
        model=model,
        messages=[Message(role="user", content=[Text(said)])],
        on_disconnect=DisconnectPolicy.parse(policy),
        **more,
    )


class Tally:
    """A meter that remembers: (name, arguments) in order."""

    def __init__(self) -> None:
        self.calls: list[tuple[str, tuple[Any, ...]]] = []

    def __getattr__(self, name: str) -> Callable[..., None]:
        _known(name)
        return lambda *args: self.calls.append((name, args))

    def of(self, name: str) -> list[tuple[Any, ...]]:
        _known(name)
        return [args for called, args in self.calls if called == name]

    @property
    def readers(self) -> int:
        return sum(change for (change,) in self.of("reader"))


def _known(name: str) -> None:
    if name not in vars(Meter):
        raise AttributeError(f"a meter has no {name}")


def desk_of(
    log: Log,
    providers: dict[str, Provider],
    *,
    limits: Limits = Limits(busy=10.0),  # noqa: B008 - frozen
    terms: Terms = Terms(),  # noqa: B008 - frozen
    steps: Sequence[Any] = (),
    stages: Callable[[Request], list[Any]] = lambda request: [],
    meter: Any = None,
    plans: Plans | None = None,
) -> Desk:
    async def find(model: str) -> tuple[Provider, str]:
        if model not in providers:
            raise UnknownModel(f"there is no model {model!r}")
        return providers[model], model

    async def models() -> Sequence[ModelInfo]:
        return [ModelInfo(id=name, provider=p.name) for name, p in providers.items()]

    return Desk(
        log,
        find_provider=find,
        models=models,
        admission=Admission(limits, load=lambda streams: 0.0, held=lambda: log.size()[1]),
        stages=stages,
        steps=steps,
        terms=terms,
        meter=Tally() if meter is None else meter,
        projection=lambda name: f"{name}/1",
        plans=plans,
        clock=asyncio.get_running_loop().time,
    )


class Reader:
    """Follows a stream by the cursor of a desk, as a door does."""

    def __init__(self) -> None:
        self.entries: list[Entry] = []
        self.woken = asyncio.Event()
        self.cursor: Any = None

    @classmethod
    async def of(cls, desk: Desk, stream: str, after: int = 0, tenant: str = "default") -> Reader:
        reader = cls()
        reader.cursor = await desk.follow(tenant, stream, after, reader.woken.set)
        return reader

    def take(self, limit: int = 1024) -> list[Entry]:
        taken: list[Entry] = self.cursor.take(limit)
        self.entries += taken
        return taken

    async def until(self, count: int) -> list[Entry]:
        """The first `count` entries, once they are there."""
        while len(self.entries) < count:
            await self.more()
        return self.entries

    async def more(self) -> None:
        self.woken.clear()
        if not self.take():
            if self.cursor.failed is not None:
                raise self.cursor.failed
            await self.woken.wait()

    async def all(self) -> list[Entry]:
        """Everything up to the last event; raises what the log broke for."""
        while not self.entries or not isinstance(self.entries[-1].event, ev.Closed):
            await self.more()
        return self.entries

    def leave(self) -> None:
        self.cursor.close()


async def read(desk: Desk, stream: str, after: int = 0, tenant: str = "default") -> list[Entry]:
    reader = await Reader.of(desk, stream, after, tenant)
    try:
        return await reader.all()
    finally:
        reader.leave()


async def stored(log: Log, stream: str, tenant: str = "default") -> list[bytes]:
    """What the log holds of a stream that has ended, read from the log itself."""
    woken = asyncio.Event()
    last = (await log.meta(tenant, stream)).last
    cursor = await log.cursor(tenant, stream, 0, woken.set)
    raws: list[bytes] = []
    try:
        while len(raws) < last:
            woken.clear()
            taken = cursor.take(1024)
            raws += [entry.raw for entry in taken]
            if not taken:
                if cursor.failed is not None:
                    raise cursor.failed
                await woken.wait()
    finally:
        cursor.close()
    return raws


def closed(entries: Sequence[Entry]) -> ev.Closed:
    last = entries[-1].event
    assert isinstance(last, ev.Closed)
    return last


def text_of(entries: Sequence[Entry], part: int = 0) -> str:
    return "".join(e.event.text for e in entries if isinstance(e.event, Delta) and e.event.part == part)


def well_formed(entries: Sequence[Entry]) -> list[ev.AnyEvent]:
    """What holds of every log that has ended: P1, P2, and parts that begin before their deltas and end once. Its events, as stored."""
    events = [ev.decode(entry.raw) for entry in entries]
    kinds = [type(event) for event in events]
    numbers = list(range(1, len(entries) + 1))
    assert [entry.seq for entry in entries] == numbers
    assert [event.seq for event in events] == numbers
    times = [event.at for event in events]
    assert times == sorted(times)
    assert kinds[0] is ev.Opened
    assert kinds.count(ev.Opened) == 1
    assert kinds[-1] is ev.Closed
    assert kinds.count(ev.Closed) == 1
    begun: set[int] = set()
    open_parts: set[int] = set()
    for event in events:
        if type(event) is Delta:
            assert event.part in open_parts
        elif type(event) is PartStarted:
            assert event.part not in begun
            begun.add(event.part)
            open_parts.add(event.part)
        elif type(event) is PartEnded:
            assert event.part in open_parts
            open_parts.remove(event.part)
    assert not open_parts
    return events


async def settle(turns: int = 10) -> None:
    """Let everything that is ready run."""
    for _ in range(turns):
        await asyncio.sleep(0)
