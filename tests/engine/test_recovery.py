"""What a killed server left open is ended by the next one: what was said is kept, and there is one last event."""

from __future__ import annotations

import asyncio
import logging

import msgspec
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from disks import disk_full
from strategies import logs, meta_of, numbered, opened
from tidewire.core import events as ev
from tidewire.core.errors import InternalError
from tidewire.core.events import PartStarted, StoredEntry, Usage
from tidewire.engine.recovery import BROKEN, LOST
from tidewire.stores.memory import MemoryLog
from tidewire.stores.sqlite import SqliteLog
from workshop import Acts, Reader, closed, desk_of, question, read, silence, stored, text_of, well_formed, words


async def left_open(said, *, close=False):
    """A log that holds these events of one stream, and its meta as a log finds it at a start."""
    log = MemoryLog()
    meta = meta_of()
    writer = await log.open(meta, lambda error: None)
    if said:
        writer.append(said)
    return log, msgspec.structs.replace(meta, last=len(said))


async def recovered(said):
    log, orphan = await left_open(said)
    desk = desk_of(log, {"m": Acts(silence)})
    await desk.recover([orphan])
    assert desk.open_streams == 0
    meta = await log.meta("default", orphan.stream)
    assert meta.ended is not None
    assert meta.expires is not None
    assert meta.epoch == orphan.epoch + 1
    return await read(desk, orphan.stream)


def lost(entries):
    last = closed(entries)
    assert (last.status, last.reason, last.error) == ("failed", "error", LOST)
    assert LOST.retryable
    return last


async def test_a_stream_killed_before_its_first_event_gets_its_first_and_last():
    entries = await recovered([])
    well_formed(entries)
    assert [type(e.event) for e in entries] == [ev.Opened, Usage, ev.Closed]
    lost(entries)


async def test_a_stream_killed_mid_answer_keeps_what_was_said_and_its_parts_are_ended():
    said = numbered(
        [opened(meta_of()), *words("one ", "two"), PartStarted(part=1, kind="tool_call", name="f", call="c")]
    )
    entries = await recovered(said)
    well_formed(entries)
    assert [e.raw for e in entries[:5]] == [e.raw for e in said]
    assert text_of(entries) == "one two"
    assert lost(entries).output_tokens == 2


async def test_what_the_host_had_counted_is_kept():
    said = numbered([opened(meta_of()), *words("one "), Usage(counted_by="host", input=7, output=1)])
    entries = await recovered(said)
    assert sum(isinstance(e.event, Usage) for e in entries) == 1
    assert (lost(entries).input_tokens, lost(entries).output_tokens) == (7, 1)


async def test_a_stream_killed_between_its_last_event_and_its_meta_is_only_put_away():
    said = numbered([opened(meta_of()), ev.Closed(status="completed", reason="stop")])
    entries = await recovered(said)
    assert [e.raw for e in entries] == [e.raw for e in said]


@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(made=logs(), data=st.data())
async def test_a_log_cut_anywhere_is_ended_once(made, data):
    _, entries = made
    cut = data.draw(st.integers(0, len(entries)))
    ended = await recovered(entries[:cut])
    assert [e.raw for e in ended[:cut]] == [e.raw for e in entries[:cut]]
    if cut < len(entries) - 1:
        well_formed(ended)
        lost(ended)
    assert sum(isinstance(ev.decode(e.raw), ev.Closed) for e in ended) == 1


async def test_one_that_cannot_be_read_keeps_no_other_from_its_end(caplog):
    log, orphan = await left_open(numbered([opened(meta_of()), *words("one ")]))
    unreadable = meta_of("unreadable")
    (await log.open(unreadable, lambda error: None)).append([StoredEntry(1, b"no event")])
    desk = desk_of(log, {"m": Acts(silence)})
    with caplog.at_level(logging.ERROR):
        await desk.recover([meta_of("gone"), unreadable, orphan])
    lost(await read(desk, orphan.stream))
    assert [record.stream for record in caplog.records] == ["unreadable"]


async def test_a_stream_that_a_full_disk_broke_gets_its_end_once_there_is_room(tmp_path, caplog):
    log = SqliteLog(tmp_path / "streams.db")
    await log.start()
    go_on = asyncio.Event()

    async def script(request, sink):
        sink.feed(words("one "))
        await go_on.wait()
        sink.feed(words("two"))
        await asyncio.get_running_loop().create_future()

    desk = desk_of(log, {"m": Acts(script)})
    meta = await desk.start(question())
    before = await Reader.of(desk, meta.stream)
    await before.until(3)
    with disk_full():
        go_on.set()
        with pytest.raises(InternalError, match="free or repair the disk"):
            await before.all()
        before.leave()
        while desk.open_streams:
            await asyncio.sleep(0.001)
        await desk.sweep()
        assert "the ends of 1 streams could not be stored" in caplog.text
    await desk.sweep()
    entries = await read(desk, meta.stream)
    well_formed(entries)
    assert [e.raw for e in entries[:3]] == [e.raw for e in before.entries]
    assert closed(entries).error == BROKEN.info()
    assert (await log.meta("default", meta.stream)).ended is not None
    await desk.sweep()
    assert await stored(log, meta.stream) == [e.raw for e in entries]
    await log.close()


@pytest.mark.promise("P5")
@pytest.mark.parametrize("batches", [1, 3])
async def test_the_log_on_disk_hands_its_open_streams_to_the_next_server(tmp_path, batches):
    """The first log is never closed, as after a kill; its lock is let go of, as the system does."""
    first = SqliteLog(tmp_path / "streams.db")
    await first.start()
    meta = meta_of()
    writer = await first.open(meta, lambda error: None)
    said = numbered([opened(meta), *words(*["word "] * 10)])
    size = len(said) // batches
    for at in range(0, len(said), size):
        writer.append(said[at : at + size])
    cursor = await first.cursor("default", meta.stream, 0, lambda: None)
    while not cursor.take(100) or cursor.seq < len(said):
        await first.meta("default", meta.stream)
        await asyncio.sleep(0.001)
    first._lock.release()

    second = SqliteLog(tmp_path / "streams.db")
    orphans = await second.start()
    assert [(o.stream, o.last) for o in orphans] == [(meta.stream, len(said))]
    desk = desk_of(second, {"m": Acts(silence)})
    await desk.recover(orphans)
    entries = await read(desk, meta.stream)
    well_formed(entries)
    lost(entries)
    assert await stored(second, meta.stream) == [e.raw for e in entries]
    await second.close()
    third = SqliteLog(tmp_path / "streams.db")
    assert await third.start() == []  # ended is ended
    await third.close()
    first._lock.acquire()
    await first.close()
