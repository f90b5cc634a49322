"""The tables of the documents' file, and what is true of them.

Numbers of chunks are never given twice: an index that has not yet heard of a deletion cannot take a new chunk for an old one.
Vectors belong to texts, not to chunks: they are found by the digest of the text, so that a document that comes again with one
paragraph changed has one vector to wait for. `waiting` holds what has none, so that nobody has to look through all chunks.
"""

from __future__ import annotations

import sqlite3
from pathlib import Path
from typing import Final

VERSION: Final = 3  # 1 was a file of words and passages (index.db) without versions, expiry or vectors
KNOWN: Final = (2, VERSION)  # that are opened; the former are changed then
NAME: Final = "documents.db"

SCHEMA: Final = """
CREATE TABLE IF NOT EXISTS namespaces (id INTEGER PRIMARY KEY, name TEXT NOT NULL UNIQUE, epoch INTEGER NOT NULL DEFAULT 0);
CREATE TABLE IF NOT EXISTS documents (
    id INTEGER PRIMARY KEY, public TEXT NOT NULL, namespace INTEGER NOT NULL REFERENCES namespaces, location TEXT NOT NULL,
    title TEXT NOT NULL, uri TEXT NOT NULL, source TEXT NOT NULL, kind TEXT NOT NULL, version INTEGER NOT NULL,
    published REAL NOT NULL, indexed REAL NOT NULL, digest TEXT NOT NULL, size INTEGER NOT NULL,
    chunks INTEGER NOT NULL, expires REAL, readers TEXT NOT NULL, text TEXT NOT NULL,
    UNIQUE (namespace, location));
CREATE INDEX IF NOT EXISTS documents_public ON documents (namespace, public);
CREATE INDEX IF NOT EXISTS documents_expires ON documents (expires) WHERE expires IS NOT NULL;
CREATE INDEX IF NOT EXISTS documents_shelves ON documents (namespace, source, published, indexed, expires, chunks, size);
CREATE TABLE IF NOT EXISTS versions (namespace INTEGER NOT NULL, location TEXT NOT NULL, version INTEGER NOT NULL,
    PRIMARY KEY (namespace, location)) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS chunks (
    id INTEGER PRIMARY KEY AUTOINCREMENT, document INTEGER NOT NULL REFERENCES documents, start INTEGER NOT NULL,
    heading TEXT NOT NULL, text TEXT NOT NULL, digest BLOB NOT NULL, simhash INTEGER NOT NULL);
CREATE INDEX IF NOT EXISTS chunks_document ON chunks (document);
CREATE INDEX IF NOT EXISTS chunks_digest ON chunks (digest);
CREATE TABLE IF NOT EXISTS encoders (id INTEGER PRIMARY KEY, name TEXT NOT NULL UNIQUE);
CREATE TABLE IF NOT EXISTS vectors (encoder INTEGER NOT NULL, digest BLOB NOT NULL, data BLOB NOT NULL, scale REAL NOT NULL,
    PRIMARY KEY (encoder, digest)) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS waiting (encoder INTEGER NOT NULL, chunk INTEGER NOT NULL, PRIMARY KEY (encoder, chunk)) WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS waiting_chunk ON waiting (chunk);
CREATE TABLE IF NOT EXISTS changes (seq INTEGER PRIMARY KEY AUTOINCREMENT, change BLOB NOT NULL);
CREATE TABLE IF NOT EXISTS notes (name TEXT PRIMARY KEY, value TEXT NOT NULL, expires REAL) WITHOUT ROWID;
"""

# The text is the last column: what stands behind a long one is found by reading all of it, page by page. In version 2 it was not.
LAST: Final = """
ALTER TABLE documents ADD COLUMN last TEXT NOT NULL DEFAULT '';
UPDATE documents SET last = text;
ALTER TABLE documents DROP COLUMN text;
ALTER TABLE documents RENAME COLUMN last TO text;
PRAGMA user_version = 3;
"""


def opened(path: Path | str) -> sqlite3.Connection:
    """A connection, for one thread. FULL: what was acknowledged survives a power cut. secure_delete: what is deleted is overwritten."""
    db = sqlite3.connect(path, isolation_level=None, check_same_thread=False, timeout=10.0)
    for pragma in (
        "journal_mode=WAL",
        "synchronous=FULL",
        "secure_delete=ON",
        "foreign_keys=ON",
        "temp_store=MEMORY",
        "cache_size=-16000",
    ):
        db.execute(f"PRAGMA {pragma}")
    return db


def prepare(db: sqlite3.Connection) -> None:
    """Make the tables. Raises sqlite3.Error for a file that is none of ours, or of a later version."""
    found = db.execute("PRAGMA user_version").fetchone()[0]
    if found and found not in KNOWN:
        raise sqlite3.DatabaseError(f"it is of version {found}, and this Tidewire knows version {VERSION}")
    if found == 2:
        db.executescript(f"BEGIN IMMEDIATE;{LAST}COMMIT;")
    db.executescript(SCHEMA)
    db.execute(f"PRAGMA user_version = {VERSION}")
