"""Vectors of large namespaces, a table each with pgvector's graph (HNSW) over it: kept with the chunks, in the same transaction.

A table holds one namespace and one encoder. So the graph is of what may be found and nothing else, has the dimensions of its
encoder, and goes whole when the encoder goes. Vectors lie in it as the numbers of their int8: a half keeps these exactly, and
the cosine does not ask for their scale.
"""

from __future__ import annotations

from array import array
from collections.abc import Sequence
from typing import Any, Final

MOST: Final = 4000  # dimensions of a halfvec that pgvector makes a graph of
EXTENSION: Final = (  # its schema, from 0.8 on: before it, filters could leave a walk of the graph with fewer than there are
    "SELECT quote_ident(n.nspname) FROM pg_extension e JOIN pg_namespace n ON n.oid = e.extnamespace"
    " WHERE e.extname = 'vector' AND string_to_array(e.extversion, '.')::int[] >= '{0,8}'"
)
OFFERED: Final = (  # installed, or to be had
    "SELECT 1 FROM pg_available_extensions WHERE name = 'vector'"
    " AND string_to_array(coalesce(installed_version, default_version), '.')::int[] >= '{0,8}'"
)
LARGE: Final = """
CREATE TABLE IF NOT EXISTS large (namespace BIGINT NOT NULL, encoder BIGINT NOT NULL, ready BOOLEAN NOT NULL DEFAULT FALSE,
    PRIMARY KEY (namespace, encoder));
"""


def table(namespace: int, encoder: int) -> str:
    return f"near_{namespace}_{encoder}"


async def extension(db: Any) -> str | None:
    """The schema of pgvector, which is made where the user may; None where it cannot be had."""
    found = await db.fetchval(EXTENSION)
    if found is None and await db.fetchval(OFFERED):
        await db.execute("CREATE EXTENSION IF NOT EXISTS vector WITH SCHEMA public")
        found = await db.fetchval(EXTENSION)
    return found if found is None else str(found)


async def make(db: Any, namespace: int, encoder: int, dimensions: int, schema: str) -> None:
    """The empty table; from this transaction on writers fill it. schema: pgvector's."""
    await db.execute(
        f"CREATE TABLE IF NOT EXISTS {table(namespace, encoder)} (chunk BIGINT PRIMARY KEY REFERENCES chunks ON DELETE CASCADE,"
        f" embedding {schema}.halfvec({dimensions}) NOT NULL)"
    )
    await db.execute(
        "INSERT INTO large (namespace, encoder) VALUES ($1, $2) ON CONFLICT DO NOTHING", namespace, encoder
    )


async def carry(db: Any, chunks: Sequence[int]) -> None:
    """The vectors of these chunks into the tables of their namespaces. A vector of another length is passed over."""
    for namespace, encoder in await db.fetch("SELECT namespace, encoder FROM large"):
        name = table(namespace, encoder)
        rows = await db.fetch(
            "SELECT c.id, v.data FROM chunks c JOIN documents d ON d.id = c.document"
            " JOIN vectors v ON v.digest = c.digest AND v.encoder = $2 WHERE d.namespace = $1 AND c.id = ANY($3::bigint[])",
            namespace,
            encoder,
            chunks,
        )
        column = await db.fetchrow(
            "SELECT format('%I.%I', n.nspname, t.typname), a.atttypmod FROM pg_attribute a JOIN pg_type t ON t.oid = a.atttypid"
            " JOIN pg_namespace n ON n.oid = t.typnamespace WHERE a.attrelid = to_regclass($1) AND a.attname = 'embedding'",
            name,
        )
        if not rows or column is None:  # None: the extension was dropped, and its columns with it
            continue
        kind, length = column
        await db.executemany(
            f"INSERT INTO {name} (chunk, embedding) VALUES ($1, $2::text::{kind})"  # noqa: S608 - numbers and a type
            " ON CONFLICT (chunk) DO UPDATE SET embedding = excluded.embedding",
            [(chunk, str(array("b", data).tolist())) for chunk, data in rows if len(data) == length],
        )


async def drop(db: Any, encoder: int) -> None:
    """All tables of an encoder."""
    for (namespace,) in await db.fetch("DELETE FROM large WHERE encoder = $1 RETURNING namespace", encoder):
        await db.execute(f"DROP TABLE IF EXISTS {table(namespace, encoder)}")
