"""What every log promises. A new log is one more line in `LOGS`."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tidewire.core.errors import Conflict, CursorAhead, Expired, UnknownStream
from tidewire.core.events import Entry, StoredEntry
from tidewire.core.ports import Cursor, Log, Meta, Writer
from tidewire.stores.memory import MemoryLog
from tidewire.stores.sqlite import SqliteLog

LOGS: dict[str, Callable[[Path], Log]] = {
    "memory": lambda folder: MemoryLog(),
    "sqlite-process": lambda folder: SqliteLog(folder / "streams.db", "process"),
    "sqlite-disk": lambda folder: SqliteLog(folder / "streams.db", "disk"),
}


@pytest.fixture(params=LOGS)
async def log(request: Any, tmp_path: Path) -> AsyncIterator[Log]:
    log = LOGS[request.param](tmp_path)
    assert await log.start() == []
    yield log
    await log.close()


def meta(stream: str = "s1", *, tenant: str = "acme", **more: Any) -> Meta:
    fields: dict[str, Any] = {
        "stream": stream,
        "tenant": tenant,
        "model": "m",
        "created": 1,
        "dialect": "native",
        "projection": "native/1",
        "on_disconnect": "continue",
        "durability": "memory",
    }
    return Meta(**fields | more)


def entries(first: int, *raws: bytes) -> list[Entry]:
    return [StoredEntry(first + i, raw) for i, raw in enumerate(raws)]


def numbered(first: int, last: int, size: int = 0) -> list[Entry]:
    return [StoredEntry(n, (b'{"seq":%d}' % n).ljust(size)) for n in range(first, last + 1)]


async def open_stream(log: Log, what: Meta | None = None) -> Writer:
    return await log.open(what or meta(), lambda error: None)  # a broken stream is seen by its reader


class Reader:
    """Takes all there is, at most `limit` at a time, and waits when told that there is nothing."""

    def __init__(self, limit: int = 1000) -> None:
        self.limit = limit
        self.woken = asyncio.Event()
        self.read: list[Entry] = []
        self.cursor: Cursor

    async def follow(self, log: Log, stream: str = "s1", after: int = 0, tenant: str = "acme") -> Reader:
        self.cursor = await log.cursor(tenant, stream, after, self.woken.set)
        return self

    async def until(self, seq: int) -> list[Entry]:
        """All read so far, once the cursor has come to seq."""
        async with asyncio.timeout(30):
            while self.cursor.seq < seq:
                self.woken.clear()
                taken = self.cursor.take(min(self.limit, seq - self.cursor.seq))
                self.read += taken
                if not taken:
                    if self.cursor.failed is not None:
                        raise self.cursor.failed
                    await self.woken.wait()
        return self.read

    async def broken(self) -> Exception:
        async with asyncio.timeout(30):
            while True:
                self.woken.clear()
                if not self.cursor.take(self.limit):
                    if self.cursor.failed is not None:
                        return self.cursor.failed
                    await self.woken.wait()


async def test_entries_come_out_in_order_and_byte_for_byte(log: Log) -> None:
    raws = [b'{"text":"\\u00e9\\n"}', "é\n\x00✓".encode(), b"", bytes(range(256)), b"x" * 200_000]
    writer = await open_stream(log)
    reader = await Reader().follow(log)
    writer.append(entries(1, *raws[:2]))
    writer.append(entries(3, *raws[2:]))
    got = await reader.until(5)
    assert [(e.seq, e.raw) for e in got] == list(enumerate(raws, 1))
    await writer.close(meta(ended=2))
    again = await (await Reader().follow(log)).until(5)
    assert [(e.seq, e.raw) for e in again] == list(enumerate(raws, 1))


async def test_a_reader_in_the_middle_gets_what_comes_after_its_cursor(log: Log) -> None:
    writer = await open_stream(log)
    writer.append(numbered(1, 10))
    await (await Reader().follow(log)).until(10)
    got = await (await Reader().follow(log, after=7)).until(10)
    assert [e.seq for e in got] == [8, 9, 10]


async def test_a_cursor_at_the_end_waits_for_more(log: Log) -> None:
    writer = await open_stream(log)
    writer.append(numbered(1, 2))
    await (await Reader().follow(log)).until(2)
    reader = await Reader().follow(log, after=2)
    assert reader.cursor.take(10) == []
    writer.append(numbered(3, 3))
    assert [e.seq for e in await reader.until(3)] == [3]


async def test_a_cursor_past_the_end_is_refused_with_the_number(log: Log) -> None:
    writer = await open_stream(log)
    writer.append(numbered(1, 2))
    await (await Reader().follow(log)).until(2)
    with pytest.raises(CursorAhead, match=r"cursor 3 .* is 2"):
        await log.cursor("acme", "s1", 3, lambda: None)
    await writer.close(meta(ended=2))
    with pytest.raises(CursorAhead, match=r"cursor 9 .* is 2"):
        await log.cursor("acme", "s1", 9, lambda: None)


async def test_a_stream_that_never_was_is_unknown(log: Log) -> None:
    for ask in (
        lambda: log.cursor("acme", "nothing", 0, lambda: None),
        lambda: log.meta("acme", "nothing"),
        lambda: log.delete("acme", "nothing"),
    ):
        with pytest.raises(UnknownStream):
            await ask()


async def test_no_more_than_the_limit_is_taken(log: Log) -> None:
    writer = await open_stream(log)
    writer.append(numbered(1, 10))
    reader = await Reader(limit=3).follow(log)
    await reader.until(10)
    fresh = await log.cursor("acme", "s1", 0, lambda: None)
    assert [e.seq for e in fresh.take(3)] == [1, 2, 3]
    assert [e.seq for e in fresh.take(1)] == [4]


async def test_readers_at_different_speeds_and_a_late_one_read_the_same(log: Log) -> None:
    writer = await open_stream(log)
    fast, slow = await Reader().follow(log), await Reader(limit=7).follow(log)
    for first in range(1, 400, 40):
        writer.append(numbered(first, first + 39, 3000))  # 1.2 MB: far more than a window
        await fast.until(first + 39)
        await slow.until(first + 5)
    late = await Reader(limit=50).follow(log)
    want = [e.raw for e in numbered(1, 400, 3000)]
    await writer.close(meta(ended=2))
    assert [e.raw for e in fast.read] == want
    assert [e.raw for e in await slow.until(400)] == want
    assert [e.raw for e in await late.until(400)] == want


async def test_a_closed_cursor_is_not_woken(log: Log) -> None:
    writer = await open_stream(log)
    reader = await Reader().follow(log)
    other = await Reader().follow(log)
    reader.cursor.close()
    reader.cursor.close()
    writer.append(numbered(1, 1))
    await other.until(1)
    assert not reader.woken.is_set()


async def test_a_reader_that_fails_when_woken_harms_no_other_stream(log: Log, caplog: Any) -> None:
    def explode() -> None:
        raise RuntimeError("reader")

    one, two = await open_stream(log, meta("one")), await open_stream(log, meta("two"))
    bomb = await log.cursor("acme", "one", 0, explode)
    reader = await Reader().follow(log, "two")
    one.append(numbered(1, 1))
    two.append(numbered(1, 1))
    await reader.until(1)
    assert "could not be woken" in caplog.text
    bomb.close()


async def test_the_last_meta_is_kept(log: Log) -> None:
    writer = await open_stream(log, meta(chat="c1", record={"user": "u"}))
    writer.append(numbered(1, 3))
    await (await Reader().follow(log)).until(3)
    running = await log.meta("acme", "s1")
    assert (running.last, running.ended, running.chat) == (3, None, "c1")
    await writer.close(meta(chat="c1", record={"user": "u"}, ended=20, expires=30))
    over = await log.meta("acme", "s1")
    assert (over.last, over.ended, over.expires, over.record) == (3, 20, 30, {"user": "u"})


async def test_streams_are_found_by_chat_the_newest_first(log: Log) -> None:
    for n in range(6):
        writer = await open_stream(log, meta(f"s{n}", chat="even" if n % 2 == 0 else "odd"))
        writer.append(numbered(1, n + 1))
        await (await Reader().follow(log, f"s{n}")).until(n + 1)
        if n < 3:
            await writer.close(meta(f"s{n}", chat="even" if n % 2 == 0 else "odd", ended=1))
    assert [m.stream for m in await log.find("acme")] == ["s5", "s4", "s3", "s2", "s1", "s0"]
    assert [(m.stream, m.last) for m in await log.find("acme", chat="even")] == [("s4", 5), ("s2", 3), ("s0", 1)]
    assert [m.stream for m in await log.find("acme", chat="odd", limit=2)] == ["s5", "s3"]
    assert await log.find("acme", chat="none") == []


async def test_tenants_do_not_see_each_other(log: Log) -> None:
    ours, theirs = await open_stream(log), await open_stream(log, meta(tenant="evil"))
    ours.append(entries(1, b"ours"))
    theirs.append(entries(1, b"theirs"))
    assert [e.raw for e in await (await Reader().follow(log)).until(1)] == [b"ours"]
    assert [e.raw for e in await (await Reader().follow(log, tenant="evil")).until(1)] == [b"theirs"]
    assert [m.tenant for m in await log.find("evil")] == ["evil"]
    await log.delete("evil", "s1")
    assert (await log.meta("acme", "s1")).last == 1
    with pytest.raises(UnknownStream):
        await log.meta("third", "s1")


async def test_an_id_is_taken_once_in_an_epoch(log: Log) -> None:
    writer = await open_stream(log)
    with pytest.raises(Conflict, match="s1 exists"):
        await open_stream(log)
    await writer.close(meta(ended=1))
    with pytest.raises(Conflict):
        await open_stream(log)


async def test_of_two_that_open_an_id_at_once_one_gets_it(log: Log) -> None:
    got = await asyncio.gather(open_stream(log), open_stream(log), return_exceptions=True)
    assert sorted(isinstance(g, Conflict) for g in got) == [False, True]


async def test_a_later_epoch_goes_on_after_the_last_entry_and_fences_the_old_writer(log: Log) -> None:
    refused: list[Exception] = []
    old = await log.open(meta(), refused.append)
    reader = await Reader().follow(log)
    old.append(numbered(1, 3))
    await reader.until(3)
    new = await open_stream(log, meta(epoch=2))
    assert (await log.meta("acme", "s1")).last == 3
    old.append(entries(4, b"zombie"))
    new.append(entries(4, b"heir"))
    old.append(entries(5, b"zombie"))
    new.append(entries(5, b"heir too"))
    got = await reader.until(5)
    assert [e.raw for e in got[3:]] == [b"heir", b"heir too"]
    assert [type(e) for e in refused] == [Conflict]
    with pytest.raises(Conflict):
        await old.close(meta(ended=1))
    await new.close(meta(epoch=2, ended=9))
    assert (await log.meta("acme", "s1")).ended == 9
    with pytest.raises(Conflict):
        await open_stream(log, meta(epoch=2))


async def test_a_stream_deleted_under_its_reader_ends_with_expired(log: Log) -> None:
    refused: list[Exception] = []
    writer = await log.open(meta(), refused.append)
    writer.append(numbered(1, 3))
    reader = await Reader().follow(log)
    await reader.until(3)
    await log.delete("acme", "s1")
    assert isinstance(await reader.broken(), Expired)
    writer.append(numbered(4, 4))
    assert [type(e) for e in refused] == [Expired]
    for ask in (lambda: log.cursor("acme", "s1", 0, lambda: None), lambda: log.meta("acme", "s1")):
        with pytest.raises(Expired):
            await ask()
    assert await log.find("acme") == []


async def test_an_expired_stream_is_said_to_have_expired(log: Log) -> None:
    for name, expires in (("old", 100), ("young", 300), ("for-ever", None)):
        writer = await open_stream(log, meta(name))
        writer.append(numbered(1, 3))
        await writer.close(meta(name, ended=50, expires=expires))
    await open_stream(log, meta("running"))
    reader = await Reader().follow(log, "old", after=3)
    assert await log.expire(99) == 0
    assert await log.expire(200) == 1
    assert isinstance(await reader.broken(), Expired)
    with pytest.raises(Expired):
        await log.meta("acme", "old")
    assert {m.stream for m in await log.find("acme")} == {"young", "for-ever", "running"}


async def test_the_id_of_an_expired_stream_can_be_used_again(log: Log) -> None:
    writer = await open_stream(log)
    writer.append(entries(1, b"before"))
    await writer.close(meta(ended=1, expires=1))
    await log.expire(2)
    writer = await open_stream(log)
    writer.append(entries(1, b"after"))
    assert [e.raw for e in await (await Reader().follow(log)).until(1)] == [b"after"]


async def test_room_is_there_again_once_the_backlog_is_stored(log: Log) -> None:
    writer = await open_stream(log)
    seq = 0
    for _ in range(40):
        writer.append(numbered(seq + 1, seq + 10, 10_000))
        seq += 10
        if writer.full:
            await writer.room()
        assert not writer.full
    got = await (await Reader().follow(log)).until(seq)
    assert [e.raw for e in got] == [e.raw for e in numbered(1, seq, 10_000)]


async def test_closing_a_stream_waits_for_all_that_was_appended(log: Log) -> None:
    writer = await open_stream(log)
    for n in range(1, 101):
        writer.append(numbered(n, n))
    await writer.close(meta(ended=1))
    assert (await log.meta("acme", "s1")).last == 100


async def test_size_counts_what_is_in_memory(log: Log) -> None:
    assert log.size() == (0, 0)
    writer = await open_stream(log)
    writer.append(entries(1, b"x" * 100, b"y" * 50))
    await (await Reader().follow(log)).until(2)
    assert log.size() == (1, 150)


async def test_the_size_counts_a_stream_once_while_it_is_written_when_it_has_ended_and_when_it_is_taken_over(log):
    writer = await open_stream(log)
    writer.append(numbered(1, 3, size=50))
    await writer.close(meta(ended=2))
    assert log.size() == (1, 150)
    again = await open_stream(log, meta(epoch=2))
    assert log.size() == (1, 150)
    again.append(numbered(4, 5, size=50))
    await again.close(meta(epoch=2, ended=3))
    assert log.size() == (1, 250)
    await log.delete("acme", "s1")
    assert log.size() == (0, 0)


# A log against a list

STEPS = st.one_of(
    st.tuples(st.just("append"), st.integers(0, 2), st.lists(st.integers(0, 5000), min_size=1, max_size=30)),
    st.tuples(st.just("take"), st.integers(0, 5), st.integers(1, 50)),
    st.tuples(st.just("join"), st.integers(0, 2), st.floats(0, 1)),
    st.tuples(st.just("settle"), st.just(0), st.just(0)),
    st.tuples(st.just("end"), st.integers(0, 2), st.just(0)),
)


@pytest.mark.parametrize("kind", LOGS)
@settings(max_examples=12, deadline=None, suppress_health_check=list(HealthCheck))
@given(steps=st.lists(STEPS, max_size=60), seed=st.integers(0, 1 << 30))
def test_a_log_is_a_list_whatever_is_done_to_it(
    kind: str, steps: list[Any], seed: int, tmp_path_factory: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    # small bounds, so that windows, pages and the journal's limit are crossed within a few steps
    monkeypatch.setattr("tidewire.stores.writer.WINDOW", 20_000)
    monkeypatch.setattr("tidewire.stores.sqlite.RESTING", 30_000)
    monkeypatch.setattr("tidewire.stores.journal.PAGE", 7_000)
    monkeypatch.setattr("tidewire.stores.journal.JOURNAL", 9_000)
    monkeypatch.setattr("tidewire.stores.journal.DROP", 5_000)
    monkeypatch.setattr("tidewire.stores.readers.TURN", 10_000)
    asyncio.run(_against_a_list(LOGS[kind], tmp_path_factory.mktemp("log"), steps, random.Random(seed)))


async def _against_a_list(make: Callable[[Path], Log], folder: Path, steps: list[Any], dice: random.Random) -> None:
    log = make(folder)
    await log.start()
    lists: list[list[bytes]] = [[], [], []]
    writers: list[Writer | None] = [await open_stream(log, meta(f"s{n}")) for n in range(3)]
    readers: list[tuple[int, int, Reader]] = []
    for what, which, how in steps:
        if what == "append" and (writer := writers[which]) is not None:
            raws = [dice.randbytes(size) for size in how]
            writer.append(entries(len(lists[which]) + 1, *raws))
            lists[which] += raws
        elif what == "join" and len(readers) < 6:
            known = (await log.meta("acme", f"s{which}")).last
            after = int(known * how)
            readers.append((which, after, await Reader(limit=dice.randint(1, 40)).follow(log, f"s{which}", after)))
        elif what == "take" and readers:
            _, _, reader = readers[which % len(readers)]
            reader.read += reader.cursor.take(how)
        elif what == "settle":
            await asyncio.sleep(0.0005)
        elif what == "end" and (writer := writers[which]) is not None:
            await writer.close(meta(f"s{which}", ended=1))
            writers[which] = None
    for which in range(3):
        readers.append((which, 0, await Reader(limit=33).follow(log, f"s{which}")))
    for which, after, reader in readers:
        got = await reader.until(len(lists[which]))
        assert [e.seq for e in got] == list(range(after + 1, len(lists[which]) + 1))
        assert [e.raw for e in got] == lists[which][after:]
    await log.close()
    if isinstance(log, SqliteLog):
        log = make(folder)
        unfinished = await log.start()
        assert {m.stream: m.last for m in unfinished} == {
            f"s{n}": len(lists[n]) for n in range(3) if writers[n] is not None
        }
        for which in range(3):
            got = await (await Reader(limit=100).follow(log, f"s{which}")).until(len(lists[which]))
            assert [e.raw for e in got] == lists[which]
        await log.close()
