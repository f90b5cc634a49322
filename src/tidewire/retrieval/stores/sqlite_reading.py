"""What is asked of the documents' file: synchronous, each call one look at what is committed."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final, TypeVar

import msgspec

from tidewire.retrieval.ports import AGES, Change, Known, Only, Row, Shelf, Vector

T = TypeVar("T")
WAITS: Final = "EXISTS (SELECT 1 FROM waiting w JOIN chunks c ON c.id = w.chunk WHERE c.document = d.id)"
FEW: Final = 500  # parameters of one statement

_KNOWN: Final = (
    "SELECT d.public, d.location, d.title, d.uri, d.source, d.kind, d.version, d.published, d.indexed, d.digest, d.size, d.chunks,"
    " (SELECT count(DISTINCT w.chunk) FROM waiting w JOIN chunks c ON c.id = w.chunk WHERE c.document = d.id), d.expires, d.readers"
    " FROM documents d JOIN namespaces n ON n.id = d.namespace WHERE n.name = ?"
)
_ROWS: Final = (
    "SELECT n.name, c.id, d.public, d.version, d.title, d.uri, c.heading, c.start, c.text, c.digest, c.simhash, d.published, d.indexed,"
    " d.expires, d.readers, d.source FROM chunks c CROSS JOIN documents d ON d.id = c.document CROSS JOIN namespaces n ON n.id = d.namespace"
)  # CROSS: chunks first; asked for fifty of 40,000, SQLite by itself begins with the namespace and takes 18 ms


class Reading:
    """db: of the one thread that reads."""

    def __init__(self, db: sqlite3.Connection) -> None:
        self._db = db

    def namespaces(self) -> list[str]:
        """Those with documents in them."""
        rows = self._db.execute(
            "SELECT name FROM namespaces n WHERE EXISTS (SELECT 1 FROM documents d WHERE d.namespace = n.id) ORDER BY name"
        )
        return [name for (name,) in rows]

    def epoch(self, namespace: str) -> int:
        row = self._db.execute("SELECT epoch FROM namespaces WHERE name = ?", (namespace,)).fetchone()
        return int(row[0]) if row is not None else 0

    def documents(
        self, namespace: str, after: str, limit: int, *, source: str | None, like: str, only: Only, now: float
    ) -> list[Known]:
        where, given = " AND d.location > ?", list[str | float]((namespace, after))
        if only == "expiring":
            where += " AND d.expires <= ?"
            given.append(now + AGES[0])
        elif only == "pending":
            where += f" AND {WAITS}"
        if source is not None:
            where += " AND d.source = ?"
            given.append(source)
        for word in like.split():
            escaped = word.replace("\\", r"\\").replace("%", r"\%").replace("_", r"\_")
            where += r" AND (d.title || ' ' || d.uri || ' ' || d.location) LIKE ? ESCAPE '\'"
            given.append(f"%{escaped}%")
        return [
            known_of(row) for row in self._db.execute(f"{_KNOWN}{where} ORDER BY d.location LIMIT ?", (*given, limit))
        ]

    def count(self, namespace: str) -> tuple[int, int, int]:
        row = self._db.execute(
            "SELECT count(*), coalesce(sum(d.chunks), 0) FROM documents d JOIN namespaces n ON n.id = d.namespace WHERE n.name = ?",
            (namespace,),
        ).fetchone()
        waiting = self._db.execute(
            "SELECT count(DISTINCT w.chunk) FROM waiting w JOIN chunks c ON c.id = w.chunk JOIN documents d ON d.id = c.document"
            " JOIN namespaces n ON n.id = d.namespace WHERE n.name = ?",
            (namespace,),
        ).fetchone()
        return int(row[0]), int(row[1]), int(waiting[0])

    def shelves(self, namespace: str, now: float) -> list[Shelf]:
        ages = "".join(", sum(d.published >= ?)" for _ in AGES)
        rows = self._db.execute(
            "SELECT d.source, count(*), sum(d.chunks), sum(d.size), min(d.published), max(d.published), max(d.indexed),"  # noqa: S608 - ours
            f" coalesce(sum(d.expires <= ?), 0){ages} FROM documents d JOIN namespaces n ON n.id = d.namespace"
            " WHERE n.name = ? GROUP BY d.source ORDER BY d.source",
            (now + AGES[0], *(now - age for age in AGES), namespace),
        ).fetchall()
        pending = self._db.execute(
            "SELECT d.source, count(DISTINCT w.chunk) FROM waiting w JOIN chunks c ON c.id = w.chunk JOIN documents d ON d.id = c.document"
            " JOIN namespaces n ON n.id = d.namespace WHERE n.name = ? GROUP BY d.source",
            (namespace,),
        )
        waiting = dict(pending.fetchall())
        return [shelf_of(row, waiting) for row in rows]

    def chunks(self, namespace: str, public: str, after: int, limit: int) -> list[tuple[int, bool]]:
        rows = self._db.execute(
            "SELECT c.id, EXISTS (SELECT 1 FROM waiting w WHERE w.chunk = c.id) FROM documents d"
            " JOIN namespaces n ON n.id = d.namespace JOIN chunks c ON c.document = d.id"
            " WHERE n.name = ? AND d.public = ? AND c.id > ? ORDER BY c.id LIMIT ?",
            (namespace, public, after, limit),
        )
        return [(chunk, bool(waits)) for chunk, waits in rows]

    def known(self, namespace: str, locations: Sequence[str]) -> dict[str, Known]:
        out: dict[str, Known] = {}
        for some in few(locations):
            for row in self._db.execute(f"{_KNOWN} AND d.location IN ({marks(some)})", (namespace, *some)):
                out[row[1]] = known_of(row)
        return out

    def document(self, namespace: str, public: str) -> tuple[Known, str] | None:
        row = self._db.execute(f"{_KNOWN} AND d.public = ?", (namespace, public)).fetchone()
        if row is None:
            return None
        text = self._db.execute(
            "SELECT d.text FROM documents d JOIN namespaces n ON n.id = d.namespace WHERE n.name = ? AND d.public = ?",
            (namespace, public),
        ).fetchone()
        return known_of(row), str(text[0])

    def fetch(self, namespace: str, chunks: Sequence[int]) -> dict[int, Row]:
        out: dict[int, Row] = {}
        for some in few(chunks):
            for _, *row in self._db.execute(
                f"{_ROWS} WHERE n.name = ? AND c.id IN ({marks(some)})", (namespace, *some)
            ):
                out[row[0]] = row_of(row)
        return out

    def changes(self, after: int, limit: int) -> list[Change]:
        rows = self._db.execute("SELECT change FROM changes WHERE seq > ? ORDER BY seq LIMIT ?", (after, limit))
        return [msgspec.msgpack.decode(raw, type=Change) for (raw,) in rows]

    def seq(self) -> int:
        row = self._db.execute("SELECT seq FROM sqlite_sequence WHERE name = 'changes'").fetchone()
        return int(row[0]) if row is not None else 0

    def rows(self, namespace: str | None, after: int, limit: int) -> list[tuple[str, Row]]:
        where, given = ("", ()) if namespace is None else (" AND n.name = ?", (namespace,))
        found = self._db.execute(f"{_ROWS} WHERE c.id > ?{where} ORDER BY c.id LIMIT ?", (after, *given, limit))
        return [(name, row_of(row)) for name, *row in found]

    def vectors(
        self, encoder: str, after: tuple[bytes, int] | None, limit: int
    ) -> tuple[list[tuple[int, Vector]], tuple[bytes, int] | None]:
        """after: what came with the page before it. By digest, as they lie on the disk: by chunk, it takes three times as long."""
        digest, chunk = after or (b"", 0)
        found = self._db.execute(
            "SELECT v.digest, c.id, v.data, v.scale FROM encoders e CROSS JOIN vectors v ON v.encoder = e.id"
            " CROSS JOIN chunks c ON c.digest = v.digest WHERE e.name = ? AND v.digest >= ? AND (v.digest > ? OR c.id > ?)"
            " ORDER BY v.digest, c.id LIMIT ?",
            (encoder, digest, digest, chunk, limit),
        ).fetchall()
        return [(one, Vector(data, scale)) for _, one, data, scale in found], found[-1][:2] if found else after

    def vectors_of(self, encoder: str, chunks: Sequence[int]) -> dict[int, Vector]:
        out: dict[int, Vector] = {}
        for some in few(chunks):
            for chunk, data, scale in self._db.execute(
                "SELECT c.id, v.data, v.scale FROM encoders e CROSS JOIN chunks c"  # noqa: S608 - question marks
                f" CROSS JOIN vectors v ON v.encoder = e.id AND v.digest = c.digest WHERE e.name = ? AND c.id IN ({marks(some)})",
                (encoder, *some),
            ):
                out[chunk] = Vector(data, scale)
        return out

    def pending(self, encoder: str, limit: int) -> list[tuple[int, str]]:
        found = self._db.execute(
            "SELECT c.id, d.title, c.heading, c.text FROM encoders e CROSS JOIN waiting w ON w.encoder = e.id"
            " CROSS JOIN chunks c ON c.id = w.chunk CROSS JOIN documents d ON d.id = c.document WHERE e.name = ? ORDER BY w.chunk DESC LIMIT ?",
            (encoder, limit),
        )
        return [(chunk, "\n".join(filter(None, (title, heading, text)))) for chunk, title, heading, text in found]

    def knows(self, encoder: str) -> bool:
        return self._db.execute("SELECT 1 FROM encoders WHERE name = ?", (encoder,)).fetchone() is not None

    def note(self, name: str, now: float) -> str | None:
        row = self._db.execute(
            "SELECT value FROM notes WHERE name = ? AND (expires IS NULL OR expires > ?)", (name, now)
        ).fetchone()
        return None if row is None else str(row[0])

    def touched(self) -> int:
        """A number that is another once any process has committed."""
        return int(self._db.execute("PRAGMA data_version").fetchone()[0])


def known_of(row: Sequence[Any]) -> Known:
    """From a row of documents, as every store of tables selects it."""
    fields = (*row[:-1], tuple(json.loads(row[-1])))
    return Known(*fields)


def shelf_of(row: Sequence[Any], pending: Mapping[str, int]) -> Shelf:
    """From the counts of a source, as every store of tables selects them."""
    source, documents, chunks, size, oldest, newest, indexed, expiring, *ages = row
    return Shelf(
        source=source,
        documents=documents,
        chunks=int(chunks),
        size=int(size),
        oldest=oldest,
        newest=newest,
        indexed=indexed,
        expiring=expiring,
        ages=(*ages, documents),
        pending=pending.get(source, 0),
    )


def row_of(row: Sequence[Any]) -> Row:
    """From a row of chunks, as every store of tables selects it."""
    (
        chunk,
        public,
        version,
        title,
        uri,
        heading,
        start,
        text,
        digest,
        simhash,
        published,
        indexed,
        expires,
        readers,
        source,
    ) = row
    return Row(
        chunk=chunk,
        document=public,
        version=version,
        title=title,
        uri=uri,
        heading=heading,
        start=start,
        text=text,
        digest=digest,
        simhash=simhash & 0xFFFF_FFFF_FFFF_FFFF,
        published=published,
        indexed=indexed,
        expires=expires,
        readers=tuple(json.loads(readers)) if readers != "[]" else (),
        source=source,
    )


def few(many: Sequence[T]) -> Iterable[Sequence[T]]:
    return (many[n : n + FEW] for n in range(0, len(many), FEW))


def marks(some: Sequence[object]) -> str:
    return ",".join("?" * len(some))
