"""The tables of the documents in Postgres: those of the file (see `sqlite_tables`), in a schema of their own.

`counter` is one row that every write locks first: writes of all servers follow one another, so that no reader sees change n + 1
before change n, and numbers of chunks are given once. Names are ordered by their bytes, whatever the database's language is.
"""

from __future__ import annotations

from typing import Any, Final

from tidewire.core.errors import SettingsError
from tidewire.retrieval.stores.postgres_near import LARGE

VERSION: Final = 2
SCHEMA_NAME: Final = "tidewire"
LOCK: Final = 0x7469_6465  # of the advisory lock under which one server makes the tables

SCHEMA: Final = """
CREATE TABLE IF NOT EXISTS counter (one BOOLEAN PRIMARY KEY DEFAULT TRUE CHECK (one), version INTEGER NOT NULL,
    seq BIGINT NOT NULL DEFAULT 0, chunk BIGINT NOT NULL DEFAULT 0);
CREATE TABLE IF NOT EXISTS namespaces (id BIGINT GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    name TEXT COLLATE "C" NOT NULL UNIQUE, epoch BIGINT NOT NULL DEFAULT 0);
CREATE TABLE IF NOT EXISTS documents (
    id BIGINT GENERATED ALWAYS AS IDENTITY PRIMARY KEY, public TEXT NOT NULL, namespace BIGINT NOT NULL REFERENCES namespaces,
    location TEXT COLLATE "C" NOT NULL, title TEXT NOT NULL, uri TEXT NOT NULL, source TEXT NOT NULL, kind TEXT NOT NULL,
    version INTEGER NOT NULL, published DOUBLE PRECISION NOT NULL, indexed DOUBLE PRECISION NOT NULL, digest TEXT NOT NULL,
    text TEXT NOT NULL, size INTEGER NOT NULL, chunks INTEGER NOT NULL, expires DOUBLE PRECISION, readers TEXT NOT NULL,
    UNIQUE (namespace, location));
CREATE INDEX IF NOT EXISTS documents_public ON documents (namespace, public);
CREATE INDEX IF NOT EXISTS documents_expires ON documents (expires) WHERE expires IS NOT NULL;
CREATE TABLE IF NOT EXISTS versions (namespace BIGINT NOT NULL, location TEXT COLLATE "C" NOT NULL, version INTEGER NOT NULL,
    PRIMARY KEY (namespace, location));
CREATE TABLE IF NOT EXISTS chunks (
    id BIGINT PRIMARY KEY, document BIGINT NOT NULL REFERENCES documents, start INTEGER NOT NULL,
    heading TEXT NOT NULL, text TEXT NOT NULL, digest BYTEA NOT NULL, simhash BIGINT NOT NULL);
CREATE INDEX IF NOT EXISTS chunks_document ON chunks (document);
CREATE INDEX IF NOT EXISTS chunks_digest ON chunks (digest);
CREATE TABLE IF NOT EXISTS encoders (id BIGINT GENERATED ALWAYS AS IDENTITY PRIMARY KEY, name TEXT NOT NULL UNIQUE);
CREATE TABLE IF NOT EXISTS vectors (encoder BIGINT NOT NULL, digest BYTEA NOT NULL, data BYTEA NOT NULL,
    scale DOUBLE PRECISION NOT NULL, PRIMARY KEY (encoder, digest));
CREATE TABLE IF NOT EXISTS waiting (encoder BIGINT NOT NULL, chunk BIGINT NOT NULL, PRIMARY KEY (encoder, chunk));
CREATE INDEX IF NOT EXISTS waiting_chunk ON waiting (chunk);
CREATE TABLE IF NOT EXISTS changes (seq BIGINT PRIMARY KEY, change BYTEA NOT NULL);
CREATE TABLE IF NOT EXISTS notes (name TEXT PRIMARY KEY, value TEXT NOT NULL, expires DOUBLE PRECISION);
"""


async def prepare(db: Any) -> None:
    """Make the tables; servers that start at once wait for each other. Raises SettingsError for tables of a later version."""
    async with db.transaction():
        await db.execute("SELECT pg_advisory_xact_lock($1)", LOCK)
        if await db.fetchval("SELECT to_regnamespace($1)", SCHEMA_NAME) is None:
            await db.execute(f"CREATE SCHEMA {SCHEMA_NAME}")
        if await db.fetchval("SELECT to_regclass($1)", f"{SCHEMA_NAME}.counter") is None:
            await db.execute(SCHEMA + LARGE)
            await db.execute("INSERT INTO counter (version) VALUES ($1)", VERSION)
        found = await db.fetchval("SELECT version FROM counter")
        if found == 1:
            await db.execute(LARGE)
            found = await db.fetchval("UPDATE counter SET version = $1 RETURNING version", VERSION)
        if found != VERSION:
            raise SettingsError(
                f"the documents in Postgres are of version {found}, and this Tidewire knows version {VERSION};"
                " use the Tidewire that wrote them, or another database",
                param="retrieval.store",
            )
