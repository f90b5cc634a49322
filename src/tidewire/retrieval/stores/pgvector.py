"""Search by meaning in Postgres, for namespaces whose vectors would fill a server's memory.

A namespace that has grown past a number of chunks gets a table with a graph over it (see `postgres_near`), made in the background
by one of the servers; each then lets its own matrix go. It stays there when it shrinks again.
"""

from __future__ import annotations

import asyncio
import functools
import json
import logging
import struct
from collections.abc import Sequence
from typing import Any, Final, Protocol

from tidewire.core.errors import TidewireError
from tidewire.retrieval.ports import Filter, Scored
from tidewire.retrieval.stores import postgres_near as near
from tidewire.retrieval.stores.postgres import PostgresStore

log = logging.getLogger("tidewire.retrieval")

LOOK: Final = 30.0  # seconds between two looks at what has grown, and at what other servers have made
BATCH: Final = 500  # chunks carried over in one commit: other writes wait for no more
LOCK: Final = 0x7469_6466  # of the advisory lock under which one server makes a graph
BREADTH: Final = (
    400,
    1000,
)  # hnsw.ef_search: the least (with 100, `benchmarks/retrieval/pgvector.py` found 0.85 of ten), and the most it takes

_WHICH: Final = (
    "(d.expires IS NULL OR d.expires > $2) AND (d.readers = '[]' OR EXISTS (SELECT 1 FROM json_array_elements(d.readers::json) r"
    " WHERE r::text = ANY($3::text[]))) AND (cardinality($4::text[]) = 0 OR d.source = ANY($4::text[]))"
    " AND ($5::float8 IS NULL OR d.published >= $5) AND ($6::float8 IS NULL OR d.published <= $6)"
)


class Matrices(Protocol):
    """What holds vectors in memory until they are held here."""

    def count(self, namespace: str) -> int: ...

    def release(self, namespace: str, encoder: str) -> None: ...

    async def filled(self, within: float) -> bool: ...


