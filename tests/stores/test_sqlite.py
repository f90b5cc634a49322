"""What only a log on disk must do: survive being killed, a full or broken disk, and a file that grows and is emptied."""

from __future__ import annotations

import asyncio
import os
import random
import signal
import sqlite3
import subprocess
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from disks import disk_full
from tidewire.core.errors import Conflict, Expired, InternalError, SettingsError, UnknownStream
from tidewire.core.events import Entry, StoredEntry
from tidewire.core.ports import Meta
from tidewire.stores.sqlite import SqliteLog


@pytest.fixture
async def log(tmp_path: Path) -> AsyncIterator[SqliteLog]:
    log = SqliteLog(tmp_path / "streams.db")
    assert await log.start() == []
    yield log
    await log.close()


def meta(stream: str = "s1", **more: Any) -> Meta:
    fields: dict[str, Any] = {
        "stream": stream,
        "tenant": "acme",
        "model": "m",
        "created": 1,
        "dialect": "native",
        "projection": "native/1",
        "on_disconnect": "continue",
        "durability": "process",
    }
    return Meta(**fields | more)


def numbered(first: int, last: int, size: int = 0) -> list[Entry]:
    return [StoredEntry(n, (b'{"seq":%d}' % n).ljust(size)) for n in range(first, last + 1)]


async def read(log: SqliteLog, stream: str = "s1", until: int | None = None) -> list[Entry]:
    """The entries up to `until`, or to the end as it is now."""
    until = (await log.meta("acme", stream)).last if until is None else until
    woken = asyncio.Event()
    cursor = await log.cursor("acme", stream, 0, woken.set)
    got: list[Entry] = []
    async with asyncio.timeout(30):
        while cursor.seq < until:
            woken.clear()
            taken = cursor.take(100)
            got += taken
            if not taken:
                if cursor.failed is not None:
                    raise cursor.failed
                await woken.wait()
    cursor.close()
    return got


# A killed server

WRITER = """
import asyncio, os, random, sys
from pathlib import Path
sys.path[:0] = sys.argv[3:]
from test_sqlite import meta
from tidewire.core.events import StoredEntry
from tidewire.stores.sqlite import SqliteLog

async def write(log, name, dice):
    writer = await log.open(meta(name), print)
    seq = 0
    def acknowledged():
        for entry in cursor.take(10_000):
            os.write(1, b"%s %d\\n" % (name.encode(), entry.seq))
    cursor = await log.cursor("acme", name, 0, acknowledged)
    for n in range(dice.choice([60, 1 << 30])):
        batch = [StoredEntry(seq + 1 + i, body(name, seq + 1 + i)) for i in range(dice.randint(1, 20))]
        seq += len(batch)
        writer.append(batch)
        if dice.random() < 0.3 or writer.full:
            await writer.room()
            await asyncio.sleep(0)
    await writer.close(meta(name, ended=1))
    os.write(1, b"%s ended %d\\n" % (name.encode(), seq))

def body(name, seq):
    return (b"%s %d " % (name.encode(), seq)).ljust(20 + (seq * 7919) % 900, b"x")

async def main():
    log = SqliteLog(Path(sys.argv[1]))
    await log.start()
    os.write(1, b"ready\\n")
    await asyncio.gather(*(write(log, f"s{n}", random.Random(f"{sys.argv[2]} {n}")) for n in range(4)))
    await log.close()

asyncio.run(main())
"""


def body(name: str, seq: int) -> bytes:
    return (b"%s %d " % (name.encode(), seq)).ljust(20 + (seq * 7919) % 900, b"x")


@pytest.mark.slow
@pytest.mark.parametrize("attempt", range(10))
async def test_nothing_acknowledged_is_lost_when_the_process_is_killed(attempt: int, tmp_path: Path) -> None:
    path = tmp_path / "streams.db"
    child = subprocess.Popen(
        [sys.executable, "-c", WRITER, str(path), str(attempt), *map(str, Path(__file__).parents[:2])],
        stdout=subprocess.PIPE,
    )
    assert child.stdout is not None
    with child, child.stdout as out:
        assert out.readline() == b"ready\n"
        until = random.Random(attempt).randint(1, 4000)  # acknowledgements: the moment is drawn, and no clock is asked
        lines = [out.readline() for _ in range(until)]
        os.kill(child.pid, signal.SIGKILL)
        lines += out.readlines()
    seen: dict[str, int] = {}
    ended: dict[str, int] = {}
    for line in lines:
        words = line.decode().split()
        if line.endswith(b"\n") and len(words) == 2:
            seen[words[0]] = int(words[1])
        elif line.endswith(b"\n") and len(words) == 3:
            ended[words[0]] = int(words[2])
    assert sum(seen.values()) > 0

    log = SqliteLog(path)
    unfinished = {m.stream: m.last for m in await log.start()}
    assert not set(unfinished) & set(ended)
    for name, last in seen.items():
        entries = await read(log, name)
        assert len(entries) >= last
        assert [(e.seq, e.raw) for e in entries] == [(n, body(name, n)) for n in range(1, len(entries) + 1)]
        if name in unfinished:
            assert unfinished[name] == len(entries)
            writer = await log.open(meta(name, epoch=2), print)
            writer.append([StoredEntry(len(entries) + 1, b"closed")])
            await writer.close(meta(name, epoch=2, ended=2))
            assert (await read(log, name))[-1].raw == b"closed"
        else:
            assert (await log.meta("acme", name)).last == len(entries)
    await log.close()
    log = SqliteLog(path)
    assert not {m.stream for m in await log.start()} & set(seen)
    await log.close()


