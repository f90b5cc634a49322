"""What changes the documents in Postgres: inside a transaction that somebody else has begun, and that holds the counter."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from typing import Any, Final, Literal

import msgspec

from tidewire.retrieval.ports import Change, Document, Receipt, Take, Vector
from tidewire.retrieval.stores import postgres_near as near
from tidewire.retrieval.stores.sqlite_writing import KEPT, public_id, signed

CHANNEL: Final = "tidewire_documents"


class Writing:
    """db: the connection of the transaction."""

    def __init__(self, db: Any) -> None:
        self.db = db
        self._loose: set[bytes] = set()  # digests that chunks had which are gone

    async def put(
        self, namespace: str, documents: Sequence[Document], now: float, *, take: Take = "changed"
    ) -> list[Receipt]:
        number = await self._number(namespace)
        stored: list[tuple[Document, int, int, int, Literal["added", "replaced"]]] = []
        out: dict[str, Receipt] = {}
        added: list[int] = []
        removed: list[int] = []
        replaced: list[str] = []
        for document in {d.location: d for d in documents}.values():
            before = await self.db.fetchrow(
                "SELECT id, public, version, digest, source, text = $3 AND title = $4 AND uri = $5 AND readers = $6 AS alike"
                " FROM documents WHERE namespace = $1 AND location = $2",
                number,
                document.location,
                _kept(document.text),
                _kept(document.title),
                _kept(document.uri),
                json.dumps(document.readers),
            )
            same = before is not None and before["digest"] == document.digest
            foreign = take == "own" and before is not None and before["source"] != document.source
            if foreign or (take in ("changed", "own") and same) or (take == "same" and not same):
                left: tuple[Literal["unchanged", "unknown", "foreign"], int] = ("unknown", 0)
                if before is not None:
                    left = ("foreign" if foreign else "unchanged", before["version"])
                out[document.location] = Receipt(document.location, left[0], await self.seq(), left[1])
                continue
            kept = await self._vectored(document)
            if before is not None:
                removed += await self._forget(before["id"])
                replaced += [] if before["alike"] else [before["public"]]
            version = await self._version(number, document.location)
            chunks = await self._insert(number, namespace, document, version, now)
            if take in ("all", "same"):
                await self._await_vectors(chunks)
            added += chunks
            stored.append((document, version, len(chunks), kept, "replaced" if before is not None else "added"))
        if stored:
            await self._sweep_vectors()
            await near.carry(self.db, added)
            seq = await self._changed(number, namespace, added=added, removed=removed, documents=replaced)
            for document, version, count, kept, status in stored:
                out[document.location] = Receipt(document.location, status, seq, version, count, kept)
        return [out[d.location] for d in documents]

    async def remove(self, namespace: str, locations: Sequence[str], *, source: str | None = None) -> list[Receipt]:
        number = await self._number(namespace)
        gone: dict[str, tuple[str, int]] = {}
        foreign: set[str] = set()
        chunks: list[int] = []
        for location in locations:
            row = await self.db.fetchrow(
                "SELECT id, public, version, source FROM documents WHERE namespace = $1 AND location = $2",
                number,
                location,
            )
            if row is not None and source not in (None, row["source"]):
                foreign.add(location)
            elif row is not None:
                gone[location] = (row["public"], row["version"])
                chunks += await self._forget(row["id"])
        if gone:
            await self._sweep_vectors()
            publics = [public for public, _ in gone.values()]
            await self._changed(number, namespace, removed=chunks, documents=publics)
        seq = await self.seq()
        return [
            Receipt(at, "removed", seq, gone[at][1])
            if at in gone
            else Receipt(at, "foreign" if at in foreign else "unknown", seq)
            for at in locations
        ]

    async def drop(self, namespace: str) -> int:
        rows = await self.db.fetch(
            "SELECT d.location FROM documents d JOIN namespaces n ON n.id = d.namespace WHERE n.name = $1", namespace
        )
        return len(await self.remove(namespace, [row[0] for row in rows])) if rows else 0

    async def expire(self, now: float, limit: int) -> int:
        rows = await self.db.fetch(
            "SELECT n.name, d.location FROM documents d JOIN namespaces n ON n.id = d.namespace"
            " WHERE d.expires <= $1 ORDER BY d.expires LIMIT $2",
            now,
            limit,
        )
        by_name: dict[str, list[str]] = {}
        for name, location in rows:
            by_name.setdefault(name, []).append(location)
        for name, locations in by_name.items():
            await self.remove(name, locations)
        await self.db.execute("DELETE FROM notes WHERE expires <= $1", now)
        return len(rows)

    async def know(self, encoder: str) -> int:
        """The number of an encoder; all chunks wait for one that is new."""
        number = await self.db.fetchval("SELECT id FROM encoders WHERE name = $1", encoder)
        if number is None:
            number = await self.db.fetchval("INSERT INTO encoders (name) VALUES ($1) RETURNING id", encoder)
            await self.db.execute("INSERT INTO waiting (encoder, chunk) SELECT $1, id FROM chunks", number)
        return int(number)

    async def add_vectors(self, encoder: str, vectors: Sequence[tuple[int, Vector]]) -> None:
        """Chunks of the same text get the same vector, and need not wait for their own."""
        number = await self.know(encoder)
        by_chunk = dict(vectors)
        rows = await self.db.fetch("SELECT id, digest FROM chunks WHERE id = ANY($1::bigint[])", list(by_chunk))
        digests = {row["digest"]: by_chunk[row["id"]] for row in rows}
        await self.db.executemany(
            "INSERT INTO vectors (encoder, digest, data, scale) VALUES ($1, $2, $3, $4)"
            " ON CONFLICT (encoder, digest) DO UPDATE SET data = excluded.data, scale = excluded.scale",
            [(number, digest, vector.data, vector.scale) for digest, vector in digests.items()],
        )
        given: dict[tuple[int, str], list[int]] = {}
        for chunk, space, name in await self.db.fetch(
            "SELECT c.id, n.id, n.name FROM chunks c JOIN documents d ON d.id = c.document"
            " JOIN namespaces n ON n.id = d.namespace WHERE c.digest = ANY($1::bytea[])",
            list(digests),
        ):
            given.setdefault((space, name), []).append(chunk)
        for (space, name), chunks in given.items():
            await self.db.execute(
                "DELETE FROM waiting WHERE encoder = $1 AND chunk = ANY($2::bigint[])", number, chunks
            )
            await near.carry(self.db, chunks)
            await self._changed(space, name, vectors=sorted(chunks), encoder=encoder)

    async def forget_encoder(self, encoder: str) -> int:
        number = await self.db.fetchval("SELECT id FROM encoders WHERE name = $1", encoder)
        if number is None:
            return 0
        await near.drop(self.db, number)
        await self.db.execute("DELETE FROM waiting WHERE encoder = $1", number)
        gone = await self.db.fetchval(
            "WITH gone AS (DELETE FROM vectors WHERE encoder = $1 RETURNING 1) SELECT count(*) FROM gone", number
        )
        await self.db.execute("DELETE FROM encoders WHERE id = $1", number)
        return int(gone)

    async def set_note(self, name: str, value: str | None, expires: float | None) -> None:
        if value is None:
            await self.db.execute("DELETE FROM notes WHERE name = $1", name)
            return
        await self.db.execute(
            "INSERT INTO notes (name, value, expires) VALUES ($1, $2, $3)"
            " ON CONFLICT (name) DO UPDATE SET value = excluded.value, expires = excluded.expires",
            name,
            value,
            expires,
        )

    async def seq(self) -> int:
        return int(await self.db.fetchval("SELECT seq FROM counter"))

    async def _number(self, namespace: str) -> int:
        await self.db.execute("INSERT INTO namespaces (name) VALUES ($1) ON CONFLICT DO NOTHING", namespace)
        return int(await self.db.fetchval("SELECT id FROM namespaces WHERE name = $1", namespace))

    async def _version(self, number: int, location: str) -> int:
        """Counts on where a document comes back after it was deleted: what was cited then is another version."""
        return int(
            await self.db.fetchval(
                "INSERT INTO versions (namespace, location, version) VALUES ($1, $2, 1)"
                " ON CONFLICT (namespace, location) DO UPDATE SET version = versions.version + 1 RETURNING version",
                number,
                location,
            )
        )

    async def _insert(self, number: int, namespace: str, document: Document, version: int, now: float) -> list[int]:
        row = await self.db.fetchval(
            "INSERT INTO documents (public, namespace, location, title, uri, source, kind, version, published, indexed, digest, text,"
            " size, chunks, expires, readers) VALUES ($1,$2,$3,$4,$5,$6,$7,$8,$9,$10,$11,$12,$13,$14,$15,$16) RETURNING id",
            public_id(namespace, document.location),
            number,
            document.location,
            _kept(document.title),
            _kept(document.uri),
            document.source,
            document.kind,
            version,
            document.published,
            now,
            document.digest,
            _kept(document.text),
            len(document.text),
            len(document.chunks),
            document.expires,
            json.dumps(document.readers),
        )
        last = await self.db.fetchval("UPDATE counter SET chunk = chunk + $1 RETURNING chunk", len(document.chunks))
        chunks = list(range(last - len(document.chunks) + 1, last + 1))
        await self.db.executemany(
            "INSERT INTO chunks (id, document, start, heading, text, digest, simhash) VALUES ($1, $2, $3, $4, $5, $6, $7)",
            [
                (n, row, c.start, _kept(c.heading), _kept(c.text), c.digest, signed(c.simhash))
                for n, c in zip(chunks, document.chunks, strict=True)
            ],
        )
        await self._await_vectors(
            chunks, "AND NOT EXISTS (SELECT 1 FROM vectors v WHERE v.encoder = e.id AND v.digest = c.digest)"
        )
        return chunks

    async def _await_vectors(self, chunks: Sequence[int], which: str = "") -> None:
        await self.db.execute(
            "INSERT INTO waiting (encoder, chunk) SELECT e.id, c.id FROM encoders e, chunks c"  # noqa: S608 - ours
            f" WHERE c.id = ANY($1::bigint[]) {which} ON CONFLICT DO NOTHING",
            chunks,
        )

    async def _vectored(self, document: Document) -> int:
        """How many of its chunks have a vector already."""
        digests = [c.digest for c in document.chunks]
        rows = await self.db.fetch(
            "SELECT DISTINCT v.digest FROM encoders e JOIN vectors v ON v.encoder = e.id WHERE v.digest = ANY($1::bytea[])",
            digests,
        )
        found = {row[0] for row in rows}
        return sum(digest in found for digest in digests)

    async def _forget(self, document: int) -> list[int]:
        """Delete a document's rows; the numbers of its chunks. Its vectors stay until `_sweep_vectors`: who replaces it may keep them."""
        rows = await self.db.fetch("SELECT id, digest FROM chunks WHERE document = $1 ORDER BY id", document)
        self._loose.update(row["digest"] for row in rows)
        chunks = [row["id"] for row in rows]
        await self.db.execute("DELETE FROM waiting WHERE chunk = ANY($1::bigint[])", chunks)
        await self.db.execute("DELETE FROM chunks WHERE document = $1", document)
        await self.db.execute("DELETE FROM documents WHERE id = $1", document)
        return chunks

    async def _sweep_vectors(self) -> None:
        """Delete the vectors of texts that no chunk has any more."""
        loose, self._loose = self._loose, set()
        await self.db.execute(
            "DELETE FROM vectors v USING encoders e WHERE v.encoder = e.id AND v.digest = ANY($1::bytea[])"
            " AND NOT EXISTS (SELECT 1 FROM chunks c WHERE c.digest = v.digest)",
            list(loose),
        )

    async def _changed(
        self,
        number: int,
        namespace: str,
        *,
        added: Iterable[int] = (),
        removed: Iterable[int] = (),
        vectors: Iterable[int] = (),
        encoder: str = "",
        documents: Iterable[str] = (),
    ) -> int:
        epoch = await self.db.fetchval(
            "UPDATE namespaces SET epoch = epoch + $2 WHERE id = $1 RETURNING epoch", number, 0 if encoder else 1
        )
        seq = await self.db.fetchval("UPDATE counter SET seq = seq + 1 RETURNING seq")
        change = Change(seq, namespace, epoch, tuple(added), tuple(removed), tuple(vectors), encoder, tuple(documents))
        await self.db.execute("INSERT INTO changes (seq, change) VALUES ($1, $2)", seq, msgspec.msgpack.encode(change))
        await self.db.execute("DELETE FROM changes WHERE seq <= $1", seq - KEPT)
        await self.db.execute(f"NOTIFY {CHANNEL}")  # Postgres sends it when this is committed
        return int(seq)


def _kept(text: str) -> str:
    """Postgres keeps no NUL in a text: the sign for what cannot be shown stands in its place, so that offsets stay right."""
    return text.replace("\0", "\ufffd") if text and "\0" in text else text
