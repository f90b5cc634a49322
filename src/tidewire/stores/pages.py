"""Reading the file: a stream's pages and metas, and what is said of a stream that is not there."""

from __future__ import annotations

import sqlite3
from typing import Final

import msgspec

from tidewire.core.errors import Conflict, Expired, TidewireError, UnknownStream
from tidewire.core.ports import Meta
from tidewire.stores.schema import SEQ_BITS

_unpack: Final = msgspec.msgpack.Decoder(list[bytes]).decode
decode_meta: Final = msgspec.json.Decoder(Meta).decode


def last_page(db: sqlite3.Connection, sid: int) -> int:
    """The number of the last event in a stream's pages."""
    low, high = sid << SEQ_BITS, (sid + 1) << SEQ_BITS
    (found,) = db.execute("SELECT max(id) FROM pages WHERE id >= ? AND id < ?", (low, high)).fetchone()
    return 0 if found is None else found - low


def fetch(db: sqlite3.Connection, sid: int, after: int, room: int) -> list[bytes]:
    """The events of a stream behind `after`, as far as its pages go, about `room` bytes. Raises ValueError for damage."""
    found: list[bytes] = []
    low, high = sid << SEQ_BITS, (sid + 1) << SEQ_BITS
    rows = db.execute("SELECT id, raws FROM pages WHERE id > ? AND id < ? ORDER BY id", (low + after, high))
    try:
        for page, packed in rows:
            raws = _unpack(packed)
            first = page - low - len(raws) + 1
            skip = after + len(found) + 1 - first
            if skip < 0 or (found and skip):
                raise ValueError(f"events {after + len(found) + 1} to {first - 1} are missing")
            found += raws[skip:] if skip else raws
            room -= len(packed)
            if room <= 0:
                break
    finally:
        rows.close()
    return found


def find(db: sqlite3.Connection, tenant: str, chat: str | None, limit: int) -> list[Meta]:
    """The newest first. `last` of a running stream is not known here."""
    rows = (
        db.execute("SELECT meta FROM streams WHERE tenant = ? ORDER BY sid DESC LIMIT ?", (tenant, limit))
        if chat is None
        else db.execute(
            "SELECT meta FROM streams WHERE tenant = ? AND chat = ? ORDER BY sid DESC LIMIT ?", (tenant, chat, limit)
        )
    )
    return [decode_meta(raw) for (raw,) in rows.fetchall()]


def look_up(db: sqlite3.Connection, tenant: str, stream: str) -> tuple[int, Meta]:
    """A stream that nobody writes to: its number in the file, and its meta. Raises UnknownStream or Expired."""
    row = db.execute(
        "SELECT sid, ended, meta FROM streams WHERE tenant = ? AND stream = ?", (tenant, stream)
    ).fetchone()
    if row is None:
        raise missing(db, tenant, stream)
    sid, ended, raw = row
    meta = decode_meta(raw)
    if ended is None:
        meta.last = last_page(db, sid)
    return sid, meta


def missing(db: sqlite3.Connection, tenant: str, stream: str) -> TidewireError:
    if db.execute("SELECT 1 FROM gone WHERE tenant = ? AND stream = ?", (tenant, stream)).fetchone():
        return expired(stream)
    return UnknownStream(f"there is no stream {stream}")


def expired(stream: str) -> Expired:
    return Expired(f"stream {stream} has expired or was deleted; start a new one")


def taken(stream: str) -> Conflict:
    return Conflict(f"stream {stream} exists already; follow it, or start one with another id")


def fenced(meta: Meta) -> Conflict:
    return Conflict(f"stream {meta.stream} was taken over in epoch {meta.epoch}; this writer can add nothing more")
