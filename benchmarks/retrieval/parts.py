"""Store, index, embedding model and the worker that makes vectors, put together as the server does it; on a folder that may be kept."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from tidewire.embedding.minilm import MiniLM
from tidewire.embedding.minilm_files import find
from tidewire.retrieval.engines.matrix import Matrix
from tidewire.retrieval.engines.memory import MemoryIndex
from tidewire.retrieval.engines.tantivy_words import TantivyWords
from tidewire.retrieval.ports import Store
from tidewire.retrieval.stores.sqlite import SqliteStore
from tidewire.retrieval.vectors import Vectors
from tidewire.telemetry.encoders import EncoderMetrics

SPACE: Final = "default"  # the tenant of who gives no key


class Ticker:
    """How late a timer of 1 ms comes on the event loop: for how long something else held it."""

    def __init__(self) -> None:
        self._late: list[float] = []
        self._task = asyncio.create_task(self._tick())

    async def _tick(self) -> None:
        last = time.perf_counter()
        while True:
            await asyncio.sleep(0.001)
            now = time.perf_counter()
            self._late.append(now - last - 0.001)
            last = now

    def stop(self) -> list[float]:
        """Seconds, each."""
        self._task.cancel()
        return self._late


@dataclass
class Parts:
    store: Store
    index: MemoryIndex
    encoder: MiniLM

    async def ready(self, spaces: Sequence[str]) -> None:
        """Once all that is stored can be found by meaning, too; says every ten seconds how far it is."""
        looks = 0
        while True:
            waiting = sum([(await self.store.count(space))[2] for space in spaces])
            if not waiting and self.index.ready == "full" and not any(self.index.lag()):
                return
            if looks % 100 == 0:
                print(f"{waiting} chunks wait for a vector", flush=True)
            looks += 1
            await asyncio.sleep(0.1)


@asynccontextmanager
async def opened(work: Path, *, vectors: bool = True) -> AsyncIterator[Parts]:
    """vectors: whether chunks that have none are given theirs in the background."""
    meter = EncoderMetrics()
    encoder = MiniLM(find(), work, meter, threads=1, slice_s=0.025, waiting=100_000)
    store = SqliteStore(work / "documents.db")
    await store.start()
    index = MemoryIndex(store, TantivyWords(), Matrix, [encoder.name])
    await index.start()
    worker = Vectors(store, encoder, meter, batch=8)
    if vectors:
        worker.start()
    try:
        yield Parts(store, index, encoder)
    finally:
        await worker.close()
        await index.close()
        await store.close()
        await encoder.close()
