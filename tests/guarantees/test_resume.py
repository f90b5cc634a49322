"""A thousand cuts: clients of every resumable dialect break off anywhere and come back, over real sockets.

However they leave and return, each event is there exactly once, in order, equal byte for byte to the log.
"""

from __future__ import annotations

import asyncio
import collections
import json
import random
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from cutting import TONGUES, exchange, frame, handshake, header, whole
from serving import Peer, Served, eventually, request, serving
from tidewire.core.events import StoredEntry
from tidewire.dialects.ui_messages import UIMessages
from tidewire.server.settings import Log, Streams
from workshop import stored

LOGS = {"memory": Log(durability="memory"), "sqlite": Log(durability="process")}
CUTS = 90  # of each dialect on each log: with two logs and six dialects 1,080
AT_ONCE = 6


def log_of(served: Served):
    return served.house.desk._log


async def known(served: Served, stream: str):
    meta = await log_of(served).meta("default", stream)
    return meta, await stored(log_of(served), stream)


class Walk:
    """One client's way through one stream, cut again and again."""

    def __init__(self, served: Served, tongue, rng: random.Random, cuts: collections.Counter) -> None:
        self.served = served
        self.tongue = tongue
        self.rng = rng
        self.cuts = cuts
        self.got: list[bytes] = []  # whole frames, in the order in which they came
        self.asides: list[tuple[int, list[bytes]]] = []  # what a second reader got, and from where
        self.stream = ""

    async def go(self) -> None:
        pace = self.rng.choice(["interval_ms=0", "interval_ms=1", "interval_ms=2 jitter_ms=3"])
        said = f"sim: tokens={self.rng.randint(5, 50)} thinking={self.rng.randint(0, 8)} tool=f ttft_ms=1 {pace}"
        self.stream = f"s{self.rng.getrandbits(60):x}"
        ended = await self.begin(said)
        while not ended:
            ended = await self.cut()
        await self.after_the_end()
        meta, raws = await known(self.served, self.stream)
        expected = self.tongue.expected(meta, raws)
        assert self.got == expected
        for start, frames in self.asides:
            assert frames == expected[start : start + len(frames)]
        await self.expire()

    async def begin(self, said: str) -> bool:
        """The start; its answer may be cut too, but not before it says which stream it is, where the server chooses."""
        sent = self.tongue.start(self.stream, said)
        limit = self.length() if self.tongue.name in ("native sse", "native ndjson") else 600 + self.length()
        got = await self.exchange(sent, limit)
        self.cuts["drop"] += 1
        self.stream = header(got, b"x-tidewire-stream") or self.stream
        await eventually(self.exists)
        return self.take(got)

    def exists(self) -> bool:
        return ("default", self.stream) in log_of(self.served)._shelves

    def length(self) -> int:
        """How many bytes of an answer to wait for before the cut; its head is some 250 of them."""
        return 1 + int(self.rng.expovariate(1 / 1400))

    def take(self, got: bytes) -> bool:
        """True when the answer came to its end."""
        frames = self.tongue.frames(got)
        self.got += frames
        over = self.tongue.over(got)
        status, body, _ = whole(got)
        assert status in (0, 101, 200, 204)
        if frames and not over and (status == 101 or not body.endswith(b"\n")):
            self.cuts["half an event"] += 1
        return over

    async def back(self, cursor: int, limit: int | None) -> bytes:
        sent = self.tongue.back(self.stream, cursor, self.rng)
        return await self.exchange(sent, limit)

    async def exchange(self, sent: Any, limit: int | None) -> bytes:
        return await exchange(self.served.port, sent, limit, rst=self.rng.random() < 0.3, over=self.tongue.over)

    async def cut(self) -> bool:
        kind = self.rng.choice(["drop", "drop", "drop", "at once", "two", "ahead"])
        self.cuts[kind] += 1
        cursor = len(self.got)
        if kind == "at once":  # a second drop, before the first byte
            await self.back(cursor, 0)
            return False
        if kind == "ahead":
            refused = await self.back(cursor + 100_000, None)
            assert self.tongue.refusal(refused) == (400, "cursor_ahead")
            return False
        if kind == "two":
            start = self.rng.randint(0, cursor)
            mine, other = await asyncio.gather(self.back(cursor, self.length()), self.back(start, self.length()))
            self.asides.append((start, self.tongue.frames(other)))
            return self.take(mine)
        return self.take(await self.back(cursor, self.length()))

    async def after_the_end(self) -> None:
        """Who has seen the last event and comes back hears that there is no more, at once; one further is too far."""
        cursor = len(self.got)
        while self.served.house.desk._runs.get(("default", self.stream)):
            await asyncio.sleep(0.001)
        async with asyncio.timeout(30):
            got = await self.back(cursor, None)
        assert self.tongue.frames(got) == []
        assert self.tongue.over(got)
        got = await self.back(cursor + 1, None)
        assert self.tongue.refusal(got) == (400, "cursor_ahead")
        self.cuts["ahead"] += 1

    async def expire(self) -> None:
        """Only this one: the others of the same time are still being read."""
        await self.served.house.desk.delete("default", self.stream)
        got = await self.back(self.rng.randint(0, len(self.got)), None)
        assert self.tongue.refusal(got) == (410, "expired")
        self.cuts["expired"] += 1


