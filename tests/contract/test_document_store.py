"""What every store of documents promises, told with a plain dictionary beside it."""

from __future__ import annotations

import asyncio
import contextlib
import random
import signal
import sqlite3
import subprocess
import sys
from pathlib import Path

import pytest

from databases import new_database, postgres  # noqa: F401 - a fixture
from tidewire.core.errors import InternalError, SettingsError
from tidewire.retrieval.ports import Chunk, Document, Vector
from tidewire.retrieval.stores.sqlite import SqliteStore

NOW = 1_800_000_000.0
ENCODER = "tiny@1"


def chunk(text: str, start: int = 0) -> Chunk:
    return Chunk(start, text, "Heading", text.encode().ljust(16, b".")[:16], hash(text) & 0xFFFF_FFFF_FFFF_FFFF)


def doc(location: str, *texts: str, **more) -> Document:
    texts = texts or (f"about {location}",)
    whole = "\n\n".join(texts)
    cut = tuple(chunk(text, whole.index(text)) for text in texts)
    return Document(
        **{
            "location": location,
            "title": f"The {location}",
            "text": whole,
            "uri": location,
            "digest": whole + str(more),
            "published": NOW,
            "chunks": cut,
        }
        | more
    )


@pytest.fixture(params=["sqlite", "postgres"])
async def place(request, tmp_path):
    """Where the truth is: a path, or a URL."""
    if request.param == "sqlite":
        return str(tmp_path / "documents.db")
    return await new_database(request.getfixturevalue("postgres"))


def made_at(place: str, **more):
    if "://" not in place:
        return SqliteStore(Path(place), **more)
    from tidewire.retrieval.stores.postgres import PostgresStore

    return PostgresStore(place, **more)


@pytest.fixture
async def store(place):
    made = made_at(place, clock=lambda: NOW)
    await made.start()
    yield made
    await made.close()


async def texts(store, namespace: str = "a") -> list[str]:
    return [row.text async for batch in store.rows(namespace) for _, row in batch]


async def test_a_document_is_there_once_its_put_returns(store):
    (receipt,) = await store.put(
        "a", [doc("one.md", "first", "second", expires=NOW + 5, readers=("staff",), source="docs")]
    )
    assert (receipt.status, receipt.version, receipt.chunks, receipt.kept) == ("added", 1, 2, 0)
    assert receipt.seq == await store.seq() == 1
    known = (await store.known("a", ["one.md", "two.md"]))["one.md"]
    assert (known.title, known.chunks, known.readers, known.expires) == ("The one.md", 2, ("staff",), NOW + 5)
    found, text = await store.document("a", known.id)
    assert (found, text) == (known, "first\n\nsecond")
    rows = await store.fetch("a", [1, 2, 99])
    assert [text[row.start :][: len(row.text)] for row in rows.values()] == ["first", "second"]
    assert {row.document for row in rows.values()} == {known.id}
    assert await store.count("a") == (1, 2, 0)


async def test_a_document_that_is_only_indexed_again_is_none_that_changed(store):
    (first,) = await store.put("acme", [doc("a", "said", digest="1")])
    (known,) = await store.documents("acme")
    again = doc("a", "said", digest="2", published=NOW + 60, expires=NOW + 3600)
    await store.put("acme", [again])
    await store.put("acme", [again], take="all")
    for more in ({"readers": ("staff",)}, {"title": "Another"}, {}):
        await store.put("acme", [doc("a", "said", digest=str(more), **more)])
    await store.remove("acme", ["a"])
    changes = await store.changes(first.seq)
    assert [one.documents for one in changes] == [(), ()] + [(known.id,)] * 4
    assert [len(one.added) for one in changes] == [1, 1, 1, 1, 1, 0]


