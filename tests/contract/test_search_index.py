"""What every index in memory promises, told with a plain list beside it: who may find what, and from when to when."""

from __future__ import annotations

import asyncio
import math
import os
import random
import struct

import pytest

from contract.test_document_store import doc
from tidewire.core.errors import InternalError
from tidewire.retrieval.engines.fts5_words import Fts5Words
from tidewire.retrieval.engines.memory import MemoryIndex
from tidewire.retrieval.ports import Change, Filter, Vector
from tidewire.retrieval.stores.sqlite import SqliteStore
from tidewire.telemetry.searches import SearchMetrics

NOW = 1_800_000_000.0
ENCODER = "tiny@1"
SEQUENCES = int(os.environ.get("TIDEWIRE_SEQUENCES", "30"))


def tantivy():
    pytest.importorskip("tantivy")
    from tidewire.retrieval.engines.tantivy_words import TantivyWords

    return TantivyWords()


def matrix(dimensions):
    from tidewire.retrieval.engines.matrix import Matrix

    return Matrix(dimensions)


def unit(*numbers: float) -> bytes:
    length = math.sqrt(sum(n * n for n in numbers))
    return struct.pack(f"<{len(numbers)}f", *(n / length for n in numbers))


def small(*numbers: float) -> Vector:
    floats = struct.unpack(f"<{len(numbers)}f", unit(*numbers))
    scale = max(map(abs, floats)) / 127
    return Vector(bytes(round(f / scale) & 255 for f in floats), scale)


@pytest.fixture(params=["tantivy", "fts5"])
def words(request):
    return tantivy if request.param == "tantivy" else Fts5Words


@pytest.fixture
async def store(tmp_path):
    made = SqliteStore(tmp_path / "documents.db", clock=lambda: NOW)
    await made.start()
    yield made
    await made.close()


@pytest.fixture
async def index(store, words):
    pytest.importorskip("numpy")
    made = MemoryIndex(store, words(), matrix, [ENCODER])
    await made.start()
    yield made
    await made.close()


async def texts(index, store, query, namespace="a", **which) -> list[str]:
    found = await index.lexical(namespace, query, 50, Filter(**({"now": NOW} | which)))
    rows = await store.fetch(namespace, [chunk for chunk, _ in found])
    assert [score for _, score in found] == sorted((score for _, score in found), reverse=True)
    return [rows[chunk].text for chunk, _ in found]


async def put(index, store, *documents, namespace="a"):
    receipts = await store.put(namespace, documents)
    assert await index.visible(receipts[-1].seq, within=30)
    return receipts


async def full(index):
    """Returns once the vectors are read as well; words can be found before."""
    async with asyncio.timeout(30):
        while index.ready != "full":
            await asyncio.sleep(0.001)


async def test_a_document_is_found_once_its_change_is_visible(index, store):
    await put(index, store, doc("one.md", "the heron waits", "a boat leaves"), doc("two.md", "no bird here"))
    assert await texts(index, store, "Where is the heron?") == ["the heron waits"]
    assert await texts(index, store, "boats") == ["a boat leaves"], "words are stemmed"
    assert await texts(index, store, "zebra") == []
    await full(index)
    assert (index.epoch("a"), index.ready, index.lag()) == (1, "full", (0, 0.0))


async def test_what_a_change_brought_is_timed_until_it_is_found_by_words_and_by_meaning(store, words):
    pytest.importorskip("numpy")
    delays, now = SearchMetrics(), [NOW]
    await store.put("a", [doc("before.md", "stored before the index was made")])
    index = MemoryIndex(store, words(), matrix, [ENCODER], meter=delays, wall=lambda: now[0])
    await index.start()
    await full(index)
    now[0] = NOW + 0.03
    (receipt,) = await put(index, store, doc("one.md", "the heron waits", "a boat leaves"))
    assert (delays.delays["lexical"].count, delays.delays["lexical"].sum) == (1, pytest.approx(0.03))
    now[0] = NOW + 2.0
    for n, (chunk, _) in enumerate(await store.pending(ENCODER, 2), 1):
        assert delays.delays["dense"].count == 0, "a change is found by meaning when all of it is"
        await store.add_vectors(ENCODER, [(chunk, small(1.0, n))])
        assert await index.visible(receipt.seq + n)
    assert (delays.delays["dense"].count, delays.delays["dense"].sum) == (1, pytest.approx(2.0))
    ready, chunks, size, *behind = index.state()
    assert (ready, chunks, behind) == ("full", 3, [0, 0.0])
    assert size > 0
    await index.close()


