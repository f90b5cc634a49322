"""After a thousand answers broken off in every phase, the server holds what it held before."""

from __future__ import annotations

import asyncio
import gc
import logging
import os
import tracemalloc

from leaving import PHASES, WAYS, phases
from serving import eventually, serving
from tidewire.server.settings import Streams

MANY = 1000
AT_ONCE = 20
LEFT = 512  # bytes an abort may leave: the id of an expired stream is remembered, of 10,000 at most
OFTEN = [p for p in PHASES if p != "connecting, no SYN-ACK"]  # that one costs a look at all sockets each time


async def test_a_thousand_aborts_leave_nothing_behind(tmp_path, caplog):
    caplog.set_level(logging.WARNING, "uvicorn.error")  # what is said of each socket would be kept until the end
    async with phases() as hosts:
        names = {name: f"h{i}" for i, name in enumerate(hosts)}
        urls = {names[name]: hosts[name].url for name in hosts}
        async with serving(tmp_path, hosts=urls, streams=Streams(keep_s=0.001)) as tidewire:

            async def one(i: int) -> None:
                way = list(WAYS)[i % len(WAYS)]
                leave, tidy = await WAYS[way](tidewire.port, f"{names[OFTEN[i % len(OFTEN)]]}/m")
                for _ in range(i % 7):
                    await asyncio.sleep(0)
                await leave()
                await tidy()

            async def abort(n: int) -> None:
                for i in range(0, n, AT_ONCE):
                    await asyncio.gather(*(one(j) for j in range(i, i + AT_ONCE)))

            async def settled() -> dict[str, int]:
                desk = tidewire.house.desk
                await eventually(lambda: desk.open_streams == 0 and not tidewire.connections)
                await eventually(lambda: not any(hosts[p].held() for p in OFTEN))
                await eventually(lambda: not tidewire.server.server_state.tasks)
                await asyncio.sleep(0.005)
                await desk.sweep()
                await asyncio.sleep(0)
                for _ in range(2):
                    gc.collect()
                provider_hosts = [p.host for p in tidewire.house.catalogue.providers if hasattr(p, "host")]
                return {
                    "tasks": len(asyncio.all_tasks()),
                    "files": len(os.listdir("/proc/self/fd")),
                    "readers": tidewire.readers,
                    "streams in the log": desk._log.size()[0],
                    "writers": len(desk._log._writers),
                    "closing": len(desk._closing),
                    "sockets": len(tidewire.server.server_state.connections),
                    "host calls": sum(h.in_use for h in provider_hosts),
                    "kept connections": sum(h.kept for h in provider_hosts),
                }

            await abort(100)  # what is made once is made here
            before = await settled()
            tracemalloc.start()
            try:
                await settled()
                held = tracemalloc.get_traced_memory()[0]
                calls = {p: hosts[p].asked() for p in OFTEN}
                await abort(MANY)
                assert await settled() == before
                for host in OFTEN:
                    assert hosts[host].asked() > calls[host]
                for phase in hosts.values():
                    phase.forget()
                gc.collect()
                assert tracemalloc.get_traced_memory()[0] - held < MANY * LEFT
            finally:
                tracemalloc.stop()
    assert [r.getMessage() for r in caplog.records if r.levelno >= logging.ERROR] == []
