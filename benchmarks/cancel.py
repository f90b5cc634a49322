"""How fast a host is let go of: from the client's close, or an explicit stop, to the host's closed socket.

    python benchmarks/cancel.py [--n 20] [--aborts 1000] [--only TEXT]

Prints p50, p95 and max in milliseconds for each way of leaving and each phase of the answer, then what is left in the server
after that many aborts. Exits 1 when a p95 is over 50 ms, or something is left. The server is a process of its own; hosts and
clients are in this one, so that both ends are read from one clock. A connection that never was is looked for in the
kernel's table of sockets, which takes 10 to 20 ms to read: that column is an upper bound.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Mapping
from pathlib import Path

import psutil

sys.path.insert(0, str(Path(__file__).parent.parent / "tests"))

from leaving import PHASES, WAYS, Phase, phases
from serving import Peer

BAR_MS = 50.0


@contextlib.asynccontextmanager
async def server(
    folder: str, hosts: Mapping[str, str], extra: str = "", **more: str
) -> AsyncIterator[tuple[int, psutil.Process]]:
    """A server with a host for each name; its port and process. extra: more of its settings file; more: of its environment."""
    environ = {k: v for k, v in os.environ.items() if not k.startswith("TIDEWIRE_")}
    environ |= {
        "TIDEWIRE_MODELS__DISCOVER": "0",
        "TIDEWIRE_EMBEDDING__KIND": "none",
        "TIDEWIRE_LOG__DURABILITY": "memory",
        "TIDEWIRE_LIMITS__BUSY": "10",
        "TIDEWIRE_STREAMS__KEEP_S": "1",
    } | more
    config = Path(folder) / "tidewire.toml"
    config.write_text(
        "\n".join(
            f'[providers.{name}]\nbase_url = "{url}"\nmodels = ["m"]\nretries = 0\nconnect_s = 60.0\n'
            for name, url in hosts.items()
        )
        + extra
    )
    command = [sys.executable, "-m", "tidewire.cli", "serve", "--port", "0", "--data", folder, "--config", str(config)]
    process = subprocess.Popen(command, env=environ, cwd=folder, stderr=subprocess.PIPE)  # noqa: ASYNC220 - once
    try:
        assert process.stderr is not None
        loop = asyncio.get_running_loop()
        while True:
            line = json.loads(await loop.run_in_executor(None, process.stderr.readline))
            if "address" in line:
                break
        reading = loop.run_in_executor(None, process.stderr.read)
        yield int(line["address"].rpartition(":")[2]), psutil.Process(process.pid)
    finally:
        process.kill()
        await reading
        process.wait()
        process.stderr.close()


async def once(way: str, host: Phase, port: int, model: str) -> float:
    """Milliseconds."""
    before = host.asked()
    leave, tidy = await WAYS[way](port, model)
    await until(lambda: host.asked() > before)
    await asyncio.sleep(0.003)  # its first bytes are with the client
    began = time.perf_counter()
    leaving = asyncio.ensure_future(leave())
    await until(lambda: host.held() == 0)
    took = (time.perf_counter() - began) * 1000
    await leaving
    await tidy()
    return took


async def until(true) -> None:
    end = time.monotonic() + 10
    while not true():
        if time.monotonic() > end:
            raise TimeoutError("the host's socket was not closed within 10 s")
        await asyncio.sleep(0.0002)


def pick(values: list[float], share: float) -> float:
    return sorted(values)[min(len(values) - 1, int(len(values) * share))]


async def table(port: int, hosts: Mapping[str, Phase], names: Mapping[str, str], n: int, only: str) -> bool:
    good = True
    print(f"{'ms: p50 / p95 / max':<38}" + "".join(f"{p:>26}" for p in PHASES))
    for way in WAYS:
        if only not in way:
            continue
        cells = []
        for phase in PHASES:
            took = [await once(way, hosts[phase], port, f"{names[phase]}/m") for _ in range(n)]
            p95 = pick(took, 0.95)
            good &= p95 <= BAR_MS
            mark = " " if p95 <= BAR_MS else "!"
            cells.append(f"{pick(took, 0.5):8.1f} {p95:7.1f} {max(took):8.1f}{mark}")
        print(f"{way:<38}" + "".join(f"{c:>26}" for c in cells), flush=True)
    return good


async def gauges(port: int) -> dict[str, float]:
    peer = await Peer.connect(port)
    peer.get("/metrics", connection="close")
    await peer.head()
    text = (await peer.body()).decode()
    await peer.close()
    wanted = ("streams_open", "readers", "log_streams")
    rows = (line.rsplit(" ", 1) for line in text.splitlines() if not line.startswith("#"))
    return {name: float(value) for name, value in rows if any(w in name for w in wanted)}


async def aborts(
    port: int, process: psutil.Process, hosts: Mapping[str, Phase], names: Mapping[str, str], n: int
) -> bool:
    """n answers broken off in mixed phases, 16 at a time; what is left when they are over and forgotten."""
    ways = [w for w in WAYS if "cancel" not in w and "stop" not in w and "DELETE" not in w]

    async def some(count: int) -> None:
        gate = asyncio.Semaphore(16)

        async def one(i: int) -> None:
            async with gate:
                phase = PHASES[i % len(PHASES)]
                leave, tidy = await WAYS[ways[i % len(ways)]](port, f"{names[phase]}/m")
                await asyncio.sleep(0.002 * (i % 8))
                await leave()
                await tidy()

        await asyncio.gather(*(one(i) for i in range(count)))
        await until(lambda: not any(h.held() for h in hosts.values()))
        await asyncio.sleep(8)  # kept for 1 s, swept each 5 s

    await some(n)  # what is made once is made here: pools, caches, tombstones, room in the heap
    fds, rss, before = process.num_fds(), process.memory_info().rss, await gauges(port)
    await some(n)
    fds_after, rss_after, after = process.num_fds(), process.memory_info().rss, await gauges(port)
    grown = (rss_after - rss) / 1024
    print(
        f"\nafter {n} aborts: sockets and files {fds} -> {fds_after}, memory {grown:+.0f} KiB ({grown / n:+.2f} KiB each)"
    )
    print(f"  {before}\n  {after}")
    return fds_after <= fds and before == after and grown < 2048


async def main() -> int:
    given = argparse.ArgumentParser()
    given.add_argument("--n", type=int, default=20, help="times each")
    given.add_argument("--aborts", type=int, default=1000)
    given.add_argument("--only", default="", help="ways whose name holds this")
    args = given.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        async with phases() as hosts:
            names = {name: f"h{i}" for i, name in enumerate(hosts)}
            async with server(folder, {names[p]: h.url for p, h in hosts.items()}) as (port, process):
                good = await table(port, hosts, names, args.n, args.only)
                if args.aborts:
                    good &= await aborts(port, process, hosts, names, args.aborts)
    print("\nmet" if good else f"\nmissed: p95 <= {BAR_MS:g} ms in each cell, nothing left behind")
    return 0 if good else 1


if __name__ == "__main__":
    sys.exit(asyncio.run(main()))
