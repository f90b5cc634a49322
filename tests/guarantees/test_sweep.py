"""Cancelled at every await of a run, and at every turn of the event loop while it lasts: each stream ends exactly once.

A sweep plays the same answer again and again, and each time stops it one step later, until it is over before the stop comes. What
must hold afterwards, whatever the moment: one opened, one closed, numbers without a gap, every part ended, the desk's table empty,
no timer of the run left, the host let go of.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Iterator
from typing import Any

import async_solipsism
import pytest

from tidewire.core.ports import Log, Passage, Provider
from tidewire.dialects.openai_chat_host import ChatHost
from tidewire.engine.desk import Desk, Terms
from tidewire.engine.following import Audience
from tidewire.engine.run import Run
from tidewire.providers.extractive import Extractive
from tidewire.providers.hosted import Hosted
from tidewire.providers.simulated import Simulated
from tidewire.server.encoders import Encoders
from tidewire.server.library import library_of
from tidewire.server.settings import Settings
from tidewire.stages.limit import Limit
from tidewire.stages.stop import Stop
from tidewire.stores.memory import MemoryLog
from tidewire.stores.sqlite import SqliteLog
from tidewire.telemetry.metrics import Metrics
from toolbox.played_tools import Model, Played, Stage, calls
from toolbox.played_tools import says as spoken
from upstream import DONE, Upstream, chat, streams
from workshop import Tally, closed, desk_of, question, read, stored, well_formed

ENOUGH = 400  # steps; no answer here takes more
END = 1_000_000

# What makes an answer


class Thinks:
    """A step that takes two awaits."""

    async def prepare(self, request, sink):
        await asyncio.sleep(0)
        await asyncio.sleep(0.001)
        return request


class Corpus:
    """Two passages, found after a moment, as an index on disk finds them."""

    async def count(self, namespace):
        await asyncio.sleep(0)
        return 2

    async def rarity(self, namespace, terms):
        await asyncio.sleep(0)
        return dict.fromkeys(terms, 1.0)

    @contextlib.asynccontextmanager
    async def search(self, request, query, limit, sink):
        await asyncio.sleep(0)
        text = "A tide is the rise and fall of the sea. The moon pulls the tide twice a day."
        yield [Passage(source=f"s{n}", title="Tides", text=text, score=2.0 - n) for n in range(2)]


@contextlib.asynccontextmanager
async def simulated() -> AsyncIterator[Provider]:
    yield Simulated(script="tokens=6 thinking=2 tool=f ttft_ms=1 interval_ms=1")


@contextlib.asynccontextmanager
async def failing() -> AsyncIterator[Provider]:
    yield Simulated(script="tokens=4 ttft_ms=1 interval_ms=1 fail_after=3 error=cut")


@contextlib.asynccontextmanager
async def extractive() -> AsyncIterator[Provider]:
    yield Extractive(Corpus(), interval=0.001)


@contextlib.asynccontextmanager
async def compatible() -> AsyncIterator[Provider]:
    async with Upstream(streams(chat("one "), chat("two"), chat(finish="stop"), DONE)) as host:
        provider = Hosted("host", host.url, ChatHost(), environ={}, retries=0)
        try:
            yield provider
        finally:
            await provider.close()
            await host.until(lambda: not host.open)


@contextlib.asynccontextmanager
async def retrying() -> AsyncIterator[Provider]:
    """The first try is cut before its first word; the second one answers."""

    async def cut(call):
        call.cut()

    async with Upstream(cut, streams(chat("one"), chat(finish="stop"), DONE)) as host:
        provider = Hosted("host", host.url, ChatHost(), environ={}, retries=1)
        try:
            yield provider
        finally:
            await provider.close()
            await host.until(lambda: not host.open)


@contextlib.asynccontextmanager
async def tooled() -> AsyncIterator[Provider]:
    """A model that calls two tools of the server's at once, which takes rounds and tasks of their own."""
    tool = Played(takes=0.002)
    model = Model(
        [*spoken("Let me see. "), calls("weather", "c1"), calls("weather", "c2")], spoken("Sunny."), again=True
    )
    yield Stage(model, tool, heartbeat=0.001).runner
    assert tool.running == 0


PROVIDERS: dict[str, Callable[[], Any]] = {
    "tooled": tooled,
    "simulated": simulated,
    "failing": failing,
    "extractive": extractive,
    "compatible": compatible,
    "retrying": retrying,
}


