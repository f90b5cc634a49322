"""How fast a search is over 100,000 chunks, alone and beside writes; how soon what is written is found; what it takes in memory.

    cd benchmarks && python -m retrieval.speed [--chunks 100000] [--queries 300] [--seconds 20] [--work FOLDER] [--write]

The first part is one process with the store, the index, the local model and the search, put together as the server does it, and a timer
of 1 ms on the event loop beside them. The second is the server itself, started on the same documents and on none.
--work keeps the documents between two runs. Exits 1 where a bar is missed, unless --no-gate.
"""

from __future__ import annotations

import argparse
import asyncio
import hashlib
import itertools
import random
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Final

import numpy as np
import uvloop
from relay import page
from relay.machine import Cores, facts
from retrieval.parts import SPACE, Parts, Ticker, opened
from retrieval.report import Report, at
from retrieval.served import served

from retrieval import corpus
from tidewire.retrieval.chunk import chunks
from tidewire.retrieval.ports import Document
from tidewire.retrieval.search import Query, Results, Search
from tidewire.server import runtime

PER_SECOND: Final = 50  # writes
READERS: Final = 2
ROLLING: Final = 200  # documents that are written again and again
LIMIT: Final = 8


class Writer:
    """Documents of one chunk with their vector, as fast as they are due. deleted: locations that are gone by word of the store."""

    def __init__(self, parts: Parts, texts: Sequence[str]) -> None:
        self.parts = parts
        self.texts = texts
        self.words: list[float] = []
        self.both: list[float] = []
        self.gone: dict[str, float] = {}
        self.served_gone = 0
        self._drawn = random.Random(13)
        self._vectors = np.random.default_rng(17)
        self._count = itertools.count()

    async def put(self) -> None:
        """Replace a document; seconds until it is found by words, and by meaning, too."""
        number = next(self._count)
        location = f"rolling-{number % ROLLING}"
        text = f"{self._drawn.choice(self.texts)[:800]} written{number}"
        digest = hashlib.sha256(text.encode()).hexdigest()
        document = Document(
            location, f"Rolling {number}", text, location, digest, time.time(), chunks=tuple(chunks(text))
        )
        self.gone.pop(location, None)
        store, index, encoder = self.parts.store, self.parts.index, self.parts.encoder
        began = time.perf_counter()
        (receipt,) = await store.put(SPACE, [document])
        await index.visible(receipt.seq)
        self.words.append(time.perf_counter() - began)
        waiting = await store.pending(encoder.name, 100)
        await store.add_vectors(
            encoder.name, [(c, corpus.vector(self._vectors, encoder.dimensions)) for c, _ in waiting]
        )
        await index.visible(receipt.seq, full=True)
        self.both.append(time.perf_counter() - began)

    async def remove(self) -> None:
        location = f"rolling-{self._drawn.randrange(ROLLING)}"
        await self.parts.store.remove(SPACE, [location])
        self.gone[location] = time.perf_counter()

    def look(self, results: Results, asked: float) -> None:
        """Whether anything was served that was gone before the question came."""
        for one in results.found:
            self.served_gone += self.gone.get(one.row.uri, asked) < asked

    async def work(self, until: float) -> None:
        """In order, one at a time, none skipped: what comes late is made up for."""
        due = time.perf_counter()
        while due < until:
            await asyncio.sleep(max(0.0, due - time.perf_counter()))
            await (self.remove() if self._drawn.random() < 0.1 else self.put())
            due += 1 / PER_SECOND


async def nothing(seconds: float, report: Report) -> None:
    """What the machine alone does to a timer: nothing of ours is at work."""
    ticker = Ticker()
    await asyncio.sleep(seconds)
    report.held("nothing at work: the event loop was held for at most", ticker, bar=5, judged=False)


async def alone(search: Search, asked: Sequence[str], report: Report) -> None:
    ticker = Ticker()
    took, parts = [], dict[str, list[float]]()
    for question in asked:
        began = time.perf_counter()
        results = await search.find(SPACE, Query(text=question, limit=LIMIT))
        took.append(time.perf_counter() - began)
        for part, ms in results.took.items():
            parts.setdefault(part, []).append(ms / 1000)
    report.times("a query, idle", took, bar=10)
    for part, times in parts.items():
        report.add(f"   of it {part}, p50", at(times, 0.5), "ms")
    report.held("queries, idle: the event loop was held for at most", ticker, bar=5)