@pytest.mark.parametrize(("durability", "level"), [("process", 1), ("disk", 2)])
async def test_the_class_disk_asks_sqlite_for_a_sync_at_each_commit(
    durability: Any, level: int, tmp_path: Path
) -> None:
    log = SqliteLog(tmp_path / "streams.db", durability)
    await log.start()
    assert log._db.execute("PRAGMA synchronous").fetchone() == (level,)
    assert log._db.execute("PRAGMA journal_mode").fetchone() == ("wal",)
    assert log.durability == durability
    await log.close()


# A disk that fails and comes back


async def test_a_full_disk_ends_the_streams_it_hit_and_the_log_goes_on_when_there_is_space(
    log: SqliteLog, caplog: pytest.LogCaptureFixture
) -> None:
    errors: list[Exception] = []
    hit = await log.open(meta("hit"), errors.append)
    spared = await log.open(meta("spared"), lambda error: pytest.fail(str(error)))
    hit.append(numbered(1, 3))
    await read(log, "hit", 3)
    woken = asyncio.Event()
    cursor = await log.cursor("acme", "hit", 0, woken.set)
    with disk_full():
        hit.append(numbered(4, 5))
        hit.append(numbered(6, 6))
        await asyncio.wait_for(woken.wait(), 30)
        with pytest.raises(InternalError, match="free or repair the disk"):
            await log.open(meta("new"), errors.append)
        assert [e.seq for e in cursor.take(10)] == [1, 2, 3]  # what was stored can still be read
        assert isinstance(cursor.failed, InternalError)
        assert [type(e) for e in errors] == [InternalError]
        hit.append(numbered(7, 7))
        with pytest.raises(InternalError):
            await hit.close(meta("hit", ended=1))
    told = {str(getattr(record, "error", "")) for record in caplog.records if record.message == "a commit failed"}
    assert any("free or repair the disk" in said for said in told), told  # the server's messages say it, too
    assert not hit.full
    assert len(errors) == 1
    spared.append(numbered(1, 2))
    assert len(await read(log, "spared", 2)) == 2
    heir = await log.open(meta("hit", epoch=2), errors.append)
    heir.append(numbered(4, 4))
    await heir.close(meta("hit", epoch=2, ended=1))
    assert [e.seq for e in await read(log, "hit")] == [1, 2, 3, 4]
    await log.open(meta("new"), errors.append)


async def test_an_end_ordered_while_the_disk_is_full_is_refused_and_not_stored_with_a_gap(log: SqliteLog) -> None:
    writer = await log.open(meta(), lambda error: None)
    with disk_full():
        writer.append(numbered(1, 1))
        await asyncio.sleep(0)  # on its way to the disk
        writer.append(numbered(2, 2))
        with pytest.raises(InternalError):
            await writer.close(meta(ended=1))
    assert (await log.meta("acme", "s1")).ended is None


async def test_numbers_that_do_not_follow_are_refused_and_harm_no_other_stream(log: SqliteLog) -> None:
    errors: list[Exception] = []
    bad, good = await log.open(meta("bad"), errors.append), await log.open(meta("good"), errors.append)
    bad.append(numbered(2, 2))
    good.append(numbered(1, 1))
    assert len(await read(log, "good", 1)) == 1
    assert "where 1 was next" in str(errors[0])


# Memory and the file