async def test_what_is_asked_for_one_source_leaves_the_documents_of_others_as_they_are(store):
    await store.put("acme", [doc("a", source="crm"), doc("b", source="handbook")])
    seq, before = await store.seq(), await store.known("acme", ["b"])
    offered = [doc(at, "new", source="crm") for at in ("a", "b", "c")]
    assert [r.status for r in await store.put("acme", offered, take="own")] == ["replaced", "foreign", "added"]
    assert [r.status for r in await store.put("acme", offered, take="own")] == ["unchanged", "foreign", "unchanged"]
    removed = await store.remove("acme", ["a", "b", "none"], source="crm")
    assert [r.status for r in removed] == ["removed", "foreign", "unknown"]
    assert (await store.known("acme", ["a", "b"]), await store.seq()) == (before, seq + 2)
    assert [r.status for r in await store.remove("acme", ["b"])] == ["removed"]


async def test_what_is_unchanged_is_left_alone(store):
    await store.put("a", [doc("one.md")])
    (again,) = await store.put("a", [doc("one.md")])
    assert (again.status, again.version, await store.seq(), await store.epoch("a")) == ("unchanged", 1, 1, 1)


async def test_a_replacement_is_whole_and_numbers_are_never_given_twice(store):
    await store.put("a", [doc("one.md", "old", "both")])
    (receipt,) = await store.put("a", [doc("one.md", "both", "new")])
    assert (receipt.status, receipt.version) == ("replaced", 2)
    assert sorted(await texts(store)) == ["both", "new"]
    assert await store.fetch("a", [1, 2]) == {}
    (_, change) = await store.changes(0)
    assert (change.added, change.removed) == ((3, 4), (1, 2))
    assert len(change.documents) == 1
    await store.remove("a", ["one.md"])
    (back,) = await store.put("a", [doc("one.md")])
    assert back.version == 3, "what was cited before the deletion is another version"


async def test_nothing_of_one_namespace_is_seen_from_another(store):
    await store.put("a", [doc("one.md", "secret")])
    known = (await store.known("a", ["one.md"]))["one.md"]
    assert await store.document("b", known.id) is None
    assert await store.fetch("b", [1]) == {}
    assert await store.documents("b") == []
    assert await texts(store, "b") == []
    assert (await store.remove("b", ["one.md"]))[0].status == "unknown"
    assert (await store.epoch("a"), await store.epoch("b")) == (1, 0)
    assert await store.namespaces() == ["a"]


async def test_a_batch_is_stored_as_a_whole_or_not_at_all(store):
    good, bad = doc("one.md"), doc("two.md", title=None)
    with pytest.raises(Exception, match="nothing of this was stored"):
        await store.put("a", [good, bad])
    assert await texts(store) == []
    assert await store.seq() == 0


async def test_one_write_that_fails_takes_no_other_with_it(store):
    bad = doc("two.md", title=None)
    done = await asyncio.gather(
        *(store.put("a", [doc(f"{n}.md")]) for n in range(20)), store.put("a", [bad]), return_exceptions=True
    )
    assert sum(isinstance(one, Exception) for one in done) == 1
    assert (await store.count("a"))[0] == 20


async def test_documents_that_cannot_be_read_are_said_to_be_so(tmp_path):
    store = made_at(str(tmp_path / "documents.db"))
    await store.start()
    try:
        await store.put("a", [doc("one.md")])
        with contextlib.closing(sqlite3.connect(tmp_path / "documents.db")) as other:
            other.execute("DROP TABLE chunks")
        with pytest.raises(InternalError, match="cannot be read now"):
            await store.fetch("a", [1])
    finally:
        await store.close()


async def test_what_was_deleted_is_gone_and_its_vectors_with_it(store):
    await store.put("a", [doc("one.md", "mine", "shared"), doc("two.md", "shared")])
    await store.pending(ENCODER, 10)
    await store.add_vectors(ENCODER, [(1, Vector(b"\1\2", 0.5)), (2, Vector(b"\3\4", 0.5))])
    assert (await store.remove("a", ["one.md", "none.md"]))[0].status == "removed"
    assert await texts(store) == ["shared"]
    assert await store.vectors_of(ENCODER, [1, 2, 3]) == {3: Vector(b"\3\4", 0.5)}
    assert await store.drop("a") == 1
    assert await store.count("a") == (0, 0, 0)
    assert await store.namespaces() == []


