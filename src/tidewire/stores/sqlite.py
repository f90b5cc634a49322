"""A log on disk: durability class `process` or `disk`. The event loop orders, one thread writes, two threads read."""

from __future__ import annotations

import asyncio
import sqlite3
import time
from collections import OrderedDict
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final, Literal

import msgspec

from tidewire.core.errors import CursorAhead, Expired, TidewireError
from tidewire.core.events import DurabilityClass
from tidewire.core.ports import Meta
from tidewire.stores import pages, schema
from tidewire.stores.commit import Checkpointer, Committer
from tidewire.stores.cursor import SqliteCursor, StoredShelf
from tidewire.stores.journal import Journal
from tidewire.stores.lock import DataLock
from tidewire.stores.orders import Close, Delete, Expire, Open, Order, Sweep
from tidewire.stores.readers import Readers
from tidewire.stores.writer import SqliteWriter

Key = tuple[str, str]

RESTING: Final = 8 * 1024 * 1024  # bytes of ended streams in memory


class SqliteLog:
    """path: the file; its folder is locked for this process while the log is open."""

    def __init__(self, path: Path, durability: Literal["process", "disk"] = "process") -> None:
        self.durability: DurabilityClass = durability
        self._path = path
        self._lock = DataLock(path.parent)
        self._shelves: dict[Key, StoredShelf] = {}
        self._writers: dict[Key, SqliteWriter] = {}
        self._resting: OrderedDict[Key, StoredShelf] = OrderedDict()
        self._resting_size = 0
        self._open = False

    # Life

    async def start(self) -> list[Meta]:
        """Raises SettingsError: another process has the folder, or the file is newer, damaged or another program's."""
        self._loop = asyncio.get_running_loop()
        self._lock.acquire()
        try:
            unfinished = await asyncio.to_thread(self._open_file)
        except BaseException:
            self._lock.release()
            raise
        self._committer = Committer(self._journal, Checkpointer(self._db, self._aside), self._loop)
        self._open = True
        self._ask(Sweep())
        return unfinished

    def _open_file(self) -> list[Meta]:
        self._db = schema.connect(self._path, self.durability)
        try:
            self._journal = Journal(self._db)
            unfinished = self._journal.recover()
            self._aside = schema.beside(self._path)
            self._readers = Readers(self._path, self._loop)
        except (sqlite3.Error, ValueError) as error:
            self._db.close()
            raise schema.damaged(self._path, error) from error
        return unfinished

    async def close(self) -> None:
        """Store all that was appended, and let go of the file."""
        if self._open:
            self._open = False
            await self._committer.drain()
            await asyncio.to_thread(self._close_file)
            self._lock.release()
            left = tuple(self._shelves.values())
            for kept in (self._shelves, self._writers, self._resting):
                kept.clear()
            self._resting_size = 0
            assert self._committer.closed is not None
            for shelf in left:
                shelf.fail(self._committer.closed)

    def _close_file(self) -> None:
        self._committer.join()
        self._readers.close()
        self._db.close()

    # Streams

    async def open(self, meta: Meta, failed: Callable[[Exception], None]) -> SqliteWriter:
        writer: SqliteWriter = await self._store(Open(meta), failed)
        return writer

    async def cursor(self, tenant: str, stream: str, after: int, wake: Callable[[], None]) -> SqliteCursor:
        key = (tenant, stream)
        shelf = self._shelves.get(key)
        if shelf is None:
            sid, meta = await self._readers.read(lambda db: pages.look_up(db, tenant, stream))
            shelf = self._shelves.get(key) or StoredShelf(meta, meta.last, sid)
        if after > shelf.last:
            raise CursorAhead(
                f"cursor {after} is past the end of stream {stream}, whose last event is {shelf.last}", param="after"
            )
        self._shelves[key] = shelf
        if key in self._resting:
            self._resting.move_to_end(key)
        return SqliteCursor(shelf, after, wake, self._readers, self._left)

    async def meta(self, tenant: str, stream: str) -> Meta:
        shelf = self._shelves.get((tenant, stream))
        if shelf is None:
            return (await self._readers.read(lambda db: pages.look_up(db, tenant, stream)))[1]
        return msgspec.structs.replace(shelf.meta, last=shelf.last)

    async def find(self, tenant: str, *, chat: str | None = None, limit: int = 50) -> list[Meta]:
        found = await self._readers.read(lambda db: pages.find(db, tenant, chat, limit))
        for meta in found:
            shelf = self._shelves.get((tenant, meta.stream))
            if shelf is not None:
                meta.last = shelf.last
        return found

    async def delete(self, tenant: str, stream: str) -> None:
        await self._store(Delete(tenant, stream, time.time_ns() // 1_000_000))

    async def expire(self, now: int) -> int:
        count = 0
        while True:
            order = Expire(now)
            await self._store(order)
            count += len(order.gone)
            if not order.more:
                return count

    def size(self) -> tuple[int, int]:
        live = sum(self._shelves[key].size for key in self._writers)  # what has ended is counted as it comes to rest
        return len(self._shelves), live + self._resting_size

    # Orders to the writing thread, and what becomes of them

    async def _store(self, order: Order, failed: Callable[[Exception], None] | None = None) -> Any:
        """Raises what the order was refused for, or what broke. failed: of the writer that Open makes."""
        if self._committer.closed is not None:
            raise self._committer.closed
        future = self._loop.create_future()
        order.waiter = Outcome(self, future, failed)
        self._committer.order(order)
        return await future

    def _ask(self, order: Order) -> None:
        """An order that nobody waits for. What is left undone at the end is done after the next start."""
        if self._open:
            order.waiter = Outcome(self, None, None)
            self._committer.order(order)

    def carried_out(
        self, order: Order, failed: Callable[[Exception], None] | None, *, wanted: bool
    ) -> SqliteWriter | None:
        """Make the memory follow the file. wanted: somebody still waits for it; failed, the result: of Open."""
        if isinstance(order, Open):
            if wanted and failed is not None:
                return self._opened(order, failed)
            self._ask(Delete(order.meta.tenant, order.meta.stream, order.meta.created))  # nobody will ever write to it
        elif isinstance(order, Close):
            self._ended(order)
        elif isinstance(order, Delete):
            self._drop((order.tenant, order.stream), "deleted")
            self._ask(Sweep())
        elif isinstance(order, Expire):
            for key in order.gone:
                self._drop(key, "expired")
            self._ask(Sweep())
        elif isinstance(order, Sweep) and order.more:
            self._ask(Sweep())
        return None

    def _opened(self, order: Open, failed: Callable[[Exception], None]) -> SqliteWriter:
        meta, tail = order.meta, order.tail
        key = (meta.tenant, meta.stream)
        shelf = self._shelves.get(key)
        if shelf is None:
            self._shelves[key] = shelf = StoredShelf(meta, tail.last, tail.sid)
        else:
            self._unrest(key)
            shelf.meta = meta
            shelf.failed = None
        old = self._writers.get(key)
        self._writers[key] = writer = SqliteWriter(shelf, tail, self._committer, self._store, failed)
        if old is not None:
            old.fail(pages.fenced(meta))
        return writer

    def _ended(self, order: Close) -> None:
        meta = order.meta
        key = (meta.tenant, meta.stream)
        shelf = self._shelves[key]
        shelf.meta = meta
        del self._writers[key]
        self._resting[key] = shelf
        self._resting_size += shelf.size
        while self._resting_size > RESTING:
            oldest, shelf = next(iter(self._resting.items()))
            self._unrest(oldest)
            shelf.shed(0, shelf.last)
            self._left(shelf)

    def _unrest(self, key: Key) -> None:
        shelf = self._resting.pop(key, None)
        if shelf is not None:
            self._resting_size -= shelf.size

    def _drop(self, key: Key, how: str) -> None:
        self._unrest(key)
        shelf = self._shelves.pop(key, None)
        if shelf is not None:
            shelf.fail(Expired(f"stream {key[1]} was {how} while it was being read"))
        writer = self._writers.pop(key, None)
        if writer is not None:
            writer.fail(pages.expired(key[1]))

    def _left(self, shelf: StoredShelf) -> None:
        """A shelf that is neither written, resting nor read leaves the memory."""
        key = (shelf.meta.tenant, shelf.meta.stream)
        if (
            not shelf.readers
            and self._shelves.get(key) is shelf
            and key not in self._writers
            and key not in self._resting
        ):
            del self._shelves[key]


class Outcome:
    """Who waits for an order that is not an Append, where somebody does."""

    __slots__ = ("_failed", "_future", "_log")

    def __init__(
        self, log: SqliteLog, future: asyncio.Future[Any] | None, failed: Callable[[Exception], None] | None
    ) -> None:
        self._log = log
        self._future = future
        self._failed = failed

    def settle(self, order: Order, error: TidewireError | None) -> None:
        future = self._future
        wanted = future is not None and not future.done()
        result = self._log.carried_out(order, self._failed, wanted=wanted) if error is None else None
        if future is None or future.done():
            return
        if error is None:
            future.set_result(result)
        else:
            future.set_exception(error)
