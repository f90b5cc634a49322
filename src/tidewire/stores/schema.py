"""The SQLite file of the streams: its tables, its connections, and what its errors mean."""

from __future__ import annotations

import os
import sqlite3
from pathlib import Path
from typing import Final

from tidewire.core.errors import InternalError, SettingsError, TidewireError
from tidewire.core.events import DurabilityClass

VERSION: Final = 1
APPLICATION: Final = 0x54494445  # "TIDE": tells this file from another program's
SEQ_BITS: Final = 32

# journal: what one commit acknowledged, of all streams: msgpack [[sid, first seq, [raw, ...]], ...]. Short-lived.
# pages: one stream's events, msgpack [raw, ...]; id = sid << 32 | seq of the last of them, so that a stream lies together.
# gone: streams that expired or were deleted. trash: those whose pages are still to be deleted.
TABLES: Final = """
CREATE TABLE streams (
  sid INTEGER PRIMARY KEY, tenant TEXT NOT NULL, stream TEXT NOT NULL, chat TEXT, epoch INTEGER NOT NULL,
  ended INTEGER, expires INTEGER, last INTEGER NOT NULL, meta BLOB NOT NULL, UNIQUE (tenant, stream)
);
CREATE INDEX streams_by_chat ON streams (tenant, chat, sid);
CREATE INDEX streams_by_age ON streams (tenant, sid);
CREATE INDEX streams_by_expiry ON streams (expires) WHERE expires IS NOT NULL;
CREATE INDEX streams_open ON streams (sid) WHERE ended IS NULL;
CREATE TABLE journal (n INTEGER PRIMARY KEY, lines BLOB NOT NULL);
CREATE TABLE pages (id INTEGER PRIMARY KEY, raws BLOB NOT NULL);
CREATE TABLE gone (tenant TEXT NOT NULL, stream TEXT NOT NULL, at INTEGER NOT NULL, PRIMARY KEY (tenant, stream)) WITHOUT ROWID;
CREATE INDEX gone_by_age ON gone (at);
CREATE TABLE trash (sid INTEGER PRIMARY KEY);
"""


def connect(path: Path, durability: DurabilityClass) -> sqlite3.Connection:
    """The connection that writes, in autocommit mode, the tables made where the file is new. Raises SettingsError.

    process: synchronous=NORMAL; a commit is in the kernel's page cache, which a killed process leaves intact, and a power
    cut loses the newest commits but never the file. disk: synchronous=FULL, one fsync of the write-ahead log a commit.
    """
    try:
        db = sqlite3.connect(path, isolation_level=None, check_same_thread=False, timeout=10.0)
    except sqlite3.Error as error:
        raise SettingsError(
            f"the log {path} cannot be opened ({error}); check the folder and its rights", param="data"
        ) from error
    try:
        _prepare(db, path, durability)
    except sqlite3.Error as error:
        db.close()
        raise damaged(path, error) from error
    except BaseException:
        db.close()
        raise
    return db


def _prepare(db: sqlite3.Connection, path: Path, durability: DurabilityClass) -> None:
    (version,) = db.execute("PRAGMA user_version").fetchone()
    (application,) = db.execute("PRAGMA application_id").fetchone()
    (tables,) = db.execute("SELECT count(*) FROM sqlite_schema").fetchone()
    if version > VERSION and application == APPLICATION:
        raise SettingsError(
            f"the log {path} has format {version}, and this version of Tidewire knows formats up to {VERSION}; use the newer "
            "version that wrote it, or give another data folder",
            param="data",
        )
    if tables and application != APPLICATION:
        raise SettingsError(
            f"{path} is the database of another program; give another data folder, or move that file away", param="data"
        )
    db.execute("PRAGMA journal_mode=WAL")
    db.execute(f"PRAGMA synchronous={'FULL' if durability == 'disk' else 'NORMAL'}")
    db.execute("PRAGMA wal_autocheckpoint=0")  # see commit.Checkpointer
    db.execute("PRAGMA secure_delete=FAST")  # Debian's build would write every freed page again, as zeros
    if not tables:
        db.executescript(f"BEGIN; {TABLES} PRAGMA application_id={APPLICATION}; PRAGMA user_version={VERSION}; COMMIT;")
        if durability == "disk":  # a new file is only there after a power cut when its folder knows of it
            folder = os.open(path.parent, os.O_RDONLY)
            try:
                os.fsync(folder)
            finally:
                os.close(folder)


def reader(path: Path) -> sqlite3.Connection:
    """A connection that only reads."""
    db = beside(path)
    db.execute("PRAGMA query_only=ON")
    return db


def beside(path: Path) -> sqlite3.Connection:
    """Another connection of this process to the file."""
    return sqlite3.connect(path, isolation_level=None, check_same_thread=False, timeout=10.0)


def damaged(path: Path, error: Exception) -> SettingsError:
    """For the start of the server."""
    if isinstance(error, sqlite3.OperationalError):
        return SettingsError(
            f"the log {path} cannot be used ({error}); check the folder, its rights and its free space", param="data"
        )
    return SettingsError(
        f"the log {path} is damaged ({error}); put back a copy, or move {path.name}, {path.name}-wal and {path.name}-shm "
        "away to start with an empty log",
        param="data",
    )


def broken(error: Exception) -> TidewireError:
    """What a failed commit or read means to the stream that needed it."""
    if isinstance(error, TidewireError):
        return error
    if isinstance(error, sqlite3.OperationalError):
        return InternalError(
            f"the log could not be used ({error}); free or repair the disk of the data folder, then ask again",
            code="storage_failed",
        )
    if isinstance(error, sqlite3.DatabaseError):
        return InternalError(
            f"the log is damaged ({error}); stop the server and put back a copy of the data folder",
            code="storage_failed",
        )
    return InternalError(f"the log failed ({type(error).__name__}); see the server's messages", code="storage_failed")