async def test_a_text_keeps_its_vector_wherever_it_stands_next(store):
    await store.put("a", [doc("one.md", "first", "second")])
    assert await store.pending(ENCODER, 10) == [
        (2, "The one.md\nHeading\nsecond"),
        (1, "The one.md\nHeading\nfirst"),
    ]
    assert (await store.count("a"))[2] == 2
    await store.add_vectors(ENCODER, [(1, Vector(b"\1", 0.1)), (2, Vector(b"\2", 0.2)), (77, Vector(b"\3", 0.3))])
    assert await store.pending(ENCODER, 10) == []
    (receipt,) = await store.put("a", [doc("one.md", "first", "third")])
    assert (receipt.kept, [text for _, text in await store.pending(ENCODER, 10)]) == (1, ["The one.md\nHeading\nthird"])
    assert [v async for v in store.vectors(ENCODER)] == [[(3, Vector(b"\1", 0.1))]]
    assert (await store.known("a", ["one.md"]))["one.md"].pending == 1
    last = (await store.changes(0))[1]
    assert (last.vectors, last.encoder, last.epoch) == ((1, 2), ENCODER, 1)
    assert await store.forget_encoder(ENCODER) == 1
    assert [v async for v in store.vectors(ENCODER)] == []


@pytest.mark.parametrize("batch", [1, 2, 3, 100])
async def test_vectors_come_once_for_each_chunk_however_many_say_the_same(store, batch):
    await store.put("a", [doc(f"{n}.md", "the same", f"its own {n}") for n in range(5)])
    await store.add_vectors(ENCODER, [(one, Vector(b"\1", 0.1)) for one, _ in await store.pending(ENCODER, 100)])
    pages = [page async for page in store.vectors(ENCODER, batch)]
    assert sorted(chunk for page in pages for chunk, _ in page) == list(range(1, 11))
    assert max(len(page) for page in pages) <= batch


async def test_what_is_over_its_time_is_deleted_a_few_at_a_time(store):
    await store.put("a", [doc(f"{n}.md", expires=NOW + n) for n in range(1, 8)])
    await store.put("b", [doc("b.md", expires=NOW + 1), doc("stays.md")])
    assert await store.expire(NOW, 3) == 0
    assert [await store.expire(NOW + 5, 4) for _ in range(3)] == [4, 2, 0]
    assert [known.location for known in await store.documents("a")] == ["6.md", "7.md"]
    assert [known.location for known in await store.documents("b")] == ["stays.md"]


async def test_documents_are_listed_by_location_and_found_by_words(store):
    await store.put("a", [doc(f"{n}.md", source="x" if n % 2 else "y", title=f"Part 100%_{n}") for n in range(9)])
    first = await store.documents("a", limit=4)
    rest = await store.documents("a", after=first[-1].location, limit=100)
    assert [known.location for known in [*first, *rest]] == [f"{n}.md" for n in range(9)]
    assert [known.location for known in await store.documents("a", source="x")] == ["1.md", "3.md", "5.md", "7.md"]
    assert [known.location for known in await store.documents("a", like="100%_3 part")] == ["3.md"]


async def test_a_document_that_is_put_again_waits_for_vectors_anew_and_keeps_its_own_until_then(store):
    vectors = [(1, Vector(b"\x01" * 4, 0.5)), (2, Vector(b"\x02" * 4, 0.5))]
    await store.pending(ENCODER, 10)
    await store.put("a", [doc("one.md", "first", "second")])
    await store.add_vectors(ENCODER, vectors)
    (same,) = await store.put("a", [doc("one.md", "first", "second")])
    (again,) = await store.put("a", [doc("one.md", "first", "second")], take="all")
    assert (same.status, again.status, again.version, again.kept) == ("unchanged", "replaced", 2, 2)
    assert sorted(await store.vectors_of(ENCODER, [3, 4])) == [3, 4]
    assert sorted(chunk for chunk, _ in await store.pending(ENCODER, 10)) == [3, 4]
    await store.add_vectors(ENCODER, [(3, Vector(b"\x07" * 4, 0.5))])
    assert (await store.vectors_of(ENCODER, [3]))[3].data == b"\x07" * 4
    known = (await store.known("a", ["one.md"]))["one.md"]
    assert known.pending == 1