async def test_names_are_found_by_their_parts_and_text_without_spaces_by_its_characters(index, store):
    await put(index, store, doc("one.md", "call load_balancer now", "日本語の文書です", "Straßencafé am Fluß"))
    assert await texts(index, store, "balancer") == ["call load_balancer now"]
    assert await texts(index, store, "文書") == ["日本語の文書です"]
    assert await texts(index, store, "cafe strassencafe") in (["Straßencafé am Fluß"], [])


@pytest.mark.parametrize(
    "query",
    [
        "",
        " ",
        '"',
        "a:b AND (",
        "NOT",
        "*",
        "heron^9 OR -x",
        "\0",
        "😀",
        "the of and",
        "'; DROP TABLE rows; --",
        "(" * 500,
    ],
)
async def test_any_text_is_a_question_and_none_is_syntax(index, store, query):
    await put(index, store, doc("one.md", "the heron waits"))
    assert isinstance(await texts(index, store, query), list)


async def test_what_is_replaced_or_removed_is_not_found_from_then_on(index, store):
    await put(index, store, doc("one.md", "old heron", "same owl"), doc("two.md", "other heron"))
    await put(index, store, doc("one.md", "new heron", "same owl"))
    assert sorted(await texts(index, store, "heron")) == ["new heron", "other heron"]
    (receipt, _) = await store.remove("a", ["one.md", "two.md"])
    assert await index.visible(receipt.seq)
    assert await texts(index, store, "heron owl") == []
    assert index.count("a") == 0


async def test_time_rights_source_and_dates_are_the_engines_to_look_at(index, store):
    await put(
        index,
        store,
        doc("gone.md", "heron gone", expires=NOW),
        doc("soon.md", "heron soon", expires=NOW + 1),
        doc("staff.md", "heron staff", readers=("staff", "board")),
        doc("old.md", "heron old", published=NOW - 1000, source="feed"),
    )
    assert sorted(await texts(index, store, "heron")) == ["heron old", "heron soon"]
    assert await texts(index, store, "heron", now=NOW + 1) == ["heron old"]
    assert "heron staff" in await texts(index, store, "heron", groups=frozenset(["board"]))
    assert "heron staff" not in await texts(index, store, "heron", groups=frozenset(["*", "", "boar"]))
    assert await texts(index, store, "heron", sources=frozenset(["feed"])) == ["heron old"]
    assert await texts(index, store, "heron", until=NOW - 1) == ["heron old"]
    assert await texts(index, store, "heron", since=NOW - 1) == ["heron soon"]


async def test_a_filter_that_leaves_few_still_finds_them_all(index, store):
    many = [doc(f"{n}.md", f"heron {n}", expires=NOW - 1) for n in range(300)]
    await put(index, store, *many, doc("last.md", "a heron among many others that nobody sees any more"))
    assert len(await texts(index, store, "heron")) == 1


async def test_vectors_are_found_by_nearness_with_the_same_filters(index, store):
    await put(
        index,
        store,
        doc("one.md", "east"),
        doc("two.md", "north", readers=("staff",)),
        doc("three.md", "late", expires=NOW),
    )
    waiting = dict((text.rpartition("\n")[2], chunk) for chunk, text in await store.pending(ENCODER, 10))
    assert not await index.visible(1, full=True, within=0.05)
    await store.add_vectors(
        ENCODER,
        [(waiting["east"], small(1, 0, 0)), (waiting["north"], small(0.1, 1, 0)), (waiting["late"], small(1, 1, 0))],
    )
    assert await index.visible(await store.seq(), full=True)

    async def near(namespace="a", **which):
        return [
            c for c, _ in await index.dense(namespace, ENCODER, unit(1, 0.9, 0), 5, Filter(**({"now": NOW} | which)))
        ]

    assert await near() == [waiting["east"]]
    assert await near(groups=frozenset(["staff"])) == [waiting["east"], waiting["north"]]
    assert set(await near(now=NOW - 1)) == {waiting["east"], waiting["late"]}
    assert await near("b") == []
    assert await index.dense("a", "other@1", unit(1, 0, 0), 5, Filter(NOW)) == []
    assert await index.dense("a", ENCODER, unit(1, 0), 5, Filter(NOW)) == [], "of another length"
    ((_, cosine),) = await index.dense("a", ENCODER, unit(1, 0, 0), 1, Filter(NOW))
    assert cosine == pytest.approx(1.0, abs=0.02)


async def test_an_index_made_anew_finds_what_the_old_one_found(index, store, words):
    await put(index, store, *(doc(f"{n}.md", f"heron number {n}", f"owl {n}") for n in range(40)))
    await store.remove("a", ["3.md"])
    await store.pending(ENCODER, 1)
    await store.add_vectors(ENCODER, [(1, small(1, 0, 0)), (2, small(0, 1, 0))])
    assert await index.visible(await store.seq())
    again = MemoryIndex(store, words(), matrix, [ENCODER])
    await again.start()
    try:
        assert await again.visible(await store.seq())
        await full(again)
        for query in ("heron", "owl", "number 7"):
            assert sorted(await texts(again, store, query)) == sorted(await texts(index, store, query))
        vector = unit(1, 0.2, 0)
        assert await again.dense("a", ENCODER, vector, 5, Filter(NOW)) == await index.dense(
            "a", ENCODER, vector, 5, Filter(NOW)
        )
        assert again.epoch("a") == index.epoch("a") == 2
    finally:
        await again.close()


