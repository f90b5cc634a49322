"""What changes the documents' file: synchronous, inside a transaction that somebody else has begun."""

from __future__ import annotations

import hashlib
import json
import sqlite3
from collections.abc import Iterable, Sequence
from typing import Final, Literal

import msgspec

from tidewire.retrieval.ports import Change, Document, Receipt, Take, Vector
from tidewire.retrieval.stores.sqlite_reading import few, marks

KEPT: Final = 10_000  # changes that an index may be behind before it is made anew


class Writing:
    """db: of the one thread that writes."""

    def __init__(self, db: sqlite3.Connection) -> None:
        self._db = db
        self._loose: set[bytes] = set()  # digests that chunks had which are gone
        self.checkpoint = False  # clear the write-ahead log behind the commit

    def put(
        self, namespace: str, documents: Sequence[Document], now: float, *, take: Take = "changed"
    ) -> list[Receipt]:
        number = self._number(namespace)
        stored: list[tuple[Document, int, int, int, Literal["added", "replaced"]]] = []
        out: dict[str, Receipt] = {}
        added: list[int] = []
        removed: list[int] = []
        replaced: list[str] = []
        for document in {d.location: d for d in documents}.values():
            before = self._db.execute(
                "SELECT id, public, version, digest, source, text = ? AND title = ? AND uri = ? AND readers = ? FROM documents"
                " WHERE namespace = ? AND location = ?",
                (document.text, document.title, document.uri, json.dumps(document.readers), number, document.location),
            ).fetchone()
            same = before is not None and before[3] == document.digest
            foreign = take == "own" and before is not None and before[4] != document.source
            if foreign or (take in ("changed", "own") and same) or (take == "same" and not same):
                left: tuple[Literal["unchanged", "unknown", "foreign"], int] = ("unknown", 0)
                if before is not None:
                    left = ("foreign" if foreign else "unchanged", before[2])
                out[document.location] = Receipt(document.location, left[0], self.seq(), left[1])
                continue
            kept = self._vectored(document)
            if before is not None:
                removed += self._forget(before[0])
                replaced += [] if before[5] else [before[1]]
            version = self._version(number, document.location)
            chunks = self._insert(number, namespace, document, version, now)
            if take in ("all", "same"):
                self._await_vectors(chunks)
            added += chunks
            stored.append((document, version, len(chunks), kept, "replaced" if before is not None else "added"))
        if stored:
            self._sweep_vectors()
            seq = self._changed(number, namespace, added=added, removed=removed, documents=replaced)
            for document, version, count, kept, status in stored:
                out[document.location] = Receipt(document.location, status, seq, version, count, kept)
        return [out[d.location] for d in documents]

    def remove(self, namespace: str, locations: Sequence[str], *, source: str | None = None) -> list[Receipt]:
        number = self._number(namespace)
        gone: dict[str, tuple[str, int]] = {}
        foreign: set[str] = set()
        chunks: list[int] = []
        for location in locations:
            row = self._db.execute(
                "SELECT id, public, version, source FROM documents WHERE namespace = ? AND location = ?",
                (number, location),
            ).fetchone()
            if row is not None and source not in (None, row[3]):
                foreign.add(location)
            elif row is not None:
                gone[location] = (row[1], row[2])
                chunks += self._forget(row[0])
        if gone:
            self._sweep_vectors()
            self._changed(number, namespace, removed=chunks, documents=[public for public, _ in gone.values()])
        seq = self.seq()
        return [
            Receipt(at, "removed", seq, gone[at][1])
            if at in gone
            else Receipt(at, "foreign" if at in foreign else "unknown", seq)
            for at in locations
        ]

    def drop(self, namespace: str) -> int:
        rows = self._db.execute(
            "SELECT d.location FROM documents d JOIN namespaces n ON n.id = d.namespace WHERE n.name = ?", (namespace,)
        ).fetchall()
        return len(self.remove(namespace, [location for (location,) in rows])) if rows else 0

    def expire(self, now: float, limit: int) -> int:
        rows = self._db.execute(
            "SELECT n.name, d.location FROM documents d JOIN namespaces n ON n.id = d.namespace"
            " WHERE d.expires <= ? ORDER BY d.expires LIMIT ?",
            (now, limit),
        ).fetchall()
        by_name: dict[str, list[str]] = {}
        for name, location in rows:
            by_name.setdefault(name, []).append(location)
        for name, locations in by_name.items():
            self.remove(name, locations)
        self._db.execute("DELETE FROM notes WHERE expires <= ?", (now,))
        return len(rows)

    def know(self, encoder: str) -> int:
        """The number of an encoder; all chunks wait for one that is new."""
        row = self._db.execute("SELECT id FROM encoders WHERE name = ?", (encoder,)).fetchone()
        if row is not None:
            return int(row[0])
        number = self._db.execute("INSERT INTO encoders (name) VALUES (?)", (encoder,)).lastrowid
        assert number is not None
        self._db.execute("INSERT INTO waiting (encoder, chunk) SELECT ?, id FROM chunks", (number,))
        return number

    def add_vectors(self, encoder: str, vectors: Sequence[tuple[int, Vector]]) -> None:
        """Chunks of the same text get the same vector, and need not wait for their own."""
        number = self.know(encoder)
        digests: dict[bytes, Vector] = {}
        for chunk, vector in vectors:
            row = self._db.execute("SELECT digest FROM chunks WHERE id = ?", (chunk,)).fetchone()
            if row is not None:
                digests[row[0]] = vector
        self._db.executemany(
            "INSERT OR REPLACE INTO vectors (encoder, digest, data, scale) VALUES (?, ?, ?, ?)",
            [(number, digest, vector.data, vector.scale) for digest, vector in digests.items()],
        )
        given: dict[tuple[int, str], list[int]] = {}
        for digest in digests:
            for chunk, space, name in self._db.execute(
                "SELECT c.id, n.id, n.name FROM chunks c JOIN documents d ON d.id = c.document"
                " JOIN namespaces n ON n.id = d.namespace WHERE c.digest = ?",
                (digest,),
            ).fetchall():
                given.setdefault((space, name), []).append(chunk)
        for (space, name), chunks in given.items():
            self._db.executemany(
                "DELETE FROM waiting WHERE encoder = ? AND chunk = ?", [(number, chunk) for chunk in chunks]
            )
            self._changed(space, name, vectors=sorted(chunks), encoder=encoder)

    def forget_encoder(self, encoder: str) -> int:
        row = self._db.execute("SELECT id FROM encoders WHERE name = ?", (encoder,)).fetchone()
        if row is None:
            return 0
        self._db.execute("DELETE FROM waiting WHERE encoder = ?", row)
        gone = self._db.execute("DELETE FROM vectors WHERE encoder = ?", row).rowcount
        self._db.execute("DELETE FROM encoders WHERE id = ?", row)
        return gone

    def set_note(self, name: str, value: str | None, expires: float | None) -> None:
        if value is None:
            self._db.execute("DELETE FROM notes WHERE name = ?", (name,))
        else:
            self._db.execute(
                "INSERT OR REPLACE INTO notes (name, value, expires) VALUES (?, ?, ?)", (name, value, expires)
            )

    def seq(self) -> int:
        row = self._db.execute("SELECT seq FROM sqlite_sequence WHERE name = 'changes'").fetchone()
        return int(row[0]) if row is not None else 0

    def _number(self, namespace: str) -> int:
        self._db.execute("INSERT OR IGNORE INTO namespaces (name) VALUES (?)", (namespace,))
        return int(self._db.execute("SELECT id FROM namespaces WHERE name = ?", (namespace,)).fetchone()[0])

    def _version(self, number: int, location: str) -> int:
        """Counts on where a document comes back after it was deleted: what was cited then is another version."""
        self._db.execute(
            "INSERT INTO versions (namespace, location, version) VALUES (?, ?, 1)"
            " ON CONFLICT (namespace, location) DO UPDATE SET version = version + 1",
            (number, location),
        )
        row = self._db.execute(
            "SELECT version FROM versions WHERE namespace = ? AND location = ?", (number, location)
        ).fetchone()
        return int(row[0])

    def _insert(self, number: int, namespace: str, document: Document, version: int, now: float) -> list[int]:
        row = self._db.execute(
            "INSERT INTO documents (public, namespace, location, title, uri, source, kind, version, published, indexed, digest, text,"
            " size, chunks, expires, readers) VALUES (?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?)",
            (
                public_id(namespace, document.location),
                number,
                document.location,
                document.title,
                document.uri,
                document.source,
                document.kind,
                version,
                document.published,
                now,
                document.digest,
                document.text,
                len(document.text),
                len(document.chunks),
                document.expires,
                json.dumps(document.readers),
            ),
        ).lastrowid
        chunks: list[int] = []
        for chunk in document.chunks:
            added = self._db.execute(
                "INSERT INTO chunks (document, start, heading, text, digest, simhash) VALUES (?, ?, ?, ?, ?, ?)",
                (row, chunk.start, chunk.heading, chunk.text, chunk.digest, signed(chunk.simhash)),
            ).lastrowid
            assert added is not None
            chunks.append(added)
        self._await_vectors(
            chunks, "AND NOT EXISTS (SELECT 1 FROM vectors v WHERE v.encoder = e.id AND v.digest = c.digest)"
        )
        return chunks

    def _await_vectors(self, chunks: Sequence[int], which: str = "") -> None:
        for some in few(chunks):
            self._db.execute(
                "INSERT OR IGNORE INTO waiting (encoder, chunk) SELECT e.id, c.id FROM encoders e, chunks c"  # noqa: S608 - ours
                f" WHERE c.id IN ({marks(some)}) {which}",
                some,
            )

    def _vectored(self, document: Document) -> int:
        """How many of its chunks have a vector already."""
        rows = 0
        for some in few([c.digest for c in document.chunks]):
            have = self._db.execute(
                "SELECT DISTINCT v.digest FROM encoders e CROSS JOIN vectors v ON v.encoder = e.id"  # noqa: S608 - question marks
                f" WHERE v.digest IN ({marks(some)})",
                some,
            )
            found = {digest for (digest,) in have}
            rows += sum(digest in found for digest in some)
        return rows

    def _forget(self, document: int) -> list[int]:
        """Delete a document's rows; the numbers of its chunks. Its vectors stay until `_sweep_vectors`: who replaces it may keep them."""
        rows = self._db.execute("SELECT id, digest FROM chunks WHERE document = ?", (document,)).fetchall()
        self._loose.update(digest for _, digest in rows)
        chunks = [chunk for chunk, _ in rows]
        for some in few(chunks):
            self._db.execute(f"DELETE FROM waiting WHERE chunk IN ({marks(some)})", some)  # noqa: S608
        self._db.execute("DELETE FROM chunks WHERE document = ?", (document,))
        self._db.execute("DELETE FROM documents WHERE id = ?", (document,))
        return chunks

    def _sweep_vectors(self) -> None:
        """Delete the vectors of texts that no chunk has any more."""
        loose, self._loose = self._loose, set()
        encoders = self._db.execute("SELECT id FROM encoders").fetchall()
        self._db.executemany(
            "DELETE FROM vectors WHERE encoder = ? AND digest = ?"
            " AND NOT EXISTS (SELECT 1 FROM chunks c WHERE c.digest = vectors.digest)",
            [(number, digest) for digest in loose for (number,) in encoders],
        )

    def _changed(
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
        if not encoder:
            self._db.execute("UPDATE namespaces SET epoch = epoch + 1 WHERE id = ?", (number,))
        epoch = self._db.execute("SELECT epoch FROM namespaces WHERE id = ?", (number,)).fetchone()[0]
        seq = self.seq() + 1
        change = Change(seq, namespace, epoch, tuple(added), tuple(removed), tuple(vectors), encoder, tuple(documents))
        self._db.execute("INSERT INTO changes (seq, change) VALUES (?, ?)", (seq, msgspec.msgpack.encode(change)))
        self._db.execute("DELETE FROM changes WHERE seq <= ?", (seq - KEPT,))
        return seq


def public_id(namespace: str, location: str) -> str:
    """What a document is cited by: the same for every version of it, and another in every namespace."""
    name = f"{len(namespace)}\0{namespace}\0{location}".encode("utf-8", "surrogateescape")
    return f"doc_{hashlib.blake2b(name, digest_size=9).hexdigest()}"


def signed(bits: int) -> int:
    """64 bits as SQLite keeps them."""
    return bits - (1 << 64) if bits >= 1 << 63 else bits
