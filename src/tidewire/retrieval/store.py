"""Where documents and their chunks are kept: one SQLite file. Synchronous, one thread at a time; `index.py` sees to that.

Each namespace has a full-text table of its own: its words weigh as they do in that namespace, its size is nobody else's
delay, and no query can forget a filter. The full-text tables hold no text; what they are made from is in `chunks`.
"""

from __future__ import annotations

import hashlib
import sqlite3
import time
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Final

import msgspec

from tidewire.core import prose
from tidewire.core.ports import Passage
from tidewire.retrieval.chunk import chunks
from tidewire.retrieval.documents import Document

VERSION: Final = 1
# Porter: 0.45 against 0.36 nDCG@10 without it, on the NPL collection (93 questions).
TOKENS: Final = "porter unicode61 remove_diacritics 2"
# Title, heading, body and the parts of joined names in BM25's sum. Names are short and say what a text is about.
WEIGHTS: Final = (1.5, 2.0, 1.0, 0.5)

SCHEMA: Final = """
CREATE TABLE IF NOT EXISTS namespaces (id INTEGER PRIMARY KEY, name TEXT NOT NULL UNIQUE);
CREATE TABLE IF NOT EXISTS documents (
    id INTEGER PRIMARY KEY, namespace INTEGER NOT NULL REFERENCES namespaces, location TEXT NOT NULL, source TEXT NOT NULL,
    title TEXT NOT NULL, uri TEXT NOT NULL, changed REAL NOT NULL, indexed REAL NOT NULL, digest TEXT NOT NULL, size INTEGER NOT NULL,
    UNIQUE (namespace, location));
CREATE TABLE IF NOT EXISTS chunks (
    id INTEGER PRIMARY KEY, document INTEGER NOT NULL REFERENCES documents, start INTEGER NOT NULL, heading TEXT NOT NULL,
    text TEXT NOT NULL, digest BLOB NOT NULL);
CREATE INDEX IF NOT EXISTS chunks_of ON chunks (document);
"""


class Known(msgspec.Struct, frozen=True):
    """A document in the index. source: its id in citations. changed, indexed: Unix seconds. size: characters of text."""

    location: str
    source: str
    title: str
    uri: str
    changed: float
    indexed: float
    digest: str
    size: int
    chunks: int


