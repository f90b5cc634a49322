"""Answers kept in an SQLite file, so that they survive a restart. One thread does all of it; the event loop never waits for the disk.

A cache may be lost: a file that cannot be read is put aside with a warning and begun anew, and a disk that fails costs hits.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import sqlite3
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Final, TypeVar

from tidewire.cache.shelf import AHEAD, ENTRY, fresh

log = logging.getLogger("tidewire.cache")

T = TypeVar("T")

VERSION: Final = 2
TOUCH: Final = 60.0  # seconds between two notes that an entry is in use
SPARE: Final = 0.9  # share of the limit that is left filled once something has to go
TABLE: Final = """
CREATE TABLE answers (
  id INTEGER PRIMARY KEY,
  tenant TEXT NOT NULL, key BLOB NOT NULL, made REAL NOT NULL, used REAL NOT NULL, size INTEGER NOT NULL, raw BLOB NOT NULL,
  UNIQUE (tenant, key)
);
CREATE INDEX answers_by_age ON answers (made);
CREATE INDEX answers_by_use ON answers (used, size);
CREATE TABLE sources (
  tenant TEXT NOT NULL, document TEXT NOT NULL, answer INTEGER NOT NULL, PRIMARY KEY (tenant, document, answer)
) WITHOUT ROWID;
CREATE INDEX sources_by_answer ON sources (answer);
CREATE TRIGGER forgotten AFTER DELETE ON answers BEGIN DELETE FROM sources WHERE answer = old.id; END;
"""


class DiskShelf:
    """`Shelf`. limit: bytes of all answers. ttl: seconds. now: Unix seconds. size: as it was when the last order was done."""

    def __init__(self, path: Path, limit: int, ttl: float, now: Callable[[], float]) -> None:
        self._path = path
        self._limit = limit
        self._ttl = ttl
        self._now = now
        self.size = 0
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="tidewire-cache")
        self._db: sqlite3.Connection | None = None
        self._thread.submit(self._guarded, self._open, None)

    async def get(self, tenant: str, key: bytes) -> tuple[float, bytes] | None:
        return await self._ask(lambda db: self._get(db, tenant, key), None)

    def put(self, tenant: str, key: bytes, raw: bytes, documents: Sequence[str] = ()) -> None:
        self._thread.submit(self._guarded, lambda: self._put(tenant, key, raw, documents), None)

    def forget(self, tenant: str, documents: Sequence[str]) -> None:
        def work() -> None:
            if self._db is not None:
                for document in documents:
                    made = "id IN (SELECT answer FROM sources WHERE tenant = ? AND document = ?)"
                    self._delete(self._db, made, tenant, document)

        self._thread.submit(self._guarded, work, None)

    async def clear(self, tenant: str) -> int:
        return await self._ask(lambda db: self._delete(db, "tenant = ?", tenant), 0)

    async def count(self, tenant: str) -> tuple[int, int]:
        def look(db: sqlite3.Connection) -> tuple[int, int]:
            entries, held = db.execute(
                "SELECT count(*), coalesce(sum(size), 0) FROM answers WHERE tenant = ?", (tenant,)
            ).fetchone()
            return entries, held

        return await self._ask(look, (0, 0))

    def sweep(self) -> None:
        def work() -> None:
            now = self._now()
            if self._db is not None:
                self._delete(self._db, "made <= ? OR made > ?", now - self._ttl, now + AHEAD)

        self._thread.submit(self._guarded, work, None)

    async def close(self) -> None:
        """Once all that was put is written."""
        await asyncio.get_running_loop().run_in_executor(self._thread, self._guarded, self._close, None)
        self._thread.shutdown()

    # In the thread

    async def _ask(self, work: Callable[[sqlite3.Connection], T], otherwise: T) -> T:
        def turn() -> T:
            return otherwise if self._db is None else work(self._db)

        return await asyncio.get_running_loop().run_in_executor(self._thread, self._guarded, turn, otherwise)

    def _guarded(self, work: Callable[[], T], otherwise: T) -> T:
        try:
            return work()
        except (sqlite3.Error, OSError) as error:
            log.warning("the cache on disk could not be used", extra={"error": str(error)})
            return otherwise

    def _open(self) -> None:
        try:
            self._db = _connect(self._path)
        except sqlite3.OperationalError:
            raise
        except sqlite3.DatabaseError:
            log.warning("the cache on disk is damaged and begun anew", extra={"file": str(self._path)})
            for suffix in ("", "-wal", "-shm"):
                with contextlib.suppress(FileNotFoundError):
                    self._path.with_name(self._path.name + suffix).unlink()
            self._db = _connect(self._path)
        (self.size,) = self._db.execute("SELECT coalesce(sum(size), 0) FROM answers").fetchone()

    def _close(self) -> None:
        if self._db is not None:
            self._db.close()
            self._db = None

    def _get(self, db: sqlite3.Connection, tenant: str, key: bytes) -> tuple[float, bytes] | None:
        row = db.execute("SELECT made, used, raw FROM answers WHERE tenant = ? AND key = ?", (tenant, key)).fetchone()
        now = self._now()
        if row is None or not fresh(row[0], now, self._ttl):
            return None
        if abs(now - row[1]) > TOUCH:
            db.execute("UPDATE answers SET used = ? WHERE tenant = ? AND key = ?", (now, tenant, key))
        return row[0], row[2]

    def _put(self, tenant: str, key: bytes, raw: bytes, documents: Sequence[str]) -> None:
        db, now, size = self._db, self._now(), len(raw) + ENTRY
        if db is None or size > self._limit:
            return
        self._delete(db, "tenant = ? AND key = ?", tenant, key)
        db.execute("BEGIN")
        with db:  # both or none: an answer without its documents would outlive them
            answer = db.execute(
                "INSERT INTO answers (tenant, key, made, used, size, raw) VALUES (?, ?, ?, ?, ?, ?)",
                (tenant, key, now, now, size, raw),
            ).lastrowid
            db.executemany("INSERT INTO sources VALUES (?, ?, ?)", [(tenant, d, answer) for d in documents])
        self.size += size
        if self.size > self._limit:
            over, oldest = self.size - int(self._limit * SPARE), []
            for rowid, held in db.execute("SELECT rowid, size FROM answers ORDER BY used, rowid"):
                if over <= 0:
                    break
                oldest.append(rowid)
                over -= held
            self._delete(db, f"rowid IN ({','.join('?' * len(oldest))})", *oldest)

    def _delete(self, db: sqlite3.Connection, where: str, *values: object) -> int:
        """where: words of ours, never a caller's."""
        gone = db.execute(f"DELETE FROM answers WHERE {where} RETURNING size", values).fetchall()  # noqa: S608
        self.size -= sum(size for (size,) in gone)
        return len(gone)


def _connect(path: Path) -> sqlite3.Connection:
    path.parent.mkdir(parents=True, exist_ok=True)
    db = sqlite3.connect(path, isolation_level=None, check_same_thread=False, timeout=10.0)
    try:
        if db.execute("PRAGMA user_version").fetchone()[0] != VERSION:
            db.executescript(
                f"DROP TABLE IF EXISTS answers; DROP TABLE IF EXISTS sources; {TABLE} PRAGMA user_version = {VERSION};"
            )
        db.execute("PRAGMA journal_mode=WAL")
        db.execute("PRAGMA synchronous=NORMAL")
        db.execute("PRAGMA secure_delete=ON")  # what a tenant deletes is gone from the file
    except BaseException:
        db.close()
        raise
    return db
