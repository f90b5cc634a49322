"""What readers that never read cost those that do.

    python benchmarks/backpressure.py [--rounds 7] [--seconds 3] [--readers 100]

100 readers of live streams alone, then beside 100 that never read, in turn; half of these hang on a large answer of their own,
half on a live one that 5 of the readers read too and that began with more than any buffer takes. Prints the readers' delay from the host's send to the reader's receipt, and the server's
memory per stalled reader (its resident set; what waits in the kernel's buffers is not in it). Exits 1 when the median p95 grows
by more than 10 %, or a stalled reader takes more than 256 KiB.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import statistics
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parent.parent / "tests"))

from cancel import pick, server

from serving import Peer
from upstream import Call, Upstream, chat

GROWTH, MEMORY = 1.10, 256 * 1024
STREAMS, INTERVAL = 20, 0.05
BIG = "sim: tokens=2000000 words=100 ttft_ms=0 interval_ms=0"


async def ticking(call: Call) -> None:
    call.head()
    if b"large" in call.body:
        for _ in range(16):
            call.chunk(b"".join([chat("word " * 100)] * 1000))
            await asyncio.sleep(0.05)
    while not call.gone.is_set():
        call.chunk(chat(f"<{time.perf_counter()}>"))
        await asyncio.sleep(INTERVAL)


async def start(port: int, body: dict[str, Any]) -> None:
    peer = await Peer.connect(port)
    peer.post("/v1/streams", body | {"on_disconnect": "continue"}, prefer="respond-async")
    status, _ = await peer.head()
    assert status == 202, status
    await peer.body()
    await peer.close()


async def read(port: int, stream: str, delays: list[float]) -> None:
    peer = await Peer.connect(port)
    peer.get(f"/v1/streams/{stream}")
    await peer.head()
    last = json.loads(await peer.body())["last"]
    peer.get(f"/v1/streams/{stream}/events?after={last}")
    await peer.head()
    try:
        while await peer._more():
            now = time.perf_counter()
            data, peer.seen = peer.seen, b""
            if data:
                delays.extend((now - float(t.partition(b">")[0])) * 1000 for t in data.split(b'"text":"<')[1:])
    finally:
        await peer.close()


async def round_of(port: int, readers: int, seconds: float) -> float:
    """The p95 of their delays, in milliseconds."""
    delays: list[float] = []
    tasks = [asyncio.create_task(read(port, f"live{i % STREAMS}", delays)) for i in range(readers)]
    await asyncio.sleep(0.5)
    delays.clear()
    await asyncio.sleep(seconds)
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    return pick(delays, 0.95)


async def stall(port: int, readers: int) -> list[Peer]:
    out = []
    for i in range(readers):
        peer = await Peer.connect(port, buffer=4096)
        peer.writer.transport.pause_reading()
        peer.get(f"/v1/streams/{'big' if i % 2 else 'live0'}/events")
        out.append(peer)
    await asyncio.sleep(1.0)
    return out


async def main() -> int:
    given = argparse.ArgumentParser()
    given.add_argument("--rounds", type=int, default=7)
    given.add_argument("--seconds", type=float, default=3.0)
    given.add_argument("--readers", type=int, default=100)
    args = given.parse_args()
    alone: list[float] = []
    beside: list[float] = []
    memory: list[float] = []
    more = {
        "TIDEWIRE_LIMITS__WRITE_STALL_S": "600",
        "TIDEWIRE_LIMITS__STREAM_BYTES": "64000000",
        "TIDEWIRE_STREAMS__KEEP_S": "600",
        "TIDEWIRE_LIMITS__READERS_PER_STREAM": "1000",
    }
    with tempfile.TemporaryDirectory() as folder:
        async with Upstream(ticking) as host, contextlib.AsyncExitStack() as stack:
            providers = '[providers.simulated]\nkind = "simulated"\n'
            port, process = await stack.enter_async_context(server(folder, {"host": host.url}, extra=providers, **more))
            for i in range(STREAMS):
                await start(port, {"model": "host/m", "input": "x" if i else "large", "stream": f"live{i}"})
            await start(port, {"model": "simulated", "input": BIG, "stream": "big"})
            await asyncio.sleep(4)
            for peer in await stall(port, args.readers):  # the first time, for what is made once
                peer.reset()
            await round_of(port, args.readers, 1.0)
            for _ in range(args.rounds):
                alone.append(await round_of(port, args.readers, args.seconds))
                before = process.memory_info().rss
                sleepers = await stall(port, args.readers)
                memory.append((process.memory_info().rss - before) / args.readers)
                beside.append(await round_of(port, args.readers, args.seconds))
                for peer in sleepers:
                    peer.reset()
                print(
                    f"p95 alone {alone[-1]:6.2f} ms, beside stalled ones {beside[-1]:6.2f} ms; {memory[-1] / 1024:6.1f} KiB each",
                    flush=True,
                )
            print(f"closing the host's {len(host.open)} connections")
    ratio = statistics.median(beside) / statistics.median(alone)
    most = max(memory)
    good = ratio <= GROWTH and most <= MEMORY
    print(
        f"\nmedian p95 {statistics.median(alone):.2f} -> {statistics.median(beside):.2f} ms, ratio {ratio:.2f} (<= {GROWTH})"
    )
    print(f"memory per stalled reader {most / 1024:.1f} KiB at most (<= {MEMORY // 1024})")
    print("met" if good else "missed")
    return 0 if good else 1


if __name__ == "__main__":
    sys.exit(asyncio.run(main()))
