"""A namespace that has grown large is searched by pgvector, with what was promised of the matrix: filters, deletes, k of k."""

from __future__ import annotations

import asyncio
import inspect
import logging
import textwrap
from contextlib import AsyncExitStack

import pytest

from contract.test_document_store import NOW, chunk, doc
from databases import eventually, new_database, postgres  # noqa: F401 - a fixture
from tidewire.core.errors import InternalError
from tidewire.retrieval.engines.fts5_words import Fts5Words
from tidewire.retrieval.engines.memory import MemoryIndex
from tidewire.retrieval.ports import Document, Filter
from tidewire.retrieval.stores import postgres_near
from tidewire.retrieval.vectors import quantised
from tidewire.server.encoders import Encoders
from tidewire.server.library import library_of
from tidewire.server.settings import Retrieval, Settings
from tidewire.telemetry.encoders import EncoderMetrics

pytest.importorskip("numpy")
pytest.importorskip("asyncpg")
import numpy as np

from tidewire.retrieval.engines.matrix import Matrix
from tidewire.retrieval.stores.pgvector import Pgvector
from tidewire.retrieval.stores.postgres import PostgresStore

DIMENSIONS = 64
NAME = "projected"
ALIKE = 0.6  # four words of seven: title and heading are embedded, too
ALL = Filter(NOW)
_drawn = np.random.default_rng(5)
_axes: dict[str, object] = {}


def vector(text: str) -> bytes:
    """Its words, projected at random: texts that share words lie close together."""
    axes = [_axes.setdefault(word, _drawn.standard_normal(DIMENSIONS)) for word in text.lower().split()] or [
        np.ones(64)
    ]
    summed = np.sum(axes, axis=0)
    return (summed / np.linalg.norm(summed)).astype("<f4").tobytes()


def passages(count: int) -> list[str]:
    """Of real text: the docstrings and sources of what is installed with Python."""
    source = "\n".join(inspect.getsource(module) for module in (asyncio.base_events, textwrap, inspect))
    words = source.split()
    return [" ".join(words[at : at + 24]) for at in range(0, 12 * count, 12)][:count]


def documents(texts: list[str]) -> list[Document]:
    """Every seventh for staff alone, every fifth over soon, every eleventh of the source "few"."""
    return [
        doc(
            f"{n}.md",
            text,
            readers=("staff",) if n % 7 == 0 else (),
            expires=NOW + 5 if n % 5 == 0 else None,
            source="few" if n % 11 == 0 else "many",
        )
        for n, text in enumerate(texts)
    ]


async def embed(store):
    while rows := await store.pending(NAME, 500):
        await store.add_vectors(NAME, [(number, quantised(vector(text))) for number, text in rows])


@pytest.fixture
async def large(postgres):  # noqa: F811
    """A store, an index whose vectors are in pgvector, one with a matrix beside it, and what was asked of pgvector."""
    url = await new_database(postgres)
    store = PostgresStore(url, clock=lambda: NOW)
    await store.start()
    texts = passages(900)
    await store.put("a", documents(texts))
    await store.put("b", documents(texts[:20]))
    await store.add_vectors(NAME, [])
    await embed(store)
    pgvector = Pgvector(store, [NAME], above=100)
    near = MemoryIndex(store, Fts5Words(), Matrix, [NAME], elsewhere=pgvector)
    exact = MemoryIndex(store, Fts5Words(), Matrix, [NAME])
    await pgvector.start(near)
    await near.start()
    await exact.start()
    await full(near)
    await full(exact)

    async def moved():
        return pgvector.holds("a", NAME) and near.state()[2] == Matrix(DIMENSIONS).size

    await eventually(moved)
    yield store, near, exact, pgvector, texts
    await near.close()
    await exact.close()
    await pgvector.close()
    await store.close()


async def full(index):
    async def there():
        return index.ready == "full" and not any(index.lag())

    await eventually(there)


async def ask(index, text, limit=10, which=ALL, namespace="a"):
    return await index.dense(namespace, NAME, vector(text), limit, which)


