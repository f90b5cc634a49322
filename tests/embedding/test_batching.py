"""Calls become batches, in virtual time."""

from __future__ import annotations

import asyncio
import random

import async_solipsism
import pytest

from tidewire.core.errors import InternalError, Overloaded, ShuttingDown, TimedOut, UpstreamError
from tidewire.embedding.batching import Batches
from tidewire.embedding.line import Bounds
from tidewire.embedding.pace import Pace
from tidewire.telemetry.encoders import EncoderMetrics


class Bench:
    """A worker that takes 10 ms and 1 ms a character, and keeps what it was given."""

    def __init__(self, **more):
        self.meter = EncoderMetrics()
        self.batches: list[tuple[float, list[str], bool]] = []
        self.failing: dict[str, Exception] = {}
        bounds = Bounds(**{"texts": 64, "units": 10_000, "seconds": 1.0, "waiting": 100} | more.pop("bounds", {}))
        self.encoder = Batches(self.work, Pace(0.01, 0.001), bounds, self.meter, name="e", size=len, **more)
        self.abandoned = 0

    async def work(self, texts, query):
        self.batches.append((asyncio.get_running_loop().time(), list(texts), query))
        try:
            await asyncio.sleep(0.01 + 0.001 * sum(map(len, texts)))
        except asyncio.CancelledError:
            self.abandoned += 1
            raise
        for text in texts:
            if text in self.failing:
                raise self.failing[text]
        return [f"<{text}>".encode() for text in texts]

    def ask(self, *texts, query=False, within=None):
        at = None if within is None else asyncio.get_running_loop().time() + within
        return asyncio.ensure_future(self.encoder.encode(texts, query=query, deadline=at))


def virtually(work):
    with asyncio.Runner(loop_factory=async_solipsism.EventLoop) as runner:
        return runner.run(work())


def refused(message="no"):
    error = UpstreamError(message, code="upstream_refused")
    error.status, error.retryable = 400, False
    return error


def test_an_idle_worker_begins_at_once():
    async def work():
        bench = Bench()
        assert await bench.ask("a", "bb", query=True) == [b"<a>", b"<bb>"]
        assert bench.batches == [(0.0, ["a", "bb"], True)]
        assert asyncio.get_running_loop().time() == pytest.approx(0.013)

    virtually(work)


def test_what_comes_while_the_worker_is_busy_goes_together_afterwards():
    async def work():
        bench = Bench()
        first = bench.ask("x" * 20)
        await asyncio.sleep(0.001)
        rest = [bench.ask(f"{n}", query=True) for n in range(5)]
        await asyncio.gather(first, *rest)
        assert [texts for _, texts, _ in bench.batches] == [["x" * 20], ["0", "1", "2", "3", "4"]]

    virtually(work)


def test_too_many_texts_are_refused_with_the_time_to_come_back():
    async def work():
        bench = Bench(bounds={"waiting": 3})
        held = [bench.ask("a" * 50), bench.ask("b", "c", "d")]
        await asyncio.sleep(0)
        with pytest.raises(Overloaded) as caught:
            await bench.ask("e")
        assert caught.value.kind == "encoder_busy"
        assert caught.value.retry_after == pytest.approx(0.1)
        await asyncio.gather(*held)
        assert await bench.ask("e") == [b"<e>"]

    virtually(work)


def test_at_its_deadline_a_caller_is_told_and_its_texts_are_not_worked_on():
    async def work():
        bench = Bench()
        busy = bench.ask("x" * 100)
        late = bench.ask("late", query=True, within=0.05)
        with pytest.raises(TimedOut) as caught:
            await late
        assert caught.value.kind == "encoder_late"
        assert asyncio.get_running_loop().time() == pytest.approx(0.05)
        await busy
        assert [texts for _, texts, _ in bench.batches] == [["x" * 100]]
        with pytest.raises(TimedOut):
            await bench.ask("later", within=-1.0)
        assert len(bench.batches) == 1

    virtually(work)


def test_a_caller_that_is_cancelled_leaves_nothing_behind():
    async def work():
        bench = Bench(stops=True)
        running, waiting = bench.ask("x" * 100), bench.ask("y")
        await asyncio.sleep(0.01)
        waiting.cancel()
        running.cancel()
        await asyncio.wait((running, waiting))
        await asyncio.sleep(0.001)
        assert bench.abandoned == 1
        assert await bench.ask("z") == [b"<z>"]
        assert [texts for _, texts, _ in bench.batches] == [["x" * 100], ["z"]]
        assert len(bench.encoder._line) == 0
        assert bench.encoder._running == {}

    virtually(work)


