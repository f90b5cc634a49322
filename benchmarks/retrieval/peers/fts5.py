"""SQLite's FTS5 alone: words on disk, without vectors. A table beside it holds what a full-text table cannot filter by."""

from __future__ import annotations

import re
import sqlite3
from pathlib import Path
from typing import Final

from retrieval.peers.engine import LIMIT, NEVER, Files

TABLES: Final = """
CREATE TABLE chunks (number INTEGER PRIMARY KEY, id TEXT UNIQUE, text TEXT, expires REAL);
CREATE VIRTUAL TABLE words USING fts5(text, content='chunks', content_rowid='number', tokenize='porter unicode61');
CREATE TRIGGER chunks_added AFTER INSERT ON chunks BEGIN
  INSERT INTO words (rowid, text) VALUES (new.number, new.text);
END;
CREATE TRIGGER chunks_gone AFTER DELETE ON chunks BEGIN
  INSERT INTO words (words, rowid, text) VALUES ('delete', old.number, old.text);
END;
"""


class Fts5:
    ways = ("words",)

    async def build(self, files: Files, folder: Path) -> None:
        await self.open(folder)
        self._db.executescript(TABLES)
        self._db.execute("BEGIN")
        self._db.executemany("INSERT INTO chunks (id, text, expires) VALUES (?, ?, ?)", files.pieces())
        self._db.execute("COMMIT")
        self._db.execute("INSERT INTO words (words) VALUES ('optimize')")

    async def open(self, folder: Path) -> None:
        self._db = sqlite3.connect(folder / "words.db", isolation_level=None)
        self._db.execute("PRAGMA journal_mode=WAL")
        self._db.execute("PRAGMA synchronous=FULL")

    async def find(self, way: str, text: str, vector: bytes, now: float) -> list[str]:
        asked = " OR ".join(f'"{word}"' for word in re.findall(r"\w+", text))
        rows = self._db.execute(
            "SELECT chunks.id, chunks.text FROM words JOIN chunks ON chunks.number = words.rowid"
            " WHERE words MATCH ? AND chunks.expires > ? ORDER BY words.rank LIMIT ?",
            (asked, now, LIMIT),
        )
        return [name for name, _ in rows]

    async def put(self, name: str, text: str, vector: bytes) -> None:
        self._db.execute("INSERT INTO chunks (id, text, expires) VALUES (?, ?, ?)", (name, text, NEVER))

    async def delete(self, name: str) -> None:
        self._db.execute("DELETE FROM chunks WHERE id = ?", (name,))

    async def upkeep(self) -> bool:
        return False

    async def close(self) -> None:
        self._db.close()