async def test_an_index_that_was_away_for_too_long_begins_anew(store, words, monkeypatch):
    monkeypatch.setattr("tidewire.retrieval.stores.sqlite_writing.KEPT", 3)
    index = MemoryIndex(store, words(), None)
    await index.start()
    await put(index, store, doc("0.md", "heron zero"), doc("1.md", "heron one"), doc("2.md", "owl"))
    await put(index, store, doc("0.md", "heron in b"), namespace="b")
    ids = {at: known.id for at, known in (await store.known("a", ["0.md", "1.md"])).items()}
    index._task.cancel()
    for n in range(1, 9):
        if n != 2:
            await store.put("a", [doc(f"{n}.md", f"heron {n}")])
    await store.remove("a", ["0.md"])
    heard: list[Change] = []
    index.listen(heard.append)
    kept = index.seq("a"), index.epoch("a")
    await index.start()
    try:
        assert await index.visible(await store.seq())
        assert (index.seq("a"), index.epoch("a")) > kept  # no ranking that was kept fits any more
        seq, epoch = await store.seq(), await store.epoch("a")
        assert [(one.namespace, one.seq, one.epoch) for one in heard] == [("a", seq, epoch)] * 2
        assert [(len(one.added), len(one.removed), one.documents) for one in heard] == [
            (7, 1, (ids["1.md"],)),
            (0, 1, (ids["0.md"],)),
        ]
        assert sorted(await texts(index, store, "heron")) == [f"heron {n}" for n in range(1, 9) if n != 2]
    finally:
        await index.close()


async def test_what_was_read_before_a_reading_broke_off_is_not_kept_beside_the_next_one(store, words, monkeypatch):
    monkeypatch.setattr("tidewire.retrieval.engines.memory.AGAIN", 0.0)
    await store.put("a", [doc("0.md", "heron zero"), doc("1.md", "heron one")])
    whole = store.rows

    async def broken():
        async for rows in whole():
            yield rows
        monkeypatch.setattr(store, "rows", whole)
        await store.remove("a", ["0.md"])
        raise OSError("the disk is gone for a moment")

    monkeypatch.setattr(store, "rows", broken)
    index = MemoryIndex(store, words(), None)
    await index.start()
    try:
        assert await index.visible(2, within=30)
        assert (index.count("a"), await texts(index, store, "heron")) == (1, ["heron one"])
    finally:
        await index.close()


async def test_a_new_chunk_is_found_by_a_word_that_stood_in_all_that_was_deleted(index, store):
    await put(index, store, *(doc(f"{n}.md", "heron") for n in range(9)))
    await index._change(index._words.fold)
    await store.remove("a", [f"{n}.md" for n in range(9)])
    await put(index, store, doc("new.md", "a heron again"))
    assert await texts(index, store, "heron") == ["a heron again"]


@pytest.mark.parametrize("seed", range(SEQUENCES))
async def test_in_no_sequence_is_anything_found_that_should_not_be(tmp_path, seed, words):
    """Across namespaces, after a deletion, or over its time: nothing; and all that should be is."""
    rng = random.Random(seed)
    store = SqliteStore(tmp_path / "documents.db", clock=lambda: NOW)
    await store.start()
    index = MemoryIndex(store, words(), matrix, [ENCODER])
    await index.start()
    held: dict[str, dict[str, object]] = {"a": {}, "b": {}, "ab": {}}
    try:
        for step in range(12):
            alone = seed % 2 and step < 8  # one namespace that everybody reads is searched in a shorter way
            space = "a" if alone else rng.choice(list(held))
            location = f"{rng.randrange(5)}.md"
            if rng.random() < 0.7:
                made = doc(
                    location,
                    *(f"heron {space} {rng.randrange(99)} {n}" for n in range(rng.randrange(1, 3))),
                    expires=rng.choice([None, NOW - 1, NOW + 5]),
                    readers=() if alone else rng.choice([(), ("x",)]),
                )
                receipts = await store.put(space, [made])
                held[space][location] = made
            else:
                receipts = await store.remove(space, [location])
                held[space].pop(location, None)
            waiting = await store.pending(ENCODER, 100)
            await store.add_vectors(ENCODER, [(chunk, small(1, rng.random(), 0)) for chunk, _ in waiting])
            assert await index.visible(await store.seq(), full=True)
            assert receipts
            if rng.random() < 0.3:
                await index._change(index._words.fold)
            for name, documents in held.items():
                for groups in (frozenset(), frozenset(["x"])):
                    expected = sorted(
                        c.text
                        for d in documents.values()
                        if (d.expires is None or d.expires > NOW) and (not d.readers or groups)
                        for c in d.chunks
                    )
                    assert sorted(await texts(index, store, "heron", name, groups=groups)) == expected
                    few = await index.lexical(name, "heron", 2, Filter(NOW, groups))
                    assert len(few) == min(2, len(expected)), "what is over its time takes no place"
                    near = await index.dense(name, ENCODER, unit(1, 0.5, 0), 50, Filter(NOW, groups))
                    rows = await store.fetch(name, [chunk for chunk, _ in near])
                    assert sorted(row.text for row in rows.values()) == expected
                    assert len(rows) == len(near), "a chunk that the namespace does not hold"
    finally:
        await index.close()
        await store.close()