def test_a_batch_goes_on_while_one_of_its_callers_stays():
    async def work():
        bench = Bench(stops=True)
        busy = bench.ask("x" * 10)
        await asyncio.sleep(0.001)
        going, staying = bench.ask("g" * 20), bench.ask("s")
        await busy
        await asyncio.sleep(0.005)
        going.cancel()
        assert await staying == [b"<s>"]
        assert bench.abandoned == 0

    virtually(work)


def test_a_text_that_is_refused_fails_its_own_caller_only():
    async def work():
        bench = Bench()
        bench.failing["bad"] = refused()
        busy = bench.ask("x" * 10)
        await asyncio.sleep(0.001)
        bad, good = bench.ask("bad"), bench.ask("good")
        assert await good == [b"<good>"]
        with pytest.raises(UpstreamError):
            await bad
        await busy

    virtually(work)


@pytest.mark.parametrize(
    ("raised", "seen"), [(UpstreamError("down"), "upstream_error"), (KeyError("!"), "internal_error")]
)
def test_a_worker_that_fails_tells_its_callers_and_works_on(raised, seen, caplog):
    async def work():
        bench = Bench()
        bench.failing["a"] = raised
        with pytest.raises(Exception, match=r"down|broke") as caught:
            await bench.ask("a")
        assert caught.value.kind == seen
        assert bench.meter.failures == {("e", seen): 1}
        assert await bench.ask("b") == [b"<b>"]

    virtually(work)


def test_a_worker_that_gives_too_few_vectors_hangs_nobody(caplog):
    async def work():
        async def short(texts, query):
            return [b"one"]

        bounds = Bounds(texts=8, units=100, seconds=1.0, waiting=8)
        encoder = Batches(short, Pace(0.0, 0.0), bounds, EncoderMetrics(), name="e", size=len)
        with pytest.raises(InternalError):
            await encoder.encode(["a", "b"], query=False, deadline=None)

    virtually(work)


def test_closing_ends_what_waits_and_what_runs():
    async def work():
        bench = Bench()
        calls = [bench.ask("x" * 100), bench.ask("y"), bench.ask("z", query=True)]
        await asyncio.sleep(0.001)
        await bench.encoder.close()
        for call in calls:
            with pytest.raises(ShuttingDown):
                await call
        with pytest.raises(ShuttingDown):
            await bench.ask("later")

    virtually(work)


def test_the_sizes_the_waits_and_the_times_of_batches_are_counted():
    async def work():
        bench = Bench()
        await asyncio.gather(bench.ask("x" * 40), bench.ask("y" * 10, "z" * 10, query=True))
        took = bench.meter.took
        assert took["e", "document"].sum == pytest.approx(0.05)
        assert bench.meter.waits["e", "query"].sum == pytest.approx(0.05)
        assert bench.meter.sizes["e", "query"].sum == 2

    virtually(work)


@pytest.mark.parametrize("seed", range(30))
def test_in_any_rush_each_caller_gets_its_own_vectors_or_is_told_in_time(seed):
    rng = random.Random(seed)

    async def caller(bench, number):
        await asyncio.sleep(rng.random())
        clock = asyncio.get_running_loop().time
        texts = ["x" * rng.randint(0, 30) + f"{number}-{n}" for n in range(rng.randint(0, 6))]
        within = rng.choice([None, 0.02, 0.1, 1.0])
        began = clock()
        call = bench.ask(*texts, query=rng.random() < 0.5, within=within)
        if rng.random() < 0.2:
            asyncio.get_running_loop().call_later(rng.random() * 0.2, call.cancel)
        try:
            vectors = await call
        except (TimedOut, Overloaded, asyncio.CancelledError):
            pass
        else:
            assert list(vectors) == [f"<{text}>".encode() for text in texts]
        if within is not None:
            assert clock() - began <= within + 1e-6

    async def work():
        bench = Bench(
            bounds={"waiting": 40, "texts": 8, "seconds": 0.1}, hands=rng.choice([1, 3]), stops=rng.random() < 0.5
        )
        await asyncio.gather(*(caller(bench, n) for n in range(60)))
        await asyncio.sleep(1.0)
        assert len(bench.encoder._line) == 0
        assert bench.encoder._running == {}
        assert all(len(texts) <= 8 for _, texts, _ in bench.batches)

    virtually(work)
