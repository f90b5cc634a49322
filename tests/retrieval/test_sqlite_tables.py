"""Files of documents that an earlier version made."""

from __future__ import annotations

import sqlite3

import pytest

from tidewire.retrieval.chunk import chunks
from tidewire.retrieval.ports import Document
from tidewire.retrieval.stores.sqlite import SqliteStore
from tidewire.retrieval.stores.sqlite_tables import NAME, SCHEMA, VERSION, opened
from tidewire.retrieval.stores.sqlite_writing import Writing

# As version 2 made it: the text in the middle.
SECOND = """
CREATE TABLE documents (
    id INTEGER PRIMARY KEY, public TEXT NOT NULL, namespace INTEGER NOT NULL REFERENCES namespaces, location TEXT NOT NULL,
    title TEXT NOT NULL, uri TEXT NOT NULL, source TEXT NOT NULL, kind TEXT NOT NULL, version INTEGER NOT NULL,
    published REAL NOT NULL, indexed REAL NOT NULL, digest TEXT NOT NULL, text TEXT NOT NULL, size INTEGER NOT NULL,
    chunks INTEGER NOT NULL, expires REAL, readers TEXT NOT NULL,
    UNIQUE (namespace, location));
"""


def document(location: str, text: str) -> Document:
    return Document(location, "A title", text, location, text, 5.0, chunks=tuple(chunks(text)), readers=("staff",))


@pytest.fixture
def second(tmp_path):
    """A file of version 2 with two documents."""
    db = opened(tmp_path / NAME)
    db.executescript(SECOND + SCHEMA)
    db.execute("BEGIN")
    Writing(db).put("a", [document("one", "The heron waits."), document("two", "A boat leaves. " * 2000)], 7.0)
    db.execute("COMMIT")
    db.execute("PRAGMA user_version = 2")
    db.close()
    return tmp_path / NAME


async def test_a_file_of_the_version_before_keeps_all_that_is_in_it_and_takes_more(second):
    for _ in range(2):
        store = SqliteStore(second)
        await store.start()
        try:
            known, text = await store.document("a", (await store.known("a", ["two"]))["two"].id)
            assert (text, known.published, known.readers) == ("A boat leaves. " * 2000, 5.0, ("staff",))
            rows = [row async for batch in store.rows("a") for _, row in batch]
            assert rows[0].text == "The heron waits."
            await store.put("a", [document("three", "No bird.")])
            assert await store.count("a") == (3, 42, 0)
        finally:
            await store.close()


async def test_nothing_stands_behind_a_long_text(second):
    store = SqliteStore(second)
    await store.start()
    await store.close()
    db = sqlite3.connect(second)
    columns = [name for _, name, *_ in db.execute("PRAGMA table_info(documents)")]
    (version,) = db.execute("PRAGMA user_version").fetchone()
    indexes = {name for _, name, *_ in db.execute("PRAGMA index_list(documents)")}
    db.close()
    assert (columns[-1], columns.count("text"), version) == ("text", 1, VERSION)
    assert {"documents_public", "documents_expires", "documents_shelves"} < indexes