async def test_a_put_with_its_vectors_is_full_whatever_others_still_wait_for(index, store):
    await put(index, store, *(doc(f"{n}.md", f"backlog {n}") for n in range(20)))
    await store.pending(ENCODER, 1)
    (receipt,) = await put(index, store, doc("mine.md", "a heron"), namespace="b")
    assert not await index.visible(receipt.seq, full=True, within=0.02)
    ((chunk, _),) = await index.lexical("b", "heron", 5, Filter(NOW))
    await store.add_vectors(ENCODER, [(chunk, small(1, 0, 0))])
    assert await index.visible(receipt.seq, full=True, within=30)
    assert not await index.visible(1, full=True, within=0.02)


async def test_the_lag_counts_from_when_it_fell_behind(store, words):
    now = [1000.0]
    index = MemoryIndex(store, words(), None, clock=lambda: now[0])
    assert index.lag() == (0, 0.0)
    await index.start()
    await put(index, store, doc("one.md"))
    now[0] = 5000.0
    taken = asyncio.Event()
    lags = []
    index.listen(lambda change: (lags.append(index.lag()), taken.set()))
    await asyncio.gather(*(store.put("a", [doc(f"{n}.md")]) for n in range(5)))
    await index.visible(await store.seq())
    assert taken.is_set()
    assert all(seconds == 0.0 for _, seconds in lags), "no time has passed on its clock since the burst began"
    assert index.lag() == (0, 0.0)
    await index.close()


async def test_a_change_that_comes_between_two_looks_is_no_negative_lag(store, words, monkeypatch):
    index = MemoryIndex(store, words(), None)
    await index.start()
    await put(index, store, doc("one.md"))
    seq, lags = store.seq, []

    async def looked():
        told = await seq()
        if told == 2:
            await store.put("a", [doc("three.md")])
        return told

    monkeypatch.setattr(store, "seq", looked)
    index.listen(lambda change: lags.append((change.seq, index.lag()[0])))
    await store.put("a", [doc("two.md")])
    assert await index.visible(3, within=30)
    assert lags == [(2, 1), (3, 0)]
    await index.close()


async def test_what_is_stored_is_not_said_to_be_visible_before_it_has_been_read(store, words, monkeypatch):
    (receipt,) = await store.put("a", [doc("one.md", "the heron")])
    read = asyncio.Event()
    rows = store.rows

    async def slowly(*args):
        await read.wait()
        async for batch in rows(*args):
            yield batch

    monkeypatch.setattr(store, "rows", slowly)
    index = MemoryIndex(store, words(), None)
    await index.start()
    try:
        assert not await index.visible(receipt.seq, within=0.05)
        read.set()
        assert await index.visible(receipt.seq, within=30)
        assert await texts(index, store, "heron") == ["the heron"]
    finally:
        await index.close()


async def test_a_store_that_could_not_be_read_for_a_while_is_followed_again(tmp_path, words, monkeypatch):
    monkeypatch.setattr("tidewire.retrieval.stores.sqlite.LOOK", 0.01)
    mine, theirs = (SqliteStore(tmp_path / "documents.db", clock=lambda: NOW) for _ in range(2))
    await mine.start()
    await theirs.start()
    index = MemoryIndex(mine, words(), None)
    await index.start()
    try:
        assert await index.filled(30)
        read, asked = mine._read, asyncio.Event()

        async def broken(look):
            asked.set()
            raise InternalError("the disk is away")

        monkeypatch.setattr(mine, "_read", broken)
        await asyncio.wait_for(asked.wait(), 30)
        monkeypatch.setattr(mine, "_read", read)
        (receipt,) = await theirs.put("a", [doc("new.md", "a heron")])
        assert await index.visible(receipt.seq)
    finally:
        await index.close()
        await mine.close()
        await theirs.close()