async def test_of_a_document_that_was_replaced_or_deleted_meanwhile_nothing_comes_back(store):
    old = [doc("one.md", "first"), doc("two.md", "second"), doc("three.md", "third")]
    await store.put("a", old)
    await store.put("a", [doc("two.md", "new")])
    await store.remove("a", ["three.md"])
    receipts = await store.put("a", old, take="same")
    assert [(one.status, one.version) for one in receipts] == [("replaced", 2), ("unchanged", 2), ("unknown", 0)]
    assert sorted(await texts(store)) == ["first", "new"]


async def test_what_there_is_is_counted_by_source_and_age(store):
    day = 86400.0
    await store.pending(ENCODER, 1)
    await store.put("a", [doc("1", "x", "y", published=NOW - 40 * day, expires=NOW + 60), doc("2", "z")])
    await store.put("a", [doc("3", "w", source="news", published=NOW - 3 * day, expires=NOW + 9 * day)])
    await store.put("b", [doc("4", source="other")])
    put, news = await store.shelves("a", NOW)
    assert (put.source, put.documents, put.chunks, put.pending, put.expiring) == ("", 2, 3, 3, 1)
    assert (put.oldest, put.newest, put.indexed) == (NOW - 40 * day, NOW, NOW)
    assert (put.ages, news.ages) == ((1, 1, 1, 2, 2), (0, 1, 1, 1, 1))
    assert (news.source, news.documents, news.expiring, news.size) == ("news", 1, 0, 1)
    assert await store.shelves("nobody", NOW) == []


async def test_those_that_wait_or_expire_are_listed_by_themselves(store):
    await store.pending(ENCODER, 1)
    await store.put("a", [doc("1", "x", "y"), doc("2", "z", expires=NOW + 60), doc("3", "w", expires=NOW + 9e6)])
    await store.add_vectors(ENCODER, [(n, Vector(b"\x01" * 4, 0.5)) for n in (2, 3, 4)])
    assert [one.location for one in await store.documents("a", only="pending")] == ["1"]
    assert [one.location for one in await store.documents("a", only="expiring", like="2")] == ["2"]
    assert [one.location for one in await store.documents("a", only="expiring", after="2")] == []


async def test_the_chunks_of_a_document_are_listed_a_page_at_a_time(store):
    await store.pending(ENCODER, 1)
    await store.put("a", [doc("1", "x", "y", "z"), doc("2", "w")])
    await store.add_vectors(ENCODER, [(2, Vector(b"\x01" * 4, 0.5))])
    one = (await store.known("a", ["1"]))["1"].id
    assert await store.chunks("a", one) == [(1, True), (2, False), (3, True)]
    assert await store.chunks("a", one, after=1, limit=1) == [(2, False)]
    assert await store.chunks("b", one) == []


async def test_notes_last_until_their_time(store):
    await store.set_note("cursor", "abc")
    await store.set_note("key", "1", expires=NOW - 1)
    await store.set_note("gone", "x")
    await store.set_note("gone", None)
    assert [await store.note(name) for name in ("cursor", "key", "gone", "never")] == ["abc", None, None, None]


async def test_who_listens_is_woken_by_each_change_and_by_other_processes(store, place):
    woken = asyncio.Event()
    stop = store.listen(woken.set)
    await store.put("a", [doc("one.md")])
    assert woken.is_set()
    await asyncio.sleep(0.5)  # what it tells about its own is over
    woken.clear()
    other = made_at(place)
    await other.start()
    await other.put("a", [doc("two.md")])
    await other.close()
    async with asyncio.timeout(30):
        await woken.wait()
    assert [change.seq for change in await store.changes(1)] == [2]
    stop()
    woken.clear()
    await store.put("a", [doc("three.md")])
    assert not woken.is_set()