async def test_a_large_namespace_in_pgvector(large):
    """One database for all of it: it takes a second to fill."""
    store, near, exact, pgvector, texts = large
    assert pgvector.holds("a", NAME)
    assert not pgvector.holds("b", NAME)
    assert near.state()[2] == Matrix(DIMENSIONS).size < exact.state()[2], "its matrix was let go"

    for which in (
        ALL,
        Filter(NOW + 10),
        Filter(NOW, groups=frozenset({"staff"})),
        Filter(NOW, sources=frozenset({"few"})),
        Filter(NOW, since=NOW - 1, until=NOW),
    ):
        shared = 0
        for text in texts[3:900:45]:
            want = {number for number, _ in await ask(exact, text, which=which)}
            got = await ask(near, text, which=which)
            assert len(got) == 10, "as many as there are to find"
            assert [score for _, score in got] == sorted((score for _, score in got), reverse=True)
            shared += len(want & {number for number, _ in got})
        assert shared >= 0.9 * 10 * len(texts[3:900:45])

    rare = Filter(NOW + 10, sources=frozenset({"few"}))
    both = [dict(await ask(index, texts[1], 500, rare)) for index in (near, exact)]
    assert both[0].keys() == both[1].keys(), "all that a filter leaves, and no more"
    assert 40 < len(both[0]) < 82
    assert all(abs(both[0][number] - both[1][number]) < 0.01 for number in both[0])
    assert await ask(near, texts[1], which=Filter(NOW, since=NOW + 1)) == []
    assert len(await ask(near, texts[1], namespace="b")) == 10

    await store.put("a", [doc("new.md", "wholly unheard of zebras"), doc("1.md", "quagga of the plains")])
    await embed(store)
    assert await near.visible(await store.seq(), full=True)
    new = (await ask(near, "wholly unheard of zebras"))[0][0]
    assert (await store.fetch("a", [new]))[new].text == "wholly unheard of zebras"
    assert near.state()[2] == Matrix(DIMENSIONS).size
    await store.put("a", [doc("again.md", "wholly unheard of zebras")])  # its vector is there already
    assert await near.visible(await store.seq(), full=True)
    assert len([score for _, score in await ask(near, "wholly unheard of zebras") if score > ALIKE]) == 2
    await store.remove("a", ["new.md", "again.md"])
    left = await pgvector.search("a", NAME, vector("wholly unheard of zebras"), 10, ALL)
    assert len(left) == 10
    assert left[0][1] < ALIKE, "gone with the commit, in the table too"


async def test_another_server_finds_what_one_has_made_and_an_encoder_goes_with_its_tables(large):
    store, _, _, pgvector, texts = large
    other = Pgvector(store, [NAME], above=100)
    again = MemoryIndex(store, Fts5Words(), Matrix, [NAME], elsewhere=other)
    await other.start(again)
    await again.start()
    try:
        await full(again)
        assert again.state()[2] == Matrix(DIMENSIONS).size, "b's alone: nothing of a was put into a matrix"
        assert len(await ask(again, texts[4])) == 10
    finally:
        await again.close()
        await other.close()
    assert await store.forget_encoder(NAME) > 0
    with pytest.raises(InternalError):  # a search does without meaning then, and says so
        await pgvector.search("a", NAME, vector(texts[0]), 10, ALL)
    await pgvector.refresh()
    assert not pgvector.holds("a", NAME)


async def test_tables_of_the_version_before_are_brought_up_to_date(postgres):  # noqa: F811
    store = PostgresStore(await new_database(postgres))
    await store.start()
    await store.look(lambda db: db.execute("DROP TABLE large; UPDATE counter SET version = 1"))
    await store.close()
    await store.start()
    await store.put("a", [Document("one", "One", "text", "one", "d", NOW, chunks=(chunk("text"),))])
    assert (await store.count("a"))[0] == 1
    await store.close()


class Projected:
    name = NAME
    dimensions = DIMENSIONS

    async def encode(self, texts, *, query=False, deadline=None):
        return [vector(text) for text in texts]

    async def close(self):
        pass


def settings(url: str, tmp_path, above: int) -> Settings:
    return Settings(data=str(tmp_path), retrieval=Retrieval(store=url, pgvector_above=above))


async def test_a_server_moves_what_has_grown_by_itself(postgres, tmp_path):  # noqa: F811
    url = await new_database(postgres)
    store = PostgresStore(url)
    await store.start()
    await store.put("a", [doc(f"{n}.md", text) for n, text in enumerate(passages(30))])
    await store.put("b", [doc("1.md", "alone")])
    await store.add_vectors(NAME, [])
    await embed(store)
    await store.close()
    encoders = Encoders(Projected())
    library = library_of(settings(url, tmp_path, 20), encoders)
    async with AsyncExitStack() as stack:
        await library.run(stack, encoders, EncoderMetrics())

        async def moved():
            return library.pgvector.holds("a", NAME) and library.index.state()[2] == Matrix(DIMENSIONS).size

        await eventually(moved)
        assert len(await ask(library.index, "async def", 12)) == 12
    assert library_of(settings(url, tmp_path, 0), encoders).pgvector is None
    assert library_of(settings("sqlite", tmp_path, 20), encoders).pgvector is None


async def test_without_the_extension_all_stays_in_memory_and_that_is_said(postgres, tmp_path, monkeypatch, caplog):  # noqa: F811
    monkeypatch.setattr(postgres_near, "OFFERED", "SELECT NULL")
    url = await new_database(postgres)
    encoders = Encoders(Projected())
    library = library_of(settings(url, tmp_path, 1), encoders)
    with caplog.at_level(logging.WARNING, logger="tidewire.retrieval"):
        async with AsyncExitStack() as stack:
            await library.run(stack, encoders, EncoderMetrics())
            receipts = await library.store.put("a", [doc(f"{n}.md", text) for n, text in enumerate(passages(5))])
            assert await library.index.visible(receipts[-1].seq, full=True)
            assert len(await ask(library.index, "async def", 9)) == 5
            assert not library.pgvector.holds("a", NAME)
    assert "vectors of all namespaces are held in memory" in caplog.text