class Pgvector:
    """An `engines.memory.Elsewhere`. above: chunks of a namespace from which on it is searched here."""

    def __init__(self, store: PostgresStore, encoders: Sequence[str], above: int) -> None:
        self._store = store
        self._encoders = tuple(encoders)
        self._above = above
        self._held: dict[tuple[str, str], str] = {}  # tables by namespace and encoder
        self._schema: str | None = None
        self._task: asyncio.Task[None] | None = None

    async def start(self, index: Matrices) -> None:
        """Call it before the index is filled."""
        try:
            self._schema = await self._store.look(near.extension)
        except TidewireError:
            self._schema = None
        if self._schema is None:
            log.warning("pgvector 0.8 is not in the database: vectors of all namespaces are held in memory")
            return
        await self.refresh()
        self._task = asyncio.create_task(self._work(index))

    async def close(self) -> None:
        if self._task is not None:
            self._task.cancel()
            await asyncio.wait((self._task,))

    def holds(self, namespace: str, encoder: str) -> bool:
        return (namespace, encoder) in self._held

    async def search(self, namespace: str, encoder: str, vector: bytes, limit: int, which: Filter) -> list[Scored]:
        """By cosine, best first. As many as `limit` wherever so many may be found: where the graph ends before that, all are read."""
        name = self._held[namespace, encoder]
        given = (
            str(list(struct.unpack(f"<{len(vector) // 4}f", vector))),
            which.now,
            [
                json.dumps(group) for group in which.groups
            ],  # as they are stored: a name may hold what is no text of Postgres
            [source.replace("\0", "\ufffd") for source in which.sources],
            which.since,
            which.until,
            limit,
        )
        far = f"n.embedding OPERATOR({self._schema}.<=>) $1::text::{self._schema}.halfvec"
        rows_of = (
            f"SELECT n.chunk, {far} AS far FROM {name} n JOIN chunks c ON c.id = n.chunk JOIN documents d ON d.id = c.document"  # noqa: S608
            f" WHERE {_WHICH}"
        )

        async def look(db: Any) -> list[Any]:
            async with db.transaction():
                breadth = min(BREADTH[1], max(BREADTH[0], limit))
                # Their order comes from the graph, whatever the planner thinks of it; it goes on until filters leave enough.
                await db.execute(
                    f"SET LOCAL hnsw.iterative_scan = relaxed_order; SET LOCAL hnsw.ef_search = {breadth};"
                    " SET LOCAL enable_sort = off; SET LOCAL enable_seqscan = off; SET LOCAL jit = off;"
                    " SET LOCAL plan_cache_mode = force_custom_plan"
                )
                rows = await db.fetch(f"{rows_of} ORDER BY {far} LIMIT $7", *given)
                if len(rows) < limit:
                    await db.execute("SET LOCAL enable_sort = on; SET LOCAL enable_seqscan = on")
                    rows = await db.fetch(
                        f"WITH seen AS MATERIALIZED ({rows_of}) SELECT chunk, far FROM seen ORDER BY far LIMIT $7",  # noqa: S608
                        *given,
                    )
                return list(rows)

        rows = await self._store.look(look)
        return sorted(((row[0], 1.0 - row[1]) for row in rows), key=lambda pair: -pair[1])

    async def refresh(self) -> None:
        """What servers have made ready."""
        rows = await self._store.look(
            lambda db: db.fetch(
                "SELECT n.name, e.name, n.id, e.id FROM large l JOIN namespaces n ON n.id = l.namespace"
                " JOIN encoders e ON e.id = l.encoder WHERE l.ready"
            )
        )
        self._held = {(row[0], row[1]): near.table(row[2], row[3]) for row in rows}

    async def _work(self, index: Matrices) -> None:
        """Never returns."""
        while True:
            await index.filled(LOOK)
            try:
                await self.refresh()
                for namespace in await self._store.namespaces():
                    for encoder in self._encoders[:1] if index.count(namespace) > self._above else ():
                        if not self.holds(namespace, encoder):
                            await self.take(namespace, encoder)
                for key in self._held:
                    index.release(*key)
            except Exception:  # supervisor boundary: the matrices go on being searched
                log.exception("a large namespace cannot be given to pgvector; trying again")
            await asyncio.sleep(LOOK)

    async def take(self, namespace: str, encoder: str) -> None:
        """Make its table and graph, or leave it where another server does so, or no chunk has a vector yet."""
        async with self._store.alone() as db:
            if not await db.fetchval("SELECT pg_try_advisory_lock($1)", LOCK):
                return
            numbers = await db.fetchrow(
                "SELECT n.id, e.id, (SELECT length(v.data) FROM vectors v WHERE v.encoder = e.id LIMIT 1)"
                " FROM namespaces n, encoders e WHERE n.name = $1 AND e.name = $2",
                namespace,
                encoder,
            )
            if numbers is None or numbers[2] is None or self._schema is None:
                return
            if numbers[2] > near.MOST:
                log.warning("pgvector makes no graph of so many dimensions", extra={"dimensions": numbers[2]})
                return
            namespace_id, encoder_id, dimensions = numbers
            await self._store.write(
                functools.partial(
                    near.make, namespace=namespace_id, encoder=encoder_id, dimensions=dimensions, schema=self._schema
                )
            )
            chunks = [
                row[0]
                for row in await db.fetch(
                    "SELECT c.id FROM chunks c JOIN documents d ON d.id = c.document WHERE d.namespace = $1 ORDER BY c.id",
                    namespace_id,
                )
            ]
            for begin in range(0, len(chunks), BATCH):
                part = chunks[begin : begin + BATCH]
                await self._store.write(functools.partial(near.carry, chunks=part))
            name = near.table(namespace_id, encoder_id)
            await db.execute(f"DROP INDEX IF EXISTS {name}_graph")  # one that a server could not end
            await db.execute(
                f"CREATE INDEX CONCURRENTLY {name}_graph ON {name} USING hnsw (embedding {self._schema}.halfvec_cosine_ops)"
            )
            await db.execute(
                "UPDATE large SET ready = TRUE WHERE namespace = $1 AND encoder = $2", namespace_id, encoder_id
            )
        log.info("a large namespace is searched by pgvector from now on", extra={"chunks": len(chunks)})
        await self.refresh()
