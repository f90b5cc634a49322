"""What is asked of the documents in Postgres: each call one look at what is committed, on a connection of the pool."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

import msgspec

from tidewire.retrieval.ports import AGES, Change, Known, Only, Row, Shelf, Vector
from tidewire.retrieval.stores.sqlite_reading import WAITS, known_of, row_of, shelf_of

_KNOWN: Final = (
    "SELECT d.public, d.location, d.title, d.uri, d.source, d.kind, d.version, d.published, d.indexed, d.digest, d.size, d.chunks,"
    " (SELECT count(DISTINCT w.chunk) FROM waiting w JOIN chunks c ON c.id = w.chunk WHERE c.document = d.id), d.expires, d.readers"
    " FROM documents d JOIN namespaces n ON n.id = d.namespace WHERE n.name = $1"
)
_ROWS: Final = (
    "SELECT n.name, c.id, d.public, d.version, d.title, d.uri, c.heading, c.start, c.text, c.digest, c.simhash, d.published, d.indexed,"
    " d.expires, d.readers, d.source FROM chunks c JOIN documents d ON d.id = c.document JOIN namespaces n ON n.id = d.namespace"
)
_VECTORS: Final = (
    "SELECT c.id, v.data, v.scale FROM encoders e JOIN vectors v ON v.encoder = e.id JOIN chunks c ON c.digest = v.digest"
    " WHERE e.name = $1"
)


class Reading:
    """db: a connection that nobody else uses meanwhile."""

    def __init__(self, db: Any) -> None:
        self._db = db

    async def namespaces(self) -> list[str]:
        """Those with documents in them."""
        rows = await self._db.fetch(
            "SELECT name FROM namespaces n WHERE EXISTS (SELECT 1 FROM documents d WHERE d.namespace = n.id) ORDER BY name"
        )
        return [row[0] for row in rows]

    async def epoch(self, namespace: str) -> int:
        return int(await self._db.fetchval("SELECT epoch FROM namespaces WHERE name = $1", namespace) or 0)

    async def documents(
        self, namespace: str, after: str, limit: int, *, source: str | None, like: str, only: Only, now: float
    ) -> list[Known]:
        where, given = " AND d.location > $2", list[str | float]((namespace, after, limit))
        if only == "expiring":
            given.append(now + AGES[0])
            where += f" AND d.expires <= ${len(given)}"
        elif only == "pending":
            where += f" AND {WAITS}"
        if source is not None:
            given.append(source)
            where += f" AND d.source = ${len(given)}"
        for word in like.split():
            escaped = word.replace("\\", r"\\").replace("%", r"\%").replace("_", r"\_")
            given.append(f"%{escaped}%")
            where += rf" AND (d.title || ' ' || d.uri || ' ' || d.location) ILIKE ${len(given)}"
        return [known_of(row) for row in await self._db.fetch(f"{_KNOWN}{where} ORDER BY d.location LIMIT $3", *given)]

    async def count(self, namespace: str) -> tuple[int, int, int]:
        row = await self._db.fetchrow(
            "SELECT count(*), coalesce(sum(d.chunks), 0) FROM documents d JOIN namespaces n ON n.id = d.namespace WHERE n.name = $1",
            namespace,
        )
        waiting = await self._db.fetchval(
            "SELECT count(DISTINCT w.chunk) FROM waiting w JOIN chunks c ON c.id = w.chunk JOIN documents d ON d.id = c.document"
            " JOIN namespaces n ON n.id = d.namespace WHERE n.name = $1",
            namespace,
        )
        return int(row[0]), int(row[1]), int(waiting)

    async def shelves(self, namespace: str, now: float) -> list[Shelf]:
        ages = "".join(f", count(*) FILTER (WHERE d.published >= $2 - {age})" for age in AGES)
        rows = await self._db.fetch(
            "SELECT d.source, count(*), sum(d.chunks), sum(d.size), min(d.published), max(d.published), max(d.indexed),"  # noqa: S608 - ours
            f" count(*) FILTER (WHERE d.expires <= $2 + {AGES[0]}){ages}"
            " FROM documents d JOIN namespaces n ON n.id = d.namespace WHERE n.name = $1"
            ' GROUP BY d.source ORDER BY d.source COLLATE "C"',
            namespace,
            now,
        )
        pending = await self._db.fetch(
            "SELECT d.source, count(DISTINCT w.chunk) FROM waiting w JOIN chunks c ON c.id = w.chunk JOIN documents d ON d.id = c.document"
            " JOIN namespaces n ON n.id = d.namespace WHERE n.name = $1 GROUP BY d.source",
            namespace,
        )
        waiting = {row[0]: int(row[1]) for row in pending}
        return [shelf_of(tuple(row), waiting) for row in rows]

    async def chunks(self, namespace: str, public: str, after: int, limit: int) -> list[tuple[int, bool]]:
        rows = await self._db.fetch(
            "SELECT c.id, EXISTS (SELECT 1 FROM waiting w WHERE w.chunk = c.id) FROM documents d"
            " JOIN namespaces n ON n.id = d.namespace JOIN chunks c ON c.document = d.id"
            " WHERE n.name = $1 AND d.public = $2 AND c.id > $3 ORDER BY c.id LIMIT $4",
            namespace,
            public,
            after,
            limit,
        )
        return [(row[0], row[1]) for row in rows]

    async def known(self, namespace: str, locations: Sequence[str]) -> dict[str, Known]:
        rows = await self._db.fetch(f"{_KNOWN} AND d.location = ANY($2::text[])", namespace, list(locations))
        return {row[1]: known_of(row) for row in rows}

    async def document(self, namespace: str, public: str) -> tuple[Known, str] | None:
        select = _KNOWN.replace(" FROM documents d JOIN", ", d.text FROM documents d JOIN")
        row = await self._db.fetchrow(f"{select} AND d.public = $2", namespace, public)  # one look: of one version
        return None if row is None else (known_of(row[:-1]), str(row[-1]))

    async def fetch(self, namespace: str, chunks: Sequence[int]) -> dict[int, Row]:
        found = await self._db.fetch(f"{_ROWS} WHERE n.name = $1 AND c.id = ANY($2::bigint[])", namespace, list(chunks))
        return {row[1]: row_of(row[1:]) for row in found}

    async def changes(self, after: int, limit: int) -> list[Change]:
        rows = await self._db.fetch("SELECT change FROM changes WHERE seq > $1 ORDER BY seq LIMIT $2", after, limit)
        return [msgspec.msgpack.decode(row[0], type=Change) for row in rows]

    async def seq(self) -> int:
        return int(await self._db.fetchval("SELECT seq FROM counter"))

    async def rows(self, namespace: str | None, after: int, limit: int) -> list[tuple[str, Row]]:
        found = await self._db.fetch(
            f"{_ROWS} WHERE c.id > $1 AND ($2::text IS NULL OR n.name = $2) ORDER BY c.id LIMIT $3",
            after,
            namespace,
            limit,
        )
        return [(row[0], row_of(row[1:])) for row in found]

    async def vectors(self, encoder: str, after: int | None, limit: int) -> tuple[list[tuple[int, Vector]], int | None]:
        """after: what came with the page before it."""
        found = await self._db.fetch(f"{_VECTORS} AND c.id > $2 ORDER BY c.id LIMIT $3", encoder, after or 0, limit)
        return [(chunk, Vector(data, scale)) for chunk, data, scale in found], found[-1][0] if found else after

    async def vectors_of(self, encoder: str, chunks: Sequence[int]) -> dict[int, Vector]:
        found = await self._db.fetch(f"{_VECTORS} AND c.id = ANY($2::bigint[])", encoder, list(chunks))
        return {chunk: Vector(data, scale) for chunk, data, scale in found}

    async def pending(self, encoder: str, limit: int) -> list[tuple[int, str]]:
        found = await self._db.fetch(
            "SELECT c.id, d.title, c.heading, c.text FROM encoders e JOIN waiting w ON w.encoder = e.id JOIN chunks c ON c.id = w.chunk"
            " JOIN documents d ON d.id = c.document WHERE e.name = $1 ORDER BY w.chunk DESC LIMIT $2",
            encoder,
            limit,
        )
        return [(chunk, "\n".join(filter(None, (title, heading, text)))) for chunk, title, heading, text in found]

    async def knows(self, encoder: str) -> bool:
        return await self._db.fetchval("SELECT 1 FROM encoders WHERE name = $1", encoder) is not None

    async def note(self, name: str, now: float) -> str | None:
        found: str | None = await self._db.fetchval(
            "SELECT value FROM notes WHERE name = $1 AND (expires IS NULL OR expires > $2)", name, now
        )
        return found
