"""Store, index, embedding model and the worker that makes vectors, put together as the server does it; on a folder that may be kept."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

from tidewire.embedding.minilm import MiniLM
from tidewire.embedding.minilm_files import find
from tidewire.retrieval.engines.matrix import Matrix
from tidewire.retrieval.engines.memory import MemoryIndex
from tidewire.retrieval.engines.tantivy_words import TantivyWords
from tidewire.retrieval.ports import Store
from tidewire.retrieval.stores.sqlite import SqliteStore
from tidewire.retrieval.vectors import Vectors
from tidewire.telemetry.encoders import EncoderMetrics


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
async def opened(work: Path) -> AsyncIterator[Parts]:
    meter = EncoderMetrics()
    encoder = MiniLM(find(), work, meter, threads=1, slice_s=0.025, waiting=100_000)
    store = SqliteStore(work / "documents.db")
    await store.start()
    index = MemoryIndex(store, TantivyWords(), Matrix, [encoder.name])
    await index.start()
    vectors = Vectors(store, encoder, meter, batch=8)
    vectors.start()
    try:
        yield Parts(store, index, encoder)
    finally:
        await vectors.close()
        await index.close()
        await store.close()
        await encoder.close()