async def beside_writes(
    parts: Parts, search: Search, asked: Sequence[str], texts: Sequence[str], seconds: float, report: Report
) -> None:
    writer = Writer(parts, texts)
    for _ in range(ROLLING):
        await writer.put()
    report.times("a put until words find it, idle", writer.words, bar=50)
    report.times("a put with its vector until both find it, idle", writer.both, bar=100)
    writer.words.clear()
    writer.both.clear()
    ticker = Ticker()
    until = time.perf_counter() + seconds
    took: list[float] = []

    async def read(first: int) -> None:
        for question in itertools.islice(itertools.cycle(asked), first, None):
            began = time.perf_counter()
            if began >= until:
                return
            writer.look(await search.find(SPACE, Query(text=question, limit=LIMIT)), began)
            took.append(time.perf_counter() - began)

    await asyncio.gather(writer.work(until), *(read(n * 7) for n in range(READERS)))
    report.times(f"a query beside {PER_SECOND} writes a second, {READERS} readers", took, bar=50)
    report.add("   writes a second that were done", (len(writer.words)) / seconds / 0.9, "")
    report.add("   queries a second that were done", len(took) / seconds, "")
    report.times("a put until words find it, beside readers", writer.words, bar=50)
    report.times("a put with its vector until both find it, beside readers", writer.both, bar=100)
    report.add("passages served of documents that had been deleted", writer.served_gone, "", bar=0)
    report.held("writes and readers: the event loop was held for at most", ticker, bar=5)


async def expiring(parts: Parts, search: Search, report: Report) -> None:
    """Documents that expire one after the other, asked for without a pause until all of them are over."""
    began, served_over = time.time(), 0
    documents = []
    for n in range(50):
        text = f"perishable goods number{n}"
        documents.append(
            Document(
                f"p{n}", "", text, f"p{n}", str(began), began, expires=began + 1 + n / 25, chunks=tuple(chunks(text))
            )
        )
    *_, last = await parts.store.put(SPACE, documents)
    await parts.index.visible(last.seq)
    seen = 0
    while (now := time.time()) < began + 3.2:
        found = (await search.find(SPACE, Query(text="perishable goods", limit=50, per_document=50))).found
        seen += len(found)
        served_over += sum(one.row.expires is not None and one.row.expires <= now for one in found)
    report.add("passages served of documents that had expired", served_over, "", bar=0)
    report.add("   of passages looked at", seen, "")


async def in_process(work: Path, most: int, queries: int, seconds: float, report: Report) -> list[str]:
    """Returns questions that were not asked."""
    async with opened(work, vectors=False) as parts:
        if not (await parts.store.count(SPACE))[0]:
            print("reading and cutting files of this machine; once", flush=True)
            await corpus.fill(parts.store, parts.encoder.name, parts.encoder.dimensions, most, time.time())
    runtime.settle()
    await nothing(seconds, report)
    async with opened(work, vectors=False) as parts:
        count, cut, _ = await parts.store.count(SPACE)
        report.add("documents", count, "")
        report.add("chunks", cut, "")
        ticker, began = Ticker(), time.perf_counter()
        while parts.index.ready == "empty":
            await asyncio.sleep(0.01)
        report.add("index from the store until words are found", time.perf_counter() - began, "s")
        while parts.index.ready != "full":
            await asyncio.sleep(0.01)
        report.add("index from the store until all is found", time.perf_counter() - began, "s", bar=8)
        report.held("filling: the event loop was held for at most", ticker, bar=5)
        rows = [row async for batch in parts.store.rows(SPACE) for _, row in batch[::40]]
        texts = [row.text for row in rows]
        asked = corpus.questions(texts, 2 * queries)
        await parts.encoder.encode(["The model is loaded."])
        search = Search(parts.store, parts.index, encoder=parts.encoder)
        await alone(search, asked[:queries], report)
        await beside_writes(parts, search, asked[:queries], texts, seconds, report)
        await expiring(parts, search, report)
        return asked[queries:]


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--chunks", type=int, default=100_000)
    parser.add_argument("--queries", type=int, default=300)
    parser.add_argument("--seconds", type=float, default=20.0)
    parser.add_argument("--work", type=Path)
    parser.add_argument("--no-gate", action="store_true")
    parser.add_argument("--write", action="store_true", help="record it in benchmarks/")
    given = parser.parse_args()
    report = Report()
    with tempfile.TemporaryDirectory() as made:
        work = given.work or Path(made)
        asked = uvloop.run(in_process(work, given.chunks, given.queries, given.seconds, report))
        asyncio.run(served(work, asked, report))
    if given.write:
        context = facts(Cores.find(realtime=False))
        page.save(page.RESULTS / "retrieval_speed.json", {"context": context, "text": report.text})
        page.write()
    return 0 if given.no_gate or not report.missed else 1


if __name__ == "__main__":
    sys.exit(main())
