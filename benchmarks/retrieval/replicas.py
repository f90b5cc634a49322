"""How soon a server finds what another has put, both with an index of their own over one Postgres.

    cd benchmarks && python -m retrieval.replicas [--puts 200]

Two stores with an index each, in one process: the clock is the same. From the call of put on A until B finds the chunk: by its
words, and by its vector, which A stores in the same breath.
"""

from __future__ import annotations

import argparse
import asyncio
import time

from retrieval.pgvector import NAME, Projection, database
from retrieval.report import at

from tidewire.retrieval.chunk import chunks
from tidewire.retrieval.engines.fts5_words import Fts5Words
from tidewire.retrieval.engines.matrix import Matrix
from tidewire.retrieval.engines.memory import MemoryIndex
from tidewire.retrieval.ports import Document, Filter
from tidewire.retrieval.stores.postgres import PostgresStore
from tidewire.retrieval.vectors import quantised


async def timed(url: str, puts: int) -> None:
    vector = Projection()
    ours, theirs = PostgresStore(url), PostgresStore(url)
    for store in (ours, theirs):
        await store.start()
    index = MemoryIndex(theirs, Fts5Words(), Matrix, [NAME])
    await index.start()
    await ours.add_vectors(NAME, [])
    await index.filled(10)
    put, words, both = list[float](), list[float](), list[float]()
    for n in range(puts):
        text = f"number{n} of the passages that one server puts and another finds"
        document = Document(f"{n}", f"{n}", text, f"{n}", f"{n}", time.time(), chunks=tuple(chunks(text)))
        began = time.perf_counter()
        (receipt,) = await ours.put("a", [document])
        put.append(time.perf_counter() - began)
        ((chunk, said),) = await ours.pending(NAME, 1)
        stored = asyncio.create_task(ours.add_vectors(NAME, [(chunk, quantised(vector(said)))]))
        which = Filter(time.time())
        if not await index.visible(receipt.seq) or not await index.lexical("a", f"number{n}", 1, which):
            raise SystemExit(f"put {n} is not found by its words")
        words.append(time.perf_counter() - began)
        if not await index.visible(receipt.seq, full=True) or not await index.dense("a", NAME, vector(said), 1, which):
            raise SystemExit(f"put {n} is not found by its meaning")
        both.append(time.perf_counter() - began)
        await stored
    for name, times in (("put acknowledged on A", put), ("by words on B", words), ("by meaning on B", both)):
        print(
            f"| {name} | p50 {at(times, 0.5):.1f} ms | p95 {at(times, 0.95):.1f} ms | max {max(times) * 1000:.1f} ms |"
        )
    await index.close()
    for store in (ours, theirs):
        await store.close()


async def run(puts: int) -> None:
    async with database() as url:
        await timed(url, puts)


def main() -> None:
    given = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    given.add_argument("--puts", type=int, default=200)
    asyncio.run(run(given.parse_args().puts))


if __name__ == "__main__":
    main()
