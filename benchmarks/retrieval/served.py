"""The server itself over the same documents: when it answers after a start, how long a search takes over HTTP, what it holds in memory."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Sequence
from pathlib import Path
from typing import Final

import httpx
import psutil
from retrieval.report import Report

QUERIES: Final = 200
SAME: Final = 3.0  # seconds of rest before memory is read


@contextlib.asynccontextmanager
async def server(data: Path) -> AsyncIterator[tuple[asyncio.subprocess.Process, httpx.AsyncClient]]:
    """It listens when this yields; nothing is said of its index. Raises RuntimeError with the end of its log."""
    environ = {name: value for name, value in os.environ.items() if not name.startswith("TIDEWIRE_")}
    with tempfile.TemporaryDirectory() as folder:
        command = ("-m", "tidewire.cli", "serve", "--data", str(data), "--port", "0", "--durability", "memory")
        log = Path(folder) / "log"
        with log.open("w", encoding="utf-8") as written:
            process = await asyncio.create_subprocess_exec(
                sys.executable, *command, cwd=folder, env=environ, stdout=written, stderr=written
            )
        try:
            async with httpx.AsyncClient(base_url=await _address(process, log), timeout=30) as client:
                yield process, client
        finally:
            with contextlib.suppress(ProcessLookupError):
                process.terminate()
            await process.wait()


async def _address(process: asyncio.subprocess.Process, log: Path) -> str:
    for _ in range(3000):
        for line in log.read_text(encoding="utf-8").splitlines():
            if line.startswith("{") and line.endswith("}") and "address" in (said := json.loads(line)):
                return f"http://{said['address'].removeprefix('http://')}"
        if process.returncode is not None:
            break
        await asyncio.sleep(0.01)
    raise RuntimeError("the server did not start:\n" + "\n".join(log.read_text(encoding="utf-8").splitlines()[-20:]))


async def search(client: httpx.AsyncClient, question: str) -> dict[str, object]:
    answer = await client.post("/v1/search", json={"query": question, "limit": 8})
    answer.raise_for_status()
    found: dict[str, object] = answer.json()
    return found


async def resident(process: asyncio.subprocess.Process) -> float:
    """MiB, when it has come to rest."""
    await asyncio.sleep(SAME)
    return psutil.Process(process.pid).memory_info().rss / 2**20


async def served(work: Path, asked: Sequence[str], report: Report) -> None:
    with tempfile.TemporaryDirectory() as nothing:
        async with server(Path(nothing)) as (process, client):
            await client.put("/v1/documents/one", content=b"one document, so that the model is loaded")
            for question in asked[:20]:
                await search(client, question)
            idle = await resident(process)
    began = time.perf_counter()
    async with server(work) as (process, client):
        ready = listens = time.perf_counter() - began
        says: object = "empty"
        while says == "empty":
            says = (await search(client, "how is a file opened"))["ready"]
            ready = time.perf_counter() - began
            await asyncio.sleep(0.02)
        while says != "full":
            says = (await search(client, f"how is a file opened {time.time()}"))["ready"]
            await asyncio.sleep(0.02)
        full = time.perf_counter() - began
        took = []
        for question in asked[:QUERIES]:
            sent = time.perf_counter()
            await search(client, question)
            took.append(time.perf_counter() - sent)
        memory = await resident(process)
    report.add("start of the server until it answers a search", listens, "s")
    report.add("start of the server until words find all", ready, "s")
    report.add("start of the server until all is found", full, "s", bar=8)
    report.times("a search over HTTP, idle", took, bar=None)
    report.add("memory of the server with one document", idle, "MiB")
    report.add("memory above that, with these documents", memory - idle, "MiB", bar=200)