def stages(request):
    return [Stop(["tide twice a year"]), Limit(1000)]


# Who stops it, and when


class Moment:
    """Calls `act` at one step of the run's own task: `inside` the step that suspends it there, else right behind it."""

    def __init__(self, at: int, *, inside: bool) -> None:
        self.at = at
        self.inside = inside
        self.steps = 0
        self.act: Callable[[], None] = lambda: None
        self.came = False

    def step(self) -> None:
        if self.steps == self.at:
            self.came = True
            if self.inside:
                self.act()
            else:
                asyncio.get_running_loop().call_soon(self.act)
        self.steps += 1

    def factory(self, loop: asyncio.AbstractEventLoop, coro: Any, **more: Any) -> asyncio.Task[Any]:
        if getattr(coro, "__qualname__", "") == "Run._work":
            coro = _Stepped(coro, self)
        return asyncio.Task(coro, loop=loop, **more)


class _Stepped(Coroutine[Any, Any, Any]):
    """A coroutine that tells a moment of each of its steps."""

    def __init__(self, coro: Any, moment: Moment) -> None:
        self._coro = coro
        self._moment = moment

    def send(self, value: Any) -> Any:
        yielded = self._coro.send(value)
        self._moment.step()
        return yielded

    def throw(self, *error: Any) -> Any:
        return self._coro.throw(*error)

    def close(self) -> None:
        self._coro.close()

    def __await__(self) -> Iterator[Any]:
        raise NotImplementedError


class Turning(async_solipsism.EventLoop):
    """Virtual time; calls `act` behind its turn number `at`, counted from when `at` was set."""

    at = END
    turns = 0
    act: Callable[[], None] = staticmethod(lambda: None)

    def _run_once(self) -> None:
        super()._run_once()
        self.turns += 1
        if self.turns == self.at:
            self.act()


class RealTurning(asyncio.SelectorEventLoop):
    """The same in real time, for a log that has threads."""

    at = END
    turns = 0
    act: Callable[[], None] = staticmethod(lambda: None)

    def _run_once(self) -> None:
        super()._run_once()  # type: ignore[misc]
        self.turns += 1
        if self.turns == self.at:
            self.act()


def stop(desk: Desk, stream: str) -> Callable[[], None]:
    return lambda: with_run(desk, stream, lambda run: run.stop("client"))


def cancel_task(desk: Desk, stream: str) -> Callable[[], None]:
    """As an event loop does that is going down."""
    return lambda: with_run(desk, stream, lambda run: run._task and run._task.cancel())


def stop_twice(desk: Desk, stream: str) -> Callable[[], None]:
    def act(run: Run) -> None:
        run.stop("disconnect")
        run._task.cancel()
        run.stop("client")

    return lambda: with_run(desk, stream, lambda run: run._task and act(run))


def fail(desk: Desk, stream: str) -> Callable[[], None]:
    return lambda: with_run(desk, stream, lambda run: run.fail(RuntimeError("a defect")))


def with_run(desk: Desk, stream: str, act: Callable[[Run], Any]) -> None:
    if found := desk._runs.get(("default", stream)):
        act(found[0])


STOPS = {"stop": stop, "task": cancel_task, "twice": stop_twice, "fail": fail}


# The sweep


async def play(desk: Desk, log: Log, stream: str, policy: str) -> str:
    """One answer to its end, however that comes; checks all that must hold. Returns why it ended."""
    meta = await desk.start(question("What is a tide?", stream=stream, on_disconnect=policy))
    try:
        async with asyncio.timeout(30):
            entries = await read(desk, meta.stream)
            while desk.open_streams:
                await asyncio.sleep(0.001)
    except TimeoutError:
        raise AssertionError("a stream without its last event") from None
    well_formed(entries)
    assert await stored(log, stream) == [e.raw for e in entries]
    assert (await log.meta("default", stream)).ended is not None
    left = [h for h in asyncio.get_running_loop()._scheduled if not h._cancelled]  # type: ignore[attr-defined]
    assert [h for h in left if isinstance(getattr(h._callback, "__self__", None), Run | Audience)] == []
    return closed(entries).reason


def house(log: Log, provider: Provider, meter: Tally) -> Desk:
    return desk_of(log, {"m": provider}, steps=[Thinks()], stages=stages, terms=Terms(keep_s=60.0), meter=meter)


