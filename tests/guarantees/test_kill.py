"""kill -9 of a real server in the middle of answers, with durability class `process`; then the next server on the same folder.

Whoever had read something reads on from where it was: what it had seen stands in the log byte for byte, the rest follows, and there
is exactly one last event. The servers form a chain: each inherits what the one before left, and is killed in its turn.
"""

from __future__ import annotations

import asyncio
import json
import os
import random
import signal
import sys
from collections.abc import Sequence

import pytest

from cutting import TONGUES, exchange, header, whole
from serving import Peer, request
from tidewire.core import events as ev

ROUNDS = 3
READERS = 6
LEAST = 10
QUIET = {
    **{name: value for name, value in os.environ.items() if not name.startswith("TIDEWIRE_")},
    "TIDEWIRE_MODELS__DISCOVER": "0",
    "TIDEWIRE_EMBEDDING__KIND": "none",
    "TIDEWIRE_PROVIDERS__SIMULATED__KIND": "simulated",
    "TIDEWIRE_MODELS__DEFAULT": "simulated",
    "TIDEWIRE_LIMITS__BUSY": "10",
}
SAID = "sim: tokens=100000 thinking=5 ttft_ms=1 interval_ms=1 jitter_ms=1"


class Process:
    """A server in a process of its own."""

    def __init__(self, process: asyncio.subprocess.Process, port: int) -> None:
        self._process = process
        self.port = port

    @classmethod
    async def start(cls, folder) -> Process:
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "tidewire.cli", "serve", "--port", "0", "--data", str(folder)),
            env=QUIET,
            cwd=folder,
            stderr=asyncio.subprocess.PIPE,
        )
        assert process.stderr is not None
        async for line in process.stderr:
            if b'"address"' in line:
                return cls(process, int(json.loads(line)["address"].rpartition(":")[2]))
        raise AssertionError("the server did not start")

    async def kill(self) -> None:
        self._process.send_signal(signal.SIGKILL)
        await self._process.communicate()

    async def ask(self, method: str, path: str, **headers: str) -> bytes:
        return await exchange(self.port, request(method, path, **headers))


class Client:
    """Reads a stream until its server dies; what it then holds is all that it knows."""

    def __init__(self, stream: str, *, reads: bool) -> None:
        self.stream = stream
        self.reads = reads
        self.begun = asyncio.Event()  # it has read LEAST events
        self.seen: list[bytes] = []
        self._body = b""

    async def read(self, port: int) -> None:
        peer = await Peer.connect(port)
        body = {"model": "simulated", "input": SAID, "stream": self.stream, "on_disconnect": "continue"}
        peer.post("/v1/streams", body, accept="application/x-ndjson")
        try:
            await peer.head()
            while await peer._more():
                if not self.reads:
                    await asyncio.Event().wait()
                if peer.seen.count(b"\n") >= LEAST:
                    self.begun.set()
        except (EOFError, OSError):
            pass
        finally:
            self._body = peer.seen
            self.seen = [line for line in self._body.split(b"\n")[:-1] if line]
            await peer.close()


def check(entries: Sequence[bytes]) -> ev.Closed:
    """A log from its first event to its one last."""
    events = [ev.decode(raw) for raw in entries]
    assert [e.seq for e in events] == list(range(1, len(events) + 1))
    assert isinstance(events[0], ev.Opened)
    assert sum(isinstance(e, ev.Closed) for e in events) == 1
    last = events[-1]
    assert isinstance(last, ev.Closed)
    return last


def lost(last: ev.Closed) -> None:
    assert (last.status, last.reason) == ("failed", "error")
    assert last.error is not None
    assert (last.error.code, last.error.retryable) == ("server_lost", True)
    assert last.output_tokens is not None


@pytest.mark.slow
@pytest.mark.promise("P3")
@pytest.mark.promise("P4")
@pytest.mark.promise("P5")
async def test_what_a_reader_had_seen_survives_kill_9_and_each_stream_gets_one_end(tmp_path):
    rng = random.Random(9)
    server = await Process.start(tmp_path)
    known: dict[str, list[bytes]] = {}  # of streams that have ended: their whole log
    try:
        for n in range(ROUNDS):
            clients = [Client(f"r{n}s{i}", reads=i > 0) for i in range(READERS)]
            reading = [asyncio.create_task(c.read(server.port)) for c in clients]
            async with asyncio.timeout(60):
                await clients[-1].begun.wait()
            await asyncio.sleep(rng.uniform(0.0, 0.3))  # where it is killed does not matter, and differs
            await server.kill()
            for task in reading[:1]:
                task.cancel()
            await asyncio.gather(*reading, return_exceptions=True)
            if n == 1:  # one that hardly lives: killed while it cleans up after the one before, or soon after
                frail = asyncio.create_task(Process.start(tmp_path))
                await (await frail).kill()
            server = await Process.start(tmp_path)
            for client in clients:
                if log := await inherited(server, client, rng):
                    known[client.stream] = log
            for stream, log in known.items():  # and what earlier servers had ended is as it was
                assert await follow(server, stream, 0) == log
    finally:
        await server.kill()
    assert sum(len(log) for log in known.values()) >= ROUNDS * LEAST


async def follow(server: Process, stream: str, after: int) -> list[bytes]:
    tongue = TONGUES["native ndjson"]
    got = await exchange(server.port, tongue.back(stream, after, random.Random(0)))
    assert whole(got)[0] == 200
    return tongue.frames(got)


async def inherited(server: Process, client: Client, rng: random.Random) -> list[bytes]:
    """The log of the client's stream, checked against what it had seen; [] where the server died before it was opened."""
    status, _, _ = whole(await server.ask("GET", f"/v1/streams/{client.stream}"))
    if status == 404:
        assert client.seen == []
        return []
    log = await follow(server, client.stream, 0)
    assert log[: len(client.seen)] == client.seen
    lost(check(log))
    cursor = len(client.seen)
    assert await follow(server, client.stream, cursor) == log[cursor:]
    sse = TONGUES["native sse"]
    got = await exchange(server.port, sse.back(client.stream, cursor, rng))
    assert [e.partition(b"data: ")[2] for e in sse.frames(got)] == log[cursor:]
    socket = TONGUES["native websocket"]
    got = await exchange(server.port, socket.back(client.stream, cursor, rng), over=socket.over)
    assert socket.frames(got) == log[cursor:]
    return log


@pytest.mark.slow
@pytest.mark.promise("P5")
async def test_the_other_dialects_resume_after_kill_9_too(tmp_path):
    rng = random.Random(3)
    server = await Process.start(tmp_path)
    before: dict[str, tuple[str, list[bytes]]] = {}
    try:

        async def read(name: str) -> None:
            tongue = TONGUES[name]
            got = await exchange(server.port, tongue.start(f"chat-{name[:2]}", SAID), 6000)
            before[name] = header(got, b"x-tidewire-stream"), tongue.frames(got)

        await asyncio.gather(read("responses"), read("ui startIndex"))
        await server.kill()
        server = await Process.start(tmp_path)
        for name, (stream, seen) in before.items():
            tongue = TONGUES[name]
            everything = tongue.frames(await exchange(server.port, tongue.back(stream, 0, rng)))
            rest = tongue.frames(await exchange(server.port, tongue.back(stream, len(seen), rng)))
            assert len(seen) > 5
            assert everything == seen + rest
            log = await follow(server, stream, 0)
            lost(check(log))
            ends = (b'"type":"response.failed"', b'"type":"finish"')
            assert sum(any(end in frame for end in ends) for frame in everything) == 1
    finally:
        await server.kill()
