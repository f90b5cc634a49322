"""Sessions in an SQLite file, so that they survive a restart. One thread does all of it; the event loop never waits for the disk."""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Final, TypeVar

from tidewire.core.errors import SettingsError
from tidewire.sessions.session import Key, Session
from tidewire.sessions.store import AHEAD, Change, decode, encode

T = TypeVar("T")

VERSION: Final = 1
TABLE: Final = """
CREATE TABLE IF NOT EXISTS sessions (
  tenant TEXT NOT NULL, user TEXT NOT NULL, id TEXT NOT NULL, used REAL NOT NULL, size INTEGER NOT NULL, raw BLOB NOT NULL,
  PRIMARY KEY (tenant, user, id)
);
CREATE INDEX IF NOT EXISTS sessions_by_use ON sessions (used);
"""
ONE: Final = "tenant = ? AND user = ? AND id = ?"


class DiskStore:
    """`Store`. limit: bytes of all sessions. ttl: seconds since the last use. now: Unix seconds.

    size: as it was when the last order was done. A disk that fails is told as OSError.
    """

    def __init__(self, path: Path, limit: int, ttl: float, now: Callable[[], float]) -> None:
        self._path = path
        self._limit = limit
        self._ttl = ttl
        self._now = now
        self.size = 0
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="tidewire-sessions")
        self._db: sqlite3.Connection

    async def start(self) -> None:
        """Raises SettingsError for a file that cannot be used: what people said is not thrown away by itself."""

        def work() -> None:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            db = sqlite3.connect(self._path, isolation_level=None, check_same_thread=False, timeout=10.0)
            try:
                (version,) = db.execute("PRAGMA user_version").fetchone()
                if version not in (0, VERSION):
                    raise sqlite3.DatabaseError(f"it is of version {version}, and this Tidewire reads {VERSION}")
                db.execute("PRAGMA journal_mode=WAL")
                db.execute("PRAGMA synchronous=NORMAL")
                db.execute("PRAGMA secure_delete=ON")  # what a tenant deletes is gone from the file
                db.executescript(f"{TABLE} PRAGMA user_version = {VERSION};")
                (self.size,) = db.execute("SELECT coalesce(sum(size), 0) FROM sessions").fetchone()
            except BaseException:
                db.close()
                raise
            self._db = db

        try:
            await self._ask(work)
        except OSError as error:
            self._thread.shutdown()
            raise SettingsError(
                f"{self._path} cannot be used for sessions: {error}; move it away, or set sessions.store",
                param="sessions.store",
            ) from None

    async def get(self, key: Key) -> Session | None:
        return await self._ask(lambda: self._get(key))

    async def update(self, key: Key, change: Change) -> Session | None:
        def work() -> Session | None:
            before = self._get(key)
            after = change(before)
            if after is None:
                return before
            raw = encode(after)
            self._delete(ONE, *key)
            self._db.execute("INSERT INTO sessions VALUES (?, ?, ?, ?, ?, ?)", (*key, after.used, len(raw), raw))
            self.size += len(raw)
            oldest = "rowid = (SELECT rowid FROM sessions ORDER BY used, rowid LIMIT 1)"
            while self.size > self._limit and self._delete(oldest):
                pass
            return after

        return await self._ask(lambda: self._whole(work))

    async def delete(self, key: Key) -> Session | None:
        def work() -> Session | None:
            before = self._get(key)
            self._delete(ONE, *key)
            return before

        found = await self._ask(lambda: self._whole(work))
        await self._ask(lambda: self._db.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall())
        return found

    async def find(self, tenant: str, user: str | None, limit: int) -> list[tuple[Key, Session]]:
        def work() -> list[tuple[Key, Session]]:
            rows = self._db.execute(
                "SELECT tenant, user, id, raw FROM sessions WHERE tenant = ? AND (user = ? OR ?) AND used > ? AND used <= ? "
                "ORDER BY used DESC LIMIT ?",
                (tenant, user or "", user is None, self._now() - self._ttl, self._now() + AHEAD, limit),
            )
            return [((row[0], row[1], row[2]), decode(row[3])) for row in rows]

        return await self._ask(work)

    async def sweep(self) -> int:
        now = self._now()
        return await self._ask(lambda: self._delete("used <= ? OR used > ?", now - self._ttl, now + AHEAD))

    async def close(self) -> None:
        """Once all that was ordered is done."""
        await self._ask(self._db.close)
        self._thread.shutdown()

    async def _ask(self, work: Callable[[], T]) -> T:
        try:
            return await asyncio.get_running_loop().run_in_executor(self._thread, work)
        except sqlite3.Error as error:
            raise OSError(str(error)) from error

    # In the thread

    def _whole(self, work: Callable[[], T]) -> T:
        """All of it or nothing."""
        size = self.size
        self._db.execute("BEGIN IMMEDIATE")
        try:
            out = work()
            self._db.execute("COMMIT")
        except BaseException:
            self.size = size
            if self._db.in_transaction:
                self._db.execute("ROLLBACK")
            raise
        return out

    def _get(self, key: Key) -> Session | None:
        now = self._now()
        row = self._db.execute(
            f"SELECT raw FROM sessions WHERE {ONE} AND used > ? AND used <= ?",  # noqa: S608 - our own words
            (*key, now - self._ttl, now + AHEAD),
        ).fetchone()
        return None if row is None else decode(row[0])

    def _delete(self, where: str, *values: object) -> int:
        """where: words of ours, never a caller's."""
        gone = self._db.execute(f"DELETE FROM sessions WHERE {where} RETURNING size", values).fetchall()  # noqa: S608
        self.size -= sum(size for (size,) in gone)
        return len(gone)