async def test_a_running_stream_keeps_a_window_and_an_ended_one_rests_for_a_while(
    log: SqliteLog, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tidewire.stores.sqlite.RESTING", 300_000)
    for name in ("a", "b", "c"):
        writer = await log.open(meta(name), print)
        for first in range(1, 400, 10):
            writer.append(numbered(first, first + 9, 4000))  # 1.6 MB
            await writer.room()
        await writer.close(meta(name, ended=1))
        assert log.size()[1] <= 600_000
        got = await read(log, name)
        assert [e.raw for e in got] == [e.raw for e in numbered(1, 400, 4000)]
    assert log.size()[0] < 3
    assert [e.raw for e in await read(log, "a")] == [e.raw for e in numbered(1, 400, 4000)]


async def test_a_reader_that_never_reads_holds_no_memory(log: SqliteLog) -> None:
    writer = await log.open(meta(), print)
    stalled = await log.cursor("acme", "s1", 0, lambda: None)
    for first in range(1, 1000, 20):
        writer.append(numbered(first, first + 19, 1000))
        await writer.room()
        await read(log, "s1", first)
    assert log.size()[1] <= 300_000
    assert stalled.take(1) == []  # it is being fetched
    stalled.close()


async def test_the_file_does_not_grow_when_as_much_expires_as_is_written(tmp_path: Path) -> None:
    log = SqliteLog(tmp_path / "streams.db")
    await log.start()
    sizes: list[int] = []
    for turn in range(6):
        for n in range(20):
            writer = await log.open(meta(f"s{turn}-{n}"), print)
            writer.append(numbered(1, 50, 2000))
            await writer.close(meta(f"s{turn}-{n}", ended=turn, expires=turn))
        assert await log.expire(turn) == 20
        while log._db.execute("SELECT count(*) FROM trash").fetchone() != (0,):
            await asyncio.sleep(0.001)
        log._db.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        sizes.append((tmp_path / "streams.db").stat().st_size)
    assert log._db.execute("SELECT count(*) FROM pages").fetchone() == (0,)
    assert sizes[-1] <= sizes[1] * 1.1
    await log.close()


async def test_the_write_ahead_log_does_not_grow_while_streams_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tidewire.stores.commit.CHECKPOINT", 200_000)
    monkeypatch.setattr("tidewire.stores.journal.JOURNAL", 200_000)
    monkeypatch.setattr("tidewire.stores.journal.DROP", 50_000)
    log = SqliteLog(tmp_path / "streams.db")
    await log.start()
    writers = [await log.open(meta(f"s{n}"), print) for n in range(20)]

    async def write(first: int) -> None:
        for writer in writers:
            writer.append(numbered(first, first + 1, 1000))
        await log._committer.next_commit()

    for first in range(1, 400, 2):
        await write(first)
    last = 400
    ahead = tmp_path / "streams.db-wal"
    # All is written twice. On a machine that is busy elsewhere, the thread that moves it into the file begins late.
    while ahead.stat().st_size > 20 * 1000 * last / 2 and last < 8000:
        await write(last + 1)
        last += 2
    assert last < 8000
    assert log._db.execute("SELECT sum(length(lines)) FROM journal").fetchone()[0] < 1_000_000
    for n in range(20):
        assert len(await read(log, f"s{n}")) == last
    await log.close()


async def test_an_expired_id_is_remembered_for_a_day(log: SqliteLog) -> None:
    day = 24 * 3600 * 1000
    writer = await log.open(meta(), print)
    await writer.close(meta(ended=1, expires=1))
    assert await log.expire(5) == 1
    await log.expire(day)
    with pytest.raises(Expired):
        await log.meta("acme", "s1")
    await log.expire(day + 5)
    with pytest.raises(UnknownStream):
        await log.meta("acme", "s1")


async def test_more_streams_than_fit_one_transaction_expire(log: SqliteLog) -> None:
    for n in range(150):
        await (await log.open(meta(f"s{n}"), print)).close(meta(f"s{n}", ended=1, expires=1))
    assert await log.expire(1) == 150
    assert await log.find("acme") == []


async def test_a_large_stream_deleted_under_a_reader_far_behind_ends_it(log: SqliteLog) -> None:
    writer = await log.open(meta(), print)
    for first in range(1, 500, 50):
        writer.append(numbered(first, first + 49, 10_000))
        await writer.room()
    await writer.close(meta(ended=1))
    woken = asyncio.Event()
    cursor = await log.cursor("acme", "s1", 0, woken.set)
    assert cursor.take(5) == []
    await asyncio.wait_for(woken.wait(), 30)
    assert len(cursor.take(5)) == 5
    await log.delete("acme", "s1")
    while cursor.take(5):
        pass
    assert isinstance(cursor.failed, Expired)


# Beginning and end


async def test_what_a_writer_left_is_there_after_a_restart(tmp_path: Path) -> None:
    log = SqliteLog(tmp_path / "streams.db")
    await log.start()
    running = await log.open(meta("running", chat="c"), print)
    ended = await log.open(meta("ended"), print)
    ended.append(numbered(1, 2))
    await ended.close(meta("ended", ended=5))
    running.append(numbered(1, 300, 1000))
    running.append(numbered(301, 303))
    await log.close()
    running.append(numbered(304, 304))  # too late, and harmless

    log = SqliteLog(tmp_path / "streams.db")
    assert [(m.stream, m.last, m.chat) for m in await log.start()] == [("running", 303, "c")]
    with pytest.raises(Conflict):
        await log.open(meta("running"), print)
    heir = await log.open(meta("running", epoch=2), print)
    heir.append(numbered(304, 304))
    await heir.close(meta("running", epoch=2, ended=6))
    assert [e.seq for e in await read(log, "running")] == list(range(1, 305))
    assert {m.stream: m.last for m in await log.find("acme")} == {"running": 304, "ended": 2}
    await log.close()


async def test_a_stream_whose_opener_left_is_forgotten(log: SqliteLog) -> None:
    task = asyncio.ensure_future(log.open(meta(), print))
    await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    await log.open(meta("next"), print)
    await log.open(meta("and-next"), print)
    assert {m.stream for m in await log.find("acme")} == {"next", "and-next"}


async def test_a_reader_of_a_closed_log_is_told(tmp_path: Path) -> None:
    log = SqliteLog(tmp_path / "streams.db")
    await log.start()
    writer = await log.open(meta(), print)
    writer.append(numbered(1, 2))
    woken = asyncio.Event()
    cursor = await log.cursor("acme", "s1", 0, woken.set)
    await log.close()
    assert woken.is_set()
    assert [e.seq for e in cursor.take(9)] == [1, 2]
    assert cursor.take(9) == []
    assert isinstance(cursor.failed, InternalError)
    cursor.close()


async def test_a_closed_log_refuses(tmp_path: Path) -> None:
    log = SqliteLog(tmp_path / "streams.db")
    await log.close()  # never started
    await log.start()
    await log.close()
    await log.close()
    with pytest.raises(InternalError, match="shutting down"):
        await log.open(meta(), print)


async def test_a_second_log_in_the_same_folder_is_told_who_has_it(log: SqliteLog, tmp_path: Path) -> None:
    second = SqliteLog(tmp_path / "streams.db")
    with pytest.raises(SettingsError, match=f"process id {os.getpid()}"):
        await second.start()
    await second.close()


async def test_a_file_of_a_newer_version_is_refused(tmp_path: Path) -> None:
    log = SqliteLog(tmp_path / "streams.db")
    await log.start()
    await log.close()
    with sqlite3.connect(tmp_path / "streams.db") as db:
        db.execute("PRAGMA user_version=99")
    db.close()
    with pytest.raises(SettingsError, match=r"format 99, .* up to 1; use the newer"):
        await log.start()


async def test_a_database_of_another_program_is_left_alone(tmp_path: Path) -> None:
    with sqlite3.connect(tmp_path / "streams.db") as db:
        db.execute("CREATE TABLE precious (x)")
    db.close()
    with pytest.raises(SettingsError, match="another program"):
        await SqliteLog(tmp_path / "streams.db").start()


@pytest.mark.parametrize("damage", ["garbage", "truncated", "scrambled"])
async def test_a_damaged_file_is_an_error_that_says_what_to_do(damage: str, tmp_path: Path) -> None:
    path = tmp_path / "streams.db"
    log = SqliteLog(path)
    await log.start()
    writer = await log.open(meta(), print)
    writer.append(numbered(1, 200, 1000))
    await log.close()
    whole = path.read_bytes()
    path.write_bytes(
        {
            "garbage": b"not a database at all" * 500,
            "truncated": whole[: len(whole) // 2],
            "scrambled": whole[:4096] + random.Random(1).randbytes(len(whole) - 4096),
        }[damage]
    )
    with pytest.raises(SettingsError, match="put back a copy, or move"):
        await SqliteLog(path).start()
    path.unlink()
    fresh = SqliteLog(path)  # the folder was let go of
    assert await fresh.start() == []
    await fresh.close()


async def test_damage_found_while_reading_fails_that_reader_only(tmp_path: Path) -> None:
    log = SqliteLog(tmp_path / "streams.db")
    await log.start()
    for name in ("good", "bad"):
        writer = await log.open(meta(name), print)
        writer.append(numbered(1, 100, 1000))
        await writer.close(meta(name, ended=1))
    log._db.execute("UPDATE pages SET raws = x'00' WHERE id >> 32 = 2 AND id & 4294967295 > 70")
    await log.close()
    await log.start()
    with pytest.raises(InternalError, match="log"):
        await read(log, "bad")
    assert len(await read(log, "good")) == 100
    await log.close()


async def test_a_folder_that_cannot_be_written_is_an_error_that_names_it(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(SettingsError, match=r"data folder .*file"):
        await SqliteLog(tmp_path / "file" / "streams.db").start()
