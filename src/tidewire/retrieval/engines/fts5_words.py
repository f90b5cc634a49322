"""Words by SQLite's FTS5, in memory: for where tantivy is not installed. A table a namespace, so that no query can forget a filter."""

from __future__ import annotations

import json
import sqlite3
import threading
from collections.abc import Sequence
from typing import Final

from tidewire.core import prose
from tidewire.retrieval.engines.lexical import WEIGHTS, asked, columns
from tidewire.retrieval.ports import Filter, Row, Scored

TOKENS: Final = "porter unicode61 remove_diacritics 2"
FAR: Final = 1e300  # stands for "never" where a number is needed


class Fts5Words:
    """A `Lexical`. One connection: who searches waits for who writes, a few milliseconds at most."""

    def __init__(self) -> None:
        self._db = sqlite3.connect(":memory:", isolation_level=None, check_same_thread=False)
        self._db.execute(
            "CREATE TABLE rows (chunk INTEGER PRIMARY KEY, expires REAL NOT NULL, published REAL NOT NULL, readers TEXT NOT NULL,"
            " source TEXT NOT NULL, texts TEXT NOT NULL)"
        )
        self._tables: dict[str, int] = {}
        self._guard = threading.Lock()

    def add(self, rows: Sequence[tuple[str, Row]], *, many: bool = False) -> None:
        with self._guard:
            for namespace, row in rows:
                texts = columns(row)
                self._db.execute(
                    f"INSERT INTO words_{self._table(namespace)} (rowid, title, heading, body, parts) VALUES (?, ?, ?, ?, ?)",  # noqa: S608
                    (row.chunk, *texts),
                )
                expires = FAR if row.expires is None else row.expires
                self._db.execute(
                    "INSERT INTO rows VALUES (?, ?, ?, ?, ?, ?)",
                    (row.chunk, expires, row.published, json.dumps(row.readers), row.source, json.dumps(texts)),
                )

    def remove(self, chunks: Sequence[tuple[str, int]]) -> None:
        with self._guard:
            for namespace, chunk in chunks:
                found = self._db.execute("SELECT texts FROM rows WHERE chunk = ?", (chunk,)).fetchone()
                if found is None:
                    continue
                table = self._table(namespace)
                self._db.execute(
                    f"INSERT INTO words_{table} (words_{table}, rowid, title, heading, body, parts) VALUES ('delete', ?, ?, ?, ?, ?)",  # noqa: S608
                    (chunk, *json.loads(found[0])),
                )
                self._db.execute("DELETE FROM rows WHERE chunk = ?", (chunk,))

    def search(self, namespace: str, question: str, limit: int, which: Filter) -> list[Scored]:
        match = _expression(question)
        table = self._tables.get(namespace)
        if table is None or not match or limit < 1:
            return []
        where = [
            "r.expires > ?",
            "(r.readers = '[]' OR EXISTS (SELECT 1 FROM json_each(r.readers) g WHERE g.value IN ({})))",
        ]
        given: list[object] = [which.now, *which.groups]
        where[1] = where[1].format(",".join("?" * len(which.groups)))
        if which.sources:
            where.append(f"r.source IN ({','.join('?' * len(which.sources))})")
            given += which.sources
        for bound, sign in ((which.since, ">="), (which.until, "<=")):
            if bound is not None:
                where.append(f"r.published {sign} ?")
                given.append(bound)
        with self._guard:
            found = self._db.execute(
                f"SELECT w.rowid, -bm25(words_{table}, ?, ?, ?, ?) AS score FROM words_{table} w CROSS JOIN rows r ON r.chunk = w.rowid"  # noqa: S608
                f" WHERE words_{table} MATCH ? AND {' AND '.join(where)} ORDER BY score DESC, w.rowid LIMIT ?",
                (*WEIGHTS, match, *given, limit),
            ).fetchall()
        return [(int(chunk), float(score)) for chunk, score in found]

    def holding(self, namespace: str, word: str) -> int:
        match = _quoted(word)
        table = self._tables.get(namespace)
        if table is None or not match:
            return 0
        with self._guard:
            count = f"SELECT count(*) FROM words_{table} WHERE words_{table} MATCH ?"  # noqa: S608 - a number of ours
            return int(self._db.execute(count, (match,)).fetchone()[0])

    @property
    def due(self) -> float | None:
        """Nothing waits: what is added is found."""
        return None

    def fold(self) -> None:
        """See `due`."""

    def close(self) -> None:
        with self._guard:
            self._db.close()

    def _table(self, namespace: str) -> int:
        number = self._tables.get(namespace)
        if number is None:
            number = self._tables[namespace] = len(self._tables) + 1
            self._db.execute(
                f"CREATE VIRTUAL TABLE words_{number} USING fts5(title, heading, body, parts, content='', tokenize='{TOKENS}')"
            )
        return number


def _expression(question: str) -> str:
    words, whole = asked(question)
    terms = [_quoted(word) for word in words]
    if whole and (phrase := _quoted(" ".join(whole))) not in terms:
        terms.append(phrase)
    return " OR ".join(filter(None, terms))


def _quoted(text: str) -> str:
    """The words of a text as one phrase, nothing else of it; empty where there is none."""
    words = " ".join(prose.words(text))
    return f'"{words}"' if words else ""
