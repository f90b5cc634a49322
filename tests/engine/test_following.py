"""What it means when nobody reads: cancel, grace, continue; and hosts that wait for their readers."""

from __future__ import annotations

import asyncio
import itertools

import pytest

from tidewire.core.events import Closed, Delta, Finish, PartEnded, PartStarted
from tidewire.engine.desk import Terms
from tidewire.stores.memory import MemoryLog
from workshop import (
    Acts,
    Reader,
    Tally,
    closed,
    desk_of,
    in_virtual_time,
    question,
    read,
    says,
    settle,
    silence,
    well_formed,
)


def now():
    return asyncio.get_running_loop().time()


async def running(policy, script=silence, **terms):
    meter = Tally()
    desk = desk_of(MemoryLog(), {"m": Acts(script)}, terms=Terms(**terms), meter=meter)
    meta = await desk.start(question(on_disconnect=policy))
    return desk, meta.stream, meter


async def ended(desk, stream):
    """When the stream ended, and why."""
    reader = await desk.follow("default", stream, 0, lambda: None, counts=False)
    reader.close()
    run, _ = desk._runs[("default", stream)]
    await run.ended.wait()
    at = now()
    entries = await read(desk, stream)
    well_formed(entries)
    return at, closed(entries).reason


@pytest.mark.promise("P6")
@in_virtual_time
async def test_with_cancel_the_last_reader_who_leaves_stops_the_answer():
    desk, stream, _ = await running("cancel")
    first, second = await Reader.of(desk, stream), await Reader.of(desk, stream)
    await asyncio.sleep(1.0)
    first.leave()
    await asyncio.sleep(1.0)
    assert desk.open_streams == 1
    second.leave()
    assert await ended(desk, stream) == (2.0, "disconnect")


@pytest.mark.promise("P6")
@in_virtual_time
async def test_with_grace_the_answer_goes_on_for_that_long():
    desk, stream, _ = await running("grace:15")
    reader = await Reader.of(desk, stream)
    await asyncio.sleep(100.0)  # it is being read: nothing happens
    reader.leave()
    assert await ended(desk, stream) == (115.0, "disconnect")


@pytest.mark.promise("P6")
@in_virtual_time
async def test_a_reader_who_returns_within_the_grace_keeps_the_answer_going():
    desk, stream, _ = await running("grace:15", says(*["word "] * 50, interval=1.0))
    for _ in range(3):
        reader = await Reader.of(desk, stream)
        await asyncio.sleep(1.0)
        reader.leave()
        await asyncio.sleep(14.0)
    entries = await read(desk, stream)
    well_formed(entries)
    assert closed(entries).reason == "stop"
    assert now() == pytest.approx(50.0)


@in_virtual_time
async def test_with_grace_somebody_must_come_in_time_at_all():
    desk, stream, _ = await running("grace:5")
    assert await ended(desk, stream) == (5.0, "disconnect")


@in_virtual_time
async def test_who_only_looks_does_not_count_as_a_reader():
    desk, stream, _ = await running("grace:5")
    cursor = await desk.follow("default", stream, 0, lambda: None, counts=False)
    assert await ended(desk, stream) == (5.0, "disconnect")
    cursor.close()


@pytest.mark.promise("P6")
@in_virtual_time
async def test_with_continue_the_answer_is_made_for_nobody():
    desk, stream, _ = await running("continue", says(*["word "] * 20, interval=1.0))
    reader = await Reader.of(desk, stream)
    reader.leave()
    assert await ended(desk, stream) == (20.0, "stop")


@in_virtual_time
async def test_a_reader_who_leaves_twice_leaves_once():
    desk, stream, meter = await running("cancel")
    first, second = await Reader.of(desk, stream), await Reader.of(desk, stream)
    first.leave()
    first.leave()
    await settle()
    assert desk.open_streams == 1
    second.leave()
    await settle()
    assert desk.open_streams == 0
    assert meter.readers == 0


@in_virtual_time
async def test_a_reader_that_leaves_as_it_is_woken_keeps_no_other_from_being_woken():
    """As doors do that have sent the last event."""
    desk, stream, _ = await running("continue", says("Hi", interval=1.0))
    first = Reader()

    def take_and_leave():
        if first.take() and isinstance(first.entries[-1].event, Closed):
            first.leave()

    first.cursor = await desk.follow("default", stream, 0, take_and_leave)
    others = [await Reader.of(desk, stream) for _ in range(2)]
    async with asyncio.timeout(60):
        for other in others:
            well_formed(await other.all())


@in_virtual_time
async def test_readers_come_and_go_after_the_end_without_consequence():
    desk, stream, meter = await running("grace:1", says("Hi"))
    first = await Reader.of(desk, stream)
    await first.all()
    await settle()
    second = await Reader.of(desk, stream)
    first.leave()
    second.leave()
    await asyncio.sleep(10.0)
    assert closed(await read(desk, stream)).reason == "stop"
    assert meter.readers == 0
    assert [h for h in asyncio.get_running_loop()._scheduled if not h._cancelled] == []


@in_virtual_time
async def test_the_grace_of_a_stream_that_ended_rings_no_more():
    desk, stream, _ = await running("grace:15", says("Hi", interval=1.0))
    reader = await Reader.of(desk, stream)
    reader.leave()
    await asyncio.sleep(2.0)
    assert desk.open_streams == 0
    assert [h for h in asyncio.get_running_loop()._scheduled if not h._cancelled] == []


async def endless(request, sink):
    """As fast as it is let."""
    sink.feed([PartStarted(part=0, kind="text")])
    for n in itertools.count():
        sink.feed([Delta(part=0, text=f"{n} ")])
        if sink.full:
            await sink.room()
        if n == 499:
            break
    sink.feed([PartEnded(part=0), Finish(reason="stop")])


@in_virtual_time
async def test_a_host_that_may_not_run_ahead_waits_for_its_furthest_reader_and_goes_on():
    desk, stream, _ = await running("continue", endless, ahead=100)
    await asyncio.sleep(1.0)
    assert (await desk.meta("default", stream)).last == 100
    slow, quick = await Reader.of(desk, stream), await Reader.of(desk, stream)
    slow.take(10)
    await asyncio.sleep(1.0)
    assert (await desk.meta("default", stream)).last == 110
    quick.take(64)
    await asyncio.sleep(1.0)
    assert (await desk.meta("default", stream)).last == 164
    slow.take(20)  # behind the furthest: no reason to go on
    await asyncio.sleep(1.0)
    assert (await desk.meta("default", stream)).last == 164
    entries = await quick.all()
    well_formed(entries)
    assert [e.raw for e in await slow.all()] == [e.raw for e in entries]
    assert sum(isinstance(e.event, Delta) for e in entries) == 500


@in_virtual_time
async def test_a_reader_from_the_middle_lets_the_host_go_on_too():
    desk, stream, _ = await running("continue", endless, ahead=100)
    await settle()
    entries = await read(desk, stream, after=90)
    assert closed(entries).reason == "stop"


@in_virtual_time
async def test_a_paused_answer_can_be_stopped():
    desk, stream, _ = await running("grace:5", endless, ahead=100)
    assert await ended(desk, stream) == (5.0, "disconnect")
    assert (await desk.meta("default", stream)).last == 100 + 3  # the part, the usage, the end
