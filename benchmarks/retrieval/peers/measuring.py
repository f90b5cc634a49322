"""The process of one engine. Started as

    python -m retrieval.peers.measuring ENGINE FILES FOLDER DIMENSIONS

it reads orders from its standard input, an object a line, and answers each with one: {"do": "build"}, {"do": "open"},
{"do": "queries", "way": ..., "first": 0, "count": 60} and {"do": "writes", ...} with the same fields. Times are seconds.
"""

from __future__ import annotations

import asyncio
import importlib
import json
import sys
import time
from pathlib import Path
from typing import Any, Final

from retrieval.peers.engine import Engine, Files

ENGINES: Final = {
    "tidewire": ("tidewire_index", "TidewireIndex"),
    "fts5": ("fts5", "Fts5"),
    "lancedb": ("lance", "Lance"),
    "chromadb": ("chroma", "Chroma"),
}
CHANGES: Final = 20  # between two times of upkeep
WITHIN: Final = 1.0  # seconds; what is not found by then is lost. What is deleted must be gone by then


def resident() -> float:
    """MB."""
    pages = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[1])
    return pages * 4096 / 1e6


class Measured:
    def __init__(self, engine: Engine, files: Files, folder: Path, bare: float) -> None:
        self.engine = engine
        self.files = files
        self.folder = folder
        self.bare = bare
        self.changes = 0

    async def build(self) -> dict[str, Any]:
        began = time.perf_counter()
        await self.engine.build(self.files, self.folder)
        took = time.perf_counter() - began
        await self.engine.close()
        size = sum(path.stat().st_size for path in self.folder.rglob("*") if path.is_file())
        return {"seconds": took, "disk_mb": size / 1e6}

    async def open(self) -> dict[str, Any]:
        self.asked = list(zip(self.files.read("asked.json"), self.files.vectors("asked.f32"), strict=True))
        self.new = list(zip(self.files.read("new.json"), self.files.vectors("new.f32"), strict=True))
        began = time.perf_counter()
        await self.engine.open(self.folder)
        for text, vector in self.asked[:1]:
            await self.engine.find(self.engine.ways[0], text, vector, time.time())
        return {"seconds": time.perf_counter() - began}

    async def queries(self, way: str, first: int, count: int) -> dict[str, Any]:
        took = []
        for text, vector in self.asked[first : first + count]:
            began = time.perf_counter()
            await self.engine.find(way, text, vector, time.time())
            took.append(time.perf_counter() - began)
        return {"queries": took, "memory_mb": resident() - self.bare}

    async def writes(self, way: str, first: int, count: int) -> dict[str, Any]:
        found, gone, upkeep, stale, lost = [], [], list[float](), 0, 0
        for number in range(first, first + count):
            (text, question), vector = self.new[number]
            name = f"new-{number}"
            began = time.perf_counter()
            await self.engine.put(name, text, vector)
            if await self._until(way, name, question, vector, there=True) is None:
                lost += 1
            else:
                found.append(time.perf_counter() - began)
            await self._changed(upkeep)
            began = time.perf_counter()
            await self.engine.delete(name)
            answers = await self._until(way, name, question, vector, there=False)
            if answers is None:
                raise RuntimeError(f"what was deleted is still found after {WITHIN:g} s")
            stale += answers
            gone.append(time.perf_counter() - began)
            await self._changed(upkeep)
        memory = resident() - self.bare
        return {"found": found, "gone": gone, "stale": stale, "lost": lost, "upkeep": upkeep, "memory_mb": memory}

    async def _until(self, way: str, name: str, question: str, vector: bytes, *, there: bool) -> int | None:
        """How many answers said otherwise before; None where it does not come to that."""
        wrong, until = 0, time.perf_counter() + WITHIN
        while (name in await self.engine.find(way, question, vector, time.time())) is not there:
            wrong += 1
            if time.perf_counter() > until:
                return None
            await asyncio.sleep(0)
        return wrong

    async def _changed(self, upkeep: list[float]) -> None:
        self.changes += 1
        if self.changes % CHANGES == 0:
            began = time.perf_counter()
            if await self.engine.upkeep():
                upkeep.append(time.perf_counter() - began)


async def work(name: str, files: Files, folder: Path) -> None:
    bare = resident()
    module, kind = ENGINES[name]
    engine: Engine = getattr(importlib.import_module(f"retrieval.peers.{module}"), kind)()
    measured = Measured(engine, files, folder, bare)
    loop = asyncio.get_running_loop()
    print(json.dumps({"ways": engine.ways}), flush=True)
    while line := await loop.run_in_executor(None, sys.stdin.readline):
        order = json.loads(line)
        do = getattr(measured, order.pop("do"))
        print(json.dumps(await do(**order)), flush=True)


if __name__ == "__main__":
    engine, files, folder, dimensions = sys.argv[1:]
    run = importlib.import_module("uvloop").run if engine == "tidewire" else asyncio.run  # as the server does
    run(work(engine, Files(Path(files), int(dimensions)), Path(folder)))