async def sweep_awaits(log: Log, provider: Provider, how: str, *, inside: bool) -> int:
    """Stops at every await of the run's task. Returns how many there were."""
    loop = asyncio.get_running_loop()
    meter = Tally()
    desk = house(log, provider, meter)
    reasons = set()
    for at in range(ENOUGH):
        moment = Moment(at, inside=inside)
        loop.set_task_factory(moment.factory)
        moment.act = STOPS[how](desk, f"s{at}")
        reasons.add(await play(desk, log, f"s{at}", "grace:10"))
        if not moment.came:
            break
    loop.set_task_factory(None)
    assert len(meter.of("opened")) == len(meter.of("closed")) == at + 1
    assert meter.readers == 0
    assert how == "fail" or len(reasons) >= 2  # stopped, and at last not
    return at


async def sweep_turns(log: Log, provider: Provider, how: str) -> int:
    """Stops behind every turn of the event loop. Returns how many there were."""
    loop: Any = asyncio.get_running_loop()
    meter = Tally()
    desk = house(log, provider, meter)
    reasons = set()
    for at in range(ENOUGH):
        loop.turns, loop.at = 0, at + 1
        fired: list[bool] = []
        act = STOPS[how](desk, f"s{at}")
        loop.act = lambda act=act, fired=fired, stream=f"s{at}": (
            fired.append(("default", stream) in desk._runs),
            act(),
        )
        reasons.add(await play(desk, log, f"s{at}", "continue"))
        loop.at = END
        if not (fired and fired[0]):
            break
    assert len(meter.of("opened")) == len(meter.of("closed")) == at + 1
    assert meter.readers == 0
    return at


def run(loop: Callable[[], asyncio.AbstractEventLoop], work: Callable[[], Awaitable[int]]) -> int:
    with asyncio.Runner(loop_factory=loop) as runner:
        return runner.run(work())  # type: ignore[arg-type]


@pytest.mark.promise("P2")
@pytest.mark.parametrize("inside", [False, True], ids=["behind", "inside"])
@pytest.mark.parametrize("how", STOPS)
@pytest.mark.parametrize("name", PROVIDERS)
def test_a_run_stopped_at_any_await_ends_its_stream_once(name, how, inside):
    async def work() -> int:
        async with PROVIDERS[name]() as provider:
            return await sweep_awaits(MemoryLog(), provider, how, inside=inside)

    loop = RealTurning if name == "extractive" else Turning  # it thinks in a thread
    assert run(loop, work) >= 3


@pytest.mark.promise("P2")
@pytest.mark.parametrize("how", STOPS)
@pytest.mark.parametrize("name", PROVIDERS)
def test_a_run_stopped_at_any_turn_of_the_event_loop_ends_its_stream_once(name, how):
    async def work() -> int:
        async with PROVIDERS[name]() as provider:
            return await sweep_turns(MemoryLog(), provider, how)

    loop = Turning if name in ("simulated", "failing") else RealTurning  # the others have threads or sockets
    assert run(loop, work) >= 4


@pytest.mark.promise("P2")
@pytest.mark.parametrize("how", ["stop", "task"])
@pytest.mark.parametrize("name", ["simulated", "compatible"])
def test_the_log_on_disk_gets_one_end_whenever_the_run_is_stopped(name, how, tmp_path):
    async def work() -> int:
        log = SqliteLog(tmp_path / "streams.db")
        await log.start()
        try:
            async with PROVIDERS[name]() as provider:
                awaits = await sweep_awaits(log, provider, how, inside=False)
                for n in range(awaits):
                    await log.delete("default", f"s{n}")
                desk = house(log, provider, Tally())
                await desk.drain(0.0)
                return awaits
        finally:
            await log.close()

    assert run(RealTurning, work) >= 4


def test_the_index_on_disk_is_let_go_of_at_any_await(tmp_path):
    """The extractive model over its real index: nothing is there to quote, and every await may be its last."""

    async def work() -> int:
        library = library_of(Settings(data=str(tmp_path)), Encoders())
        async with contextlib.AsyncExitStack() as stack:
            await library.run(stack, Encoders(), Metrics().encoders)
            return await sweep_awaits(MemoryLog(), Extractive(library.corpus, interval=0.0), "stop", inside=False)

    assert run(RealTurning, work) >= 3
