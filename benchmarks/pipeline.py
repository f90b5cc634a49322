"""What a token costs in this process, from the host's bytes to the client's, with no socket and no event loop between them.

    python benchmarks/pipeline.py [--tokens 100000] [--streams 1,500] [--write]

The host's connection is given the bytes of one token at a time, of each stream in turn; the client's connection writes to a
transport that throws everything away. Everything between is the code that serves: parser, decoder, run, log in memory,
renderer, chunk. One stream alone keeps its objects in the processor's caches; 500 in turn show what finding them again costs.
"""

from __future__ import annotations

import argparse
import asyncio
import gc
import statistics
import time
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import uvloop
from relay import page
from relay.machine import Cores, facts

from tidewire.core.events import Delta, PartStarted
from tidewire.core.ports import Sink
from tidewire.core.request import CONTINUE, Request
from tidewire.dialects.openai_chat import OpenAIChat
from tidewire.dialects.openai_chat_host import ChatHost
from tidewire.doors.connection import Wire
from tidewire.doors.pump import Pump
from tidewire.engine.admission import Admission, Limits
from tidewire.engine.desk import Desk, Terms
from tidewire.providers.answers import Streamed, Timeouts
from tidewire.providers.connection import Connection
from tidewire.stores.memory import MemoryLog
from tidewire.telemetry.metrics import Metrics

TEXT = " token@T0000000000000000.000000;"
EVENT = (
    b'data: {"id":"chatcmpl-B0000000000000000000000000001","object":"chat.completion.chunk","created":1795221561,'
    b'"model":"mock","service_tier":"default","system_fingerprint":"fp_44709d6fcb","choices":[{"index":0,'
    b'"delta":{"content":"%b"},"logprobs":null,"finish_reason":null}]}\n\n'
) % TEXT.encode()
CHUNK = b"%x\r\n%b\r\n" % (len(EVENT), EVENT)
HEAD = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n"
PASSES = 3
ASKED = Request(model="mock", messages=[])


class Void:
    """A transport that takes everything. What is written is counted, so that nothing can go missing unseen."""

    def __init__(self) -> None:
        self.writes = 0

    def write(self, data: bytes) -> None:
        self.writes += 1

    def is_closing(self) -> bool:
        return False

    def pause_reading(self) -> None: ...

    def abort(self) -> None:
        raise AssertionError("a connection was broken")


class Hosts:
    """The provider of all streams: it hands out their sinks, and is fed from outside."""

    name = "void"

    def __init__(self) -> None:
        self.sinks: asyncio.Queue[Sink] = asyncio.Queue()

    async def answer(self, request: Request, sink: Sink) -> None:
        self.sinks.put_nowait(sink)
        await asyncio.get_running_loop().create_future()


class Way:
    """One stream: the host's connection at one end, the client's at the other."""

    def __init__(self, host: Connection, sink: Sink, client: Void | None) -> None:
        self.host = host
        self.sink = sink
        self.client = client


class Workshop:
    """Streams to be fed, on one desk."""

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._hosts = Hosts()
        self._tasks: set[asyncio.Task[None]] = set()
        self._log = MemoryLog()
        self._desk = Desk(
            self._log,
            find_provider=self._find,
            models=None,
            admission=Admission(Limits(), load=lambda: 0.0, held=lambda: 0),
            stages=lambda _: [],
            steps=(),
            terms=Terms(stream_bytes=1 << 40, stream_events=1 << 40),
            meter=Metrics(self._log.size),
            projection=str,
        )

    async def _find(self, model: str) -> tuple[Any, str]:
        return self._hosts, model

    async def way(self, *, read: bool = True) -> Way:
        meta = await self._desk.start(Request(model="mock", messages=[], on_disconnect=CONTINUE))
        sink = await self._hosts.sinks.get()
        client = self._reader(meta) if read else None
        for _ in range(4):  # the reader follows
            await asyncio.sleep(0)
        host = Connection(SimpleNamespace())
        host.connection_made(Void())
        answer = Streamed(
            host,
            ChatHost().decoder(ASKED),
            sink,
            Timeouts(),
            self._loop,
            clock=time.monotonic,
            began=0.0,
            connected=(0.0, 0.0),
            secrets=[],
        )
        host.ask(b"", answer)
        host.data_received(HEAD)
        return Way(host, sink, client)

    def _reader(self, meta: Any) -> Void:
        client = Void()
        cycle = SimpleNamespace(scope={"http_version": "1.1"}, keep_alive=True, response_started=False)
        connection = SimpleNamespace(transport=client, flow=SimpleNamespace(write_paused=False), gone=False)
        pump = Pump(Wire(connection, cycle), OpenAIChat().stream(meta), headers=[], refuse=lambda _: b"")
        task = asyncio.create_task(pump.run(lambda wake: self._desk.follow(meta.tenant, meta.stream, 0, wake)))
        self._tasks.add(task)
        return client


def timed(turns: int, work: Callable[[], None], tokens: int) -> float:
    """Microseconds of CPU a token: the median of a few passes."""
    passes = []
    for _ in range(PASSES):
        began = time.process_time()
        for _ in range(turns):
            work()
        passes.append((time.process_time() - began) / (turns * tokens) * 1e6)
    return statistics.median(passes)


async def whole(streams: int, tokens: int) -> float:
    shop = Workshop()
    ways = [await shop.way() for _ in range(streams)]
    gc.collect()
    gc.freeze()
    hosts = [way.host for way in ways]
    turns = max(1, tokens // streams // PASSES)

    def turn() -> None:
        for host in hosts:
            host.data_received(bytes(bytearray(CHUNK)))  # new bytes each time, as from a socket

    took = timed(turns, turn, streams)
    for way in ways:
        _came_through(way, turns * PASSES)
    return took


async def parts(tokens: int) -> list[tuple[str, float]]:
    """One stream, cut shorter and shorter."""
    turns = max(1, tokens // PASSES)
    shop = Workshop()
    read, unread = await shop.way(), await shop.way(read=False)
    for way in (read, unread):
        way.sink.feed([PartStarted(part=0, kind="text")])
    events = [Delta(part=0, text=TEXT)]
    decoder = ChatHost().decoder(ASKED)
    rows = [
        ("decoding the host's event", timed(turns, lambda: decoder.feed(EVENT), 1)),
        ("run, log, renderer and chunk", timed(turns, lambda: read.sink.feed(events), 1)),
        ("run and log, nobody reads", timed(turns, lambda: unread.sink.feed(events), 1)),
    ]
    _came_through(read, turns * PASSES)
    return rows


def _came_through(way: Way, tokens: int) -> None:
    assert way.client is not None
    if way.client.writes < tokens:
        raise RuntimeError(f"{way.client.writes} of {tokens} tokens came through: the figures are of something else")


async def main() -> None:
    given = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    given.add_argument("--tokens", type=int, default=100_000, help="in all, for each figure")
    given.add_argument("--streams", default="1,500", help="how many in turn, by comma")
    given.add_argument("--write", action="store_true", help="record the result, and put it into benchmarks/README.md")
    args = given.parse_args()
    rows = [(f"whole way, {n} in turn", await whole(int(n), args.tokens)) for n in args.streams.split(",")]
    rows += await parts(args.tokens)
    text = "".join(f"{says:<32}{took:8.2f} us a token\n" for says, took in rows)
    print(text, end="")
    if args.write:
        page.save(page.RESULTS / "pipeline.json", {"context": facts(Cores.find()), "figures": dict(rows), "text": text})
        page.write()


if __name__ == "__main__":
    uvloop.run(main())
