"""Another encoder takes over: while its vectors are made, what has the old ones alone is found by meaning, too; then the old ones go."""

from __future__ import annotations

import asyncio
import struct

import pytest

from contract.test_document_store import doc
from tidewire.core.errors import UpstreamError
from tidewire.retrieval.engines.fts5_words import Fts5Words
from tidewire.retrieval.engines.memory import MemoryIndex
from tidewire.retrieval.search import Query, Search
from tidewire.retrieval.stores.sqlite import SqliteStore
from tidewire.retrieval.vectors import Vectors
from tidewire.telemetry.encoders import EncoderMetrics

pytest.importorskip("numpy")
from tidewire.retrieval.engines.matrix import Matrix

TOPICS = ("bird", "boat", "bread", "stone")
SAID = {"heron": 0, "ferry": 1, "loaf": 2, "granite": 3, "wings": 0, "sails": 1, "flour": 2, "rock": 3}


class Topics:
    """An encoder of four topics, told by words that no two texts share. turn: the axes of each encoder are others."""

    dimensions = len(TOPICS)

    def __init__(self, name, turn, gate=None):
        self.name, self.turn, self.gate = name, turn, gate
        self.questions = 0

    async def encode(self, texts, *, query=False, deadline=None):
        self.questions += query
        if not query and self.gate is not None:
            await self.gate.acquire()
        return [self._one(text) for text in texts]

    def _one(self, text):
        axis = next(at for word, at in SAID.items() if word in text)
        return struct.pack("<4f", *(1.0 if n == (axis + self.turn) % 4 else 0.0 for n in range(4)))


@pytest.fixture
async def store(tmp_path):
    made = SqliteStore(tmp_path / "documents.db")
    await made.start()
    await made.put("a", [doc(f"{word}.md", f"{word} {word}") for word in ("heron", "ferry", "loaf", "granite")])
    yield made
    await made.close()


async def embedded(store, encoder, chunks=4):
    """Until so many chunks have a vector of it."""
    worker = Vectors(store, encoder, EncoderMetrics(), batch=1)
    worker.start()
    try:
        async with asyncio.timeout(30):
            while 4 - len(await store.pending(encoder.name, 10)) < chunks:
                await asyncio.sleep(0.01)
    finally:
        await worker.close()


async def full(index):
    async with asyncio.timeout(30):
        while index.ready != "full" or any(index.lag()):
            await asyncio.sleep(0.01)


async def found(search, question):
    results = await search.find("a", Query(text=question, limit=1))
    return results.found[0].row.uri if results.found and results.found[0].dense else None


async def test_while_half_is_embedded_anew_all_is_found_by_meaning(store):
    before, after = Topics("before", 1), Topics("after", 2, asyncio.Semaphore(2))
    await embedded(store, before)
    index = MemoryIndex(store, Fts5Words(), Matrix, ["after", "before"])
    await index.start()
    worker = Vectors(store, after, EncoderMetrics(), batch=1, through=lambda: index.forget({"after"}))
    worker.start()
    search = Search(store, index, encoder=after, former=before)
    alone = Search(store, index, encoder=after)
    asked = {"wings": "heron.md", "sails": "ferry.md", "flour": "loaf.md", "rock": "granite.md"}
    try:
        async with asyncio.timeout(30):
            while len(await store.pending("after", 10)) > 2:
                await asyncio.sleep(0.01)
        await full(index)
        assert {q: await found(search, q) for q in asked} == asked
        half = [await found(alone, q) == uri for q, uri in asked.items()]
        assert sum(half) == 2, "else nothing is shown"
        for _ in range(2):
            after.gate.release()
        async with asyncio.timeout(30):
            while index.embedded("a", "before"):
                await asyncio.sleep(0.01)
        questions = before.questions
        assert {q: await found(search, q) for q in asked} == asked
        assert before.questions == questions, "the former encoder is asked for nothing"
    finally:
        await worker.close()
        await index.close()


async def test_after_a_restart_in_the_middle_both_are_searched(store):
    before, after = Topics("before", 1), Topics("after", 2, asyncio.Semaphore(2))
    await embedded(store, before)
    await embedded(store, after, chunks=2)
    index = MemoryIndex(store, Fts5Words(), Matrix, ["after", "before"])
    await index.start()
    try:
        await full(index)
        search = Search(store, index, encoder=after, former=before)
        assert [await found(search, q) for q in ("wings", "rock")] == ["heron.md", "granite.md"]
    finally:
        await index.close()


async def test_a_former_encoder_that_fails_leaves_the_other(store):
    class Broken(Topics):
        async def encode(self, texts, *, query=False, deadline=None):
            if query:
                raise UpstreamError("gone", code="upstream_error")
            return await super().encode(texts)

    before, after = Broken("before", 1), Topics("after", 2, asyncio.Semaphore(3))
    await embedded(store, before)
    await embedded(store, after, chunks=3)
    index = MemoryIndex(store, Fts5Words(), Matrix, ["after", "before"])
    await index.start()
    try:
        await full(index)
        search = Search(store, index, encoder=after, former=before)
        results = await search.find("a", Query(text="rock", limit=1))
        assert [one.row.uri for one in results.found] == ["granite.md"]
        assert results.notices == ["dense:upstream_error"]
    finally:
        await index.close()