async def cut_until(
    enough: int, cuts: collections.Counter, walk: Callable[[random.Random], Awaitable[None]], seed: str
) -> None:
    """Several clients at once, each in its own stream, until there have been enough cuts."""

    async def client(n: int) -> None:
        rng = random.Random(f"{seed} {n}")
        while cuts.total() < enough:
            await walk(rng)

    async with asyncio.timeout(300), asyncio.TaskGroup() as group:
        for n in range(AT_ONCE):
            group.create_task(client(n))


@pytest.mark.promise("P1")
@pytest.mark.promise("P3")
@pytest.mark.promise("P4")
@pytest.mark.promise("P8")
@pytest.mark.parametrize("log", LOGS)
@pytest.mark.parametrize("name", TONGUES)
async def test_each_event_comes_once_in_order_and_equal_to_the_log_however_the_reader_is_cut(name, log, tmp_path):
    cuts: collections.Counter = collections.Counter()
    async with serving(tmp_path, log=LOGS[log], streams=Streams(keep_s=100.0)) as served:
        await cut_until(CUTS, cuts, lambda rng: Walk(served, TONGUES[name], rng, cuts).go(), f"{name} {log}")
        await eventually(lambda: served.readers == 0)
    kinds = {"drop", "at once", "two", "ahead", "expired"}
    assert kinds <= set(cuts)
    assert cuts["half an event"] > 5


@pytest.mark.promise("P8")
@pytest.mark.parametrize("log", LOGS)
@pytest.mark.parametrize("name", TONGUES)
async def test_a_stream_whose_time_is_over_is_refused_as_expired(name, log, tmp_path):
    tongue = TONGUES[name]
    async with serving(tmp_path, log=LOGS[log], streams=Streams(keep_s=0.001)) as served:
        got = await exchange(served.port, tongue.start("s1", "sim: tokens=3 ttft_ms=0 interval_ms=0"), over=tongue.over)
        await eventually(lambda: not served.house.desk.open_streams)
        await asyncio.sleep(0.002)
        await served.house.desk.sweep()
        stream = header(got, b"x-tidewire-stream") or "s1"
        refused = await exchange(served.port, tongue.back(stream, 2, random.Random(1)), over=tongue.over)
        assert tongue.refusal(refused) == (410, "expired")


@pytest.mark.promise("P4")
@pytest.mark.parametrize("log", LOGS)
async def test_a_chat_that_is_replayed_begins_from_its_first_chunk_however_often_it_is_cut(log, tmp_path):
    """The default transport of useChat has no cursor: while the answer runs it is sent from its first chunk, afterwards 204."""
    cuts: collections.Counter = collections.Counter()
    async with serving(tmp_path, log=LOGS[log]) as served:

        async def walk(rng: random.Random) -> None:
            chat = f"c{rng.getrandbits(60):x}"
            said = f"sim: tokens={rng.randint(10, 60)} thinking=3 ttft_ms=1 interval_ms=2"
            first = await exchange(served.port, TONGUES["ui startIndex"].start(chat, said), 700 + rng.randint(0, 900))
            stream = header(first, b"x-tidewire-stream")
            bodies = [whole(first)[1]]
            while True:
                cuts["drop"] += 1
                got = await exchange(
                    served.port,
                    request("GET", f"/api/chat/{chat}/stream"),
                    rng.randint(1, 3000),
                    rst=rng.random() < 0.3,
                )
                status, body, _ = whole(got)
                if status == 204:
                    break
                bodies.append(body)
            meta, raws = await known(served, stream)
            renderer = UIMessages().stream(meta)
            expected = renderer.feed([StoredEntry(n, raw) for n, raw in enumerate(raws, 1)])
            cuts["replayed"] += len(bodies) - 1  # none where the answer was over before its client came back
            assert all(expected.startswith(body) for body in bodies)

        await cut_until(CUTS, cuts, walk, f"replay {log}")
    assert cuts["replayed"] > 5


@pytest.mark.promise("P3")
@pytest.mark.parametrize("log", LOGS)
async def test_every_door_gives_the_same_bytes_of_each_event(log, tmp_path):
    async with serving(tmp_path, log=LOGS[log]) as served:
        sse, lines, socket = (TONGUES[n] for n in ("native sse", "native ndjson", "native websocket"))
        started = await exchange(served.port, sse.start("s1", "sim: tokens=300 thinking=20 ttft_ms=0 interval_ms=0"))
        _, raws = await known(served, "s1")
        rng = random.Random(1)
        assert [e.partition(b"data: ")[2] for e in sse.frames(started)] == raws
        assert lines.frames(await exchange(served.port, lines.back("s1", 0, rng))) == raws
        assert socket.frames(await exchange(served.port, socket.back("s1", 0, rng), over=socket.over)) == raws