@pytest.mark.parametrize("seed", range(12))
async def test_any_order_of_calls_leaves_what_a_dictionary_would_hold(store, seed):
    rng = random.Random(seed)
    held: dict[str, dict[str, Document]] = {"a": {}, "b": {}, "c": {}}
    for _ in range(60):
        space = rng.choice(list(held))
        match rng.randrange(5):
            case 0 | 1:
                some = [
                    doc(
                        f"{rng.randrange(6)}.md",
                        *(f"{rng.randrange(30)}!" for _ in range(rng.randrange(1, 4))),
                        expires=rng.choice([None, NOW + rng.randrange(10)]),
                    )
                    for _ in range(rng.randrange(1, 4))
                ]
                await store.put(space, some)
                held[space] |= {d.location: d for d in some}
            case 2:
                gone = [f"{rng.randrange(6)}.md"]
                await store.remove(space, gone)
                held[space].pop(gone[0], None)
            case 3:
                now = NOW + rng.randrange(10)
                while await store.expire(now, 2):
                    pass
                for documents in held.values():
                    for location in [at for at, d in documents.items() if d.expires is not None and d.expires <= now]:
                        del documents[location]
            case 4:
                waiting = await store.pending(ENCODER, rng.randrange(1, 9))
                await store.add_vectors(ENCODER, [(number, Vector(b"\1", 1.0)) for number, _ in waiting])
        for name, documents in held.items():
            assert [d.location for d in await store.documents(name)] == sorted(documents)
            assert sorted(await texts(store, name)) == sorted(c.text for d in documents.values() for c in d.chunks)
    changes = await store.changes(0)
    assert [change.seq for change in changes] == list(range(1, len(changes) + 1))
    alive = {number for change in changes for number in change.added} - {n for c in changes for n in c.removed}
    assert alive == {row.chunk async for batch in store.rows() for _, row in batch}
    with_vector = {number async for batch in store.vectors(ENCODER) for number, _ in batch}
    waiting = {number for number, _ in await store.pending(ENCODER, 1000)}
    assert with_vector | waiting == alive
    assert not with_vector & waiting


WRITER = """
import asyncio, sys
sys.path[:0] = [sys.argv[2], sys.argv[2] + "/.."]
from test_document_store import *
async def main():
    store = made_at(sys.argv[1])
    await store.start()
    n = 0
    while True:
        some = [doc(f"{n + k}.md", *(f"{n + k}-{c}" for c in range(3))) for k in range(4)]
        await asyncio.gather(*(store.put("a", [d]) for d in some))
        n += 4
        print(n, flush=True)
asyncio.run(main())
"""


@pytest.mark.parametrize("lines", [1, 7, 23])
async def test_nothing_acknowledged_is_lost_when_the_process_is_killed(place, lines):
    command = [sys.executable, "-c", WRITER, place, str(Path(__file__).parent)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        try:
            acknowledged = [int(process.stdout.readline()) for _ in range(lines)][-1]
        finally:
            process.send_signal(signal.SIGKILL)
        acknowledged = max([acknowledged, *map(int, process.stdout.read().split())])
    store = made_at(place)
    await store.start()
    try:
        known = {d.location: d for d in await store.documents("a", limit=100_000)}
        assert set(known) >= {f"{n}.md" for n in range(acknowledged)}
        assert sorted(await texts(store)) == sorted(f"{at[:-3]}-{c}" for at in known for c in range(3)), (
            "no half document"
        )
    finally:
        await store.close()


async def test_a_file_that_is_no_store_is_said_so(tmp_path):
    (tmp_path / "documents.db").write_bytes(b"hello" * 1000)
    store = SqliteStore(tmp_path / "documents.db")
    with pytest.raises(SettingsError, match="move it away"):
        await store.start()
    await store.close()