class Store:
    """One connection. Every call names its namespace; one that was never written to is simply empty."""

    def __init__(self, path: Path | str) -> None:
        self._db = sqlite3.connect(path, isolation_level=None, check_same_thread=False, timeout=10.0)
        # FULL: what was acknowledged survives a power cut. secure_delete: what is deleted is overwritten.
        for pragma in (
            "journal_mode=WAL",
            "synchronous=FULL",
            "secure_delete=ON",
            "foreign_keys=ON",
            "temp_store=MEMORY",
        ):
            self._db.execute(f"PRAGMA {pragma}")

    def prepare(self) -> None:
        """Make the tables, or the full-text tables anew where another version of Tidewire made them."""
        self._db.executescript(SCHEMA)
        if self._db.execute("PRAGMA user_version").fetchone()[0] == VERSION:
            return
        with self._transaction():
            for number, _ in self._db.execute("SELECT id, name FROM namespaces").fetchall():
                self._db.execute(f"DROP TABLE IF EXISTS words_{number}")
                self._make_words(number)
                rows = self._db.execute(
                    "SELECT c.id, d.title, c.heading, c.text FROM chunks c JOIN documents d ON d.id = c.document WHERE d.namespace = ?",
                    (number,),
                )
                for row in rows.fetchall():
                    self._add_words(number, *row)
            self._db.execute(f"PRAGMA user_version = {VERSION}")

    def close(self) -> None:
        self._db.close()

    def put(self, namespace: str, documents: Iterable[Document]) -> int:
        """Replace these documents, all in one transaction; returns how many chunks they have."""
        made = 0
        with self._transaction():
            number = self._number(namespace, create=True)
            for document in documents:
                self._forget(number, [document.location])
                made += self._insert(number, document)
        return made

    def remove(self, namespace: str, locations: Sequence[str]) -> int:
        """Delete these documents; returns how many there were."""
        with self._transaction():
            number = self._number(namespace)
            return self._forget(number, locations) if number is not None else 0

    def compact(self, namespace: str) -> None:
        """Fold the full-text table up, so that no word of what was deleted is left in the file or its log."""
        number = self._number(namespace)
        if number is not None:
            self._db.execute(f"INSERT INTO words_{number} (words_{number}) VALUES ('optimize')")  # noqa: S608
        self._db.execute("PRAGMA wal_checkpoint(TRUNCATE)")

    def count(self, namespace: str) -> int:
        return int(
            self._db.execute(
                "SELECT count(*) FROM chunks c JOIN documents d ON d.id = c.document JOIN namespaces n ON n.id = d.namespace"
                " WHERE n.name = ?",
                (namespace,),
            ).fetchone()[0]
        )

    def documents(self, namespace: str) -> list[Known]:
        rows = self._db.execute(
            "SELECT d.location, d.source, d.title, d.uri, d.changed, d.indexed, d.digest, d.size,"
            " (SELECT count(*) FROM chunks c WHERE c.document = d.id)"
            " FROM documents d JOIN namespaces n ON n.id = d.namespace WHERE n.name = ? ORDER BY d.uri, d.location",
            (namespace,),
        )
        return [Known(*row) for row in rows]

    def search(self, namespace: str, match: str, limit: int) -> list[Passage]:
        """The best passages for a full-text expression, texts that say the same (but for case and spaces) once."""
        number = self._number(namespace)
        if number is None or not match:
            return []
        rows = self._db.execute(
            f"SELECT d.source, d.title, c.text, c.start, c.heading, d.uri, d.changed, -w.score, c.digest"  # noqa: S608
            f" FROM (SELECT rowid, bm25(words_{number}, ?, ?, ?, ?) AS score FROM words_{number} WHERE words_{number} MATCH ?"
            "        ORDER BY score LIMIT ?) w"
            " JOIN chunks c ON c.id = w.rowid JOIN documents d ON d.id = c.document ORDER BY w.score, c.id",
            (*WEIGHTS, match, limit),
        )
        seen: set[bytes] = set()
        out: list[Passage] = []
        for *fields, same in rows:
            if same not in seen:
                seen.add(same)
                out.append(Passage(*fields))
        return out

    def holding(self, namespace: str, match: str) -> int:
        """How many passages a full-text expression finds."""
        number = self._number(namespace)
        if number is None or not match:
            return 0
        row = self._db.execute(f"SELECT count(*) FROM words_{number} WHERE words_{number} MATCH ?", (match,))  # noqa: S608
        return int(row.fetchone()[0])

    def _transaction(self) -> _Transaction:
        return _Transaction(self._db)

    def _number(self, namespace: str, *, create: bool = False) -> int | None:
        row = self._db.execute("SELECT id FROM namespaces WHERE name = ?", (namespace,)).fetchone()
        if row is None and create:
            number = self._db.execute("INSERT INTO namespaces (name) VALUES (?)", (namespace,)).lastrowid
            assert number is not None
            self._make_words(number)
            return number
        return None if row is None else int(row[0])

    def _make_words(self, number: int) -> None:
        self._db.execute(
            f"CREATE VIRTUAL TABLE words_{number} USING fts5(title, heading, body, parts, content='', tokenize='{TOKENS}')"
        )

    def _add_words(self, number: int, chunk: int, title: str, heading: str, text: str) -> None:
        self._db.execute(
            f"INSERT INTO words_{number} (rowid, title, heading, body, parts) VALUES (?, ?, ?, ?, ?)",  # noqa: S608
            (chunk, *_columns(title, heading, text)),
        )

    def _insert(self, number: int | None, document: Document) -> int:
        assert number is not None
        source = (
            "doc_"
            + hashlib.blake2b(
                f"{number}\0{document.location}".encode("utf-8", "surrogateescape"), digest_size=9
            ).hexdigest()
        )
        row = self._db.execute(
            "INSERT INTO documents (namespace, location, source, title, uri, changed, indexed, digest, size) VALUES (?,?,?,?,?,?,?,?,?)",
            (
                number,
                document.location,
                source,
                document.title,
                document.uri,
                document.changed,
                time.time(),
                document.digest,
                len(document.text),
            ),
        ).lastrowid
        cut = chunks(document.text)
        for chunk in cut:
            same = hashlib.blake2b(" ".join(prose.words(chunk.text)).encode(), digest_size=12).digest()
            added = self._db.execute(
                "INSERT INTO chunks (document, start, heading, text, digest) VALUES (?, ?, ?, ?, ?)",
                (row, chunk.start, chunk.heading, chunk.text, same),
            ).lastrowid
            assert added is not None
            self._add_words(number, added, document.title, chunk.heading, chunk.text)
        return len(cut)

    def _forget(self, number: int | None, locations: Sequence[str]) -> int:
        """A full-text table without text is told the very words that it shall forget."""
        gone = 0
        for location in locations:
            row = self._db.execute(
                "SELECT id, title FROM documents WHERE namespace = ? AND location = ?", (number, location)
            ).fetchone()
            if row is None:
                continue
            document, title = row
            gone += 1
            for chunk, heading, text in self._db.execute(
                "SELECT id, heading, text FROM chunks WHERE document = ?", (document,)
            ).fetchall():
                self._db.execute(
                    f"INSERT INTO words_{number} (words_{number}, rowid, title, heading, body, parts) VALUES ('delete', ?, ?, ?, ?, ?)",  # noqa: S608
                    (chunk, *_columns(title, heading, text)),
                )
            self._db.execute("DELETE FROM chunks WHERE document = ?", (document,))
            self._db.execute("DELETE FROM documents WHERE id = ?", (document,))
        return gone


def _columns(title: str, heading: str, text: str) -> tuple[str, str, str, str]:
    return prose.spaced(title), prose.spaced(heading), prose.spaced(text), prose.parts(text)


class _Transaction:
    def __init__(self, db: sqlite3.Connection) -> None:
        self._db = db

    def __enter__(self) -> None:
        self._db.execute("BEGIN IMMEDIATE")

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        self._db.execute("COMMIT" if kind is None else "ROLLBACK")