@pytest.mark.promise("P5")
async def test_what_a_client_has_seen_is_in_the_log_on_disk(tmp_path):
    """Each event, the moment its bytes arrive, is looked up through a connection of its own to the file."""
    import sqlite3

    async with serving(tmp_path, log=LOGS["sqlite"]) as served:
        peer = await served.peer()
        peer.post(
            "/v1/streams", {"model": "simulated", "input": "sim: tokens=30 ttft_ms=1 interval_ms=3", "stream": "s1"}
        )
        await peer.head()
        seen = 0
        with sqlite3.connect(f"file:{served.house.settings.log_path}?mode=ro", uri=True) as db:
            while b'"type":"closed"' not in peer.seen:
                await peer._more()
                here = peer.seen.count(b"\ndata: ")
                journal = b"".join(row[0] for row in db.execute("SELECT lines FROM journal"))
                paged = b"".join(row[0] for row in db.execute("SELECT raws FROM pages")) if seen < here else b""
                for event in peer.seen.split(b"\n\n"):
                    _, data, raw = event.partition(b"\ndata: ")
                    assert not data or not raw.endswith(b"}") or raw in journal or raw in paged
                seen = here
        db.close()
        await peer.close()
        assert seen > 30


# What a returning client may meet, case by case


@pytest.fixture
async def served(tmp_path):
    async with serving(tmp_path) as served:
        yield served


async def ended_stream(served: Served, said: str = "sim: tokens=5 ttft_ms=0 interval_ms=0") -> int:
    """Runs stream s1 to its end; the number of its last event."""
    await exchange(served.port, TONGUES["native sse"].start("s1", said))
    await eventually(lambda: not served.house.desk.open_streams)
    return (await log_of(served).meta("default", "s1")).last


@pytest.mark.promise("P4")
@pytest.mark.parametrize("form", ["sse", "ndjson"])
@pytest.mark.parametrize("by_header", [False, True])
async def test_nothing_comes_after_closed_and_that_is_said_at_once(served, form, by_header):
    last = await ended_stream(served)
    after = "" if by_header else f"&after={last}"
    headers = {"last_event_id": str(last)} if by_header else {}
    async with asyncio.timeout(30):
        got = await exchange(served.port, request("GET", f"/v1/streams/s1/events?as={form}{after}", **headers))
    assert whole(got) == (204, b"", True)


@pytest.mark.promise("P4")
async def test_the_text_after_closed_is_empty(served):
    last = await ended_stream(served)
    status, _, body = await served.ask("GET", f"/v1/streams/s1/events?as=text&after={last}")
    assert (status, body) == (200, b"")


@pytest.mark.promise("P8")
@pytest.mark.parametrize("form", ["sse", "ndjson"])
async def test_an_event_source_with_a_cursor_past_the_end_is_refused(served, form):
    last = await ended_stream(served)
    status, _, body = await served.ask("GET", f"/v1/streams/s1/events?as={form}", last_event_id=str(last + 1))
    assert (status, json.loads(body)["error"]["code"]) == (400, "cursor_ahead")


async def test_a_last_event_id_outweighs_the_after_that_the_browser_began_with(served):
    await ended_stream(served)
    got = await exchange(served.port, request("GET", "/v1/streams/s1/events?after=1", last_event_id="3"))
    assert TONGUES["native sse"].frames(got)[0].startswith(b"id: 4\n")


@pytest.mark.promise("P6")
async def test_a_client_that_leaves_before_its_stream_is_open_leaves_no_stream_behind(tmp_path):
    """On disk the open takes a commit; who goes away meanwhile reads nothing, and with "cancel" nobody pays for the answer."""
    async with serving(tmp_path, log=LOGS["sqlite"]) as served:
        body = {"model": "simulated", "input": "sim: tokens=100000 interval_ms=5", "on_disconnect": "cancel"}
        for n in range(20):
            peer = await Peer.connect(served.port)
            peer.post("/v1/streams", {**body, "stream": f"s{n}"})
            await asyncio.sleep(0)
            peer.reset()
        await asyncio.sleep(0.1)
        await eventually(lambda: not served.house.desk.open_streams)


async def test_half_a_request_of_a_socket_does_no_harm(served):
    for cut in (0, 1, 5, 40, 150, 170):
        await exchange(served.port, (handshake() + frame({"do": "ping"}))[: -cut or None], 0)
    await eventually(lambda: not served.connections)
    assert (await served.ask("GET", "/healthz"))[0] == 200
