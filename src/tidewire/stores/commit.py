"""Group commit: one thread writes, one commit is in flight, whatever is ordered meanwhile goes with the next.

The first order after a silence is committed at once. Under load a commit is followed by a short rest, so that more goes with the next.
"""

from __future__ import annotations

import asyncio
import logging
import sqlite3
import threading
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from queue import SimpleQueue
from typing import Final

from tidewire.core.errors import InternalError
from tidewire.stores.journal import Journal
from tidewire.stores.orders import Order
from tidewire.stores.schema import broken

log = logging.getLogger("tidewire.stores")

# Seconds between two commits under load: each costs two switches of threads, whatever it holds. At 400 streams of 50 tokens/s the
# server took 48 µs of CPU a token with it and 80 without; the median token came 2.1 ms after the host sent it, and 0.3 without.
REST: Final = 0.002
CHECKPOINT: Final = 16 * 1024 * 1024  # bytes of write-ahead log; the rest costs the writer two syncs, so not often


class Committer:
    """Both sides of the writing thread: orders go in on the event loop, and are settled there, in order, once stored.

    unacknowledged: bytes waiting, counted by those who order.
    """

    def __init__(self, journal: Journal, checkpointer: Checkpointer, loop: asyncio.AbstractEventLoop) -> None:
        self.unacknowledged = 0
        self.closed: InternalError | None = None
        self._journal = journal
        self._checkpointer = checkpointer
        self._loop = loop
        self._orders: list[Order] = []
        self._busy = False
        self._next: asyncio.Future[None] | None = None
        self._idle = loop.create_future()
        self._inbox: SimpleQueue[list[Order] | None] = SimpleQueue()
        self._thread = threading.Thread(target=self._work, name="tidewire-log", daemon=True)
        self._thread.start()

    def order(self, order: Order) -> None:
        self._orders.append(order)
        if not self._busy:
            self._busy = True
            self._loop.call_soon(self._hand_over)  # all that this turn of the loop orders goes together

    async def next_commit(self) -> None:
        """Returns when the commit in flight, or the next one, is settled."""
        if self._next is None:
            self._next = self._loop.create_future()
        await asyncio.shield(self._next)

    async def drain(self) -> None:
        """Take no more orders; returns when all are settled."""
        self.closed = InternalError("the log is closed: the server is shutting down", code="storage_failed")
        if self._busy:
            await self._idle

    def join(self) -> None:
        """End the thread, which has nothing left to do."""
        self._inbox.put(None)
        self._thread.join()
        self._checkpointer.close()

    def _hand_over(self) -> None:
        orders = self._orders
        if not orders:
            self._busy = False
            if self.closed is not None and not self._idle.done():
                self._idle.set_result(None)
            return
        self._orders = []
        for order in orders:
            order.sealed = True
        self._inbox.put(orders)

    def _work(self) -> None:
        """The thread."""
        journal = self._journal
        while (orders := self._inbox.get()) is not None:
            error: Exception | None = None
            try:
                journal.commit(orders)
            except Exception as caught:  # noqa: BLE001 - supervisor boundary: it ends the streams of this commit only
                error = caught
            with suppress(RuntimeError):  # the loop was closed and the log was not
                self._loop.call_soon_threadsafe(self._committed, orders, error)
            if journal.written > CHECKPOINT and self._checkpointer.step():
                journal.written = 0

    def _committed(self, orders: list[Order], error: Exception | None) -> None:
        failure = None
        if error is not None:
            failure = broken(error)
            log.error("a commit failed", extra={"count": len(orders), "error": failure})
        for order in orders:
            try:
                order.waiter.settle(order, failure or order.error)
            except Exception:  # supervisor boundary: a reader that fails when woken harms nobody else
                log.exception("a reader or a writer failed when told of a commit")
        if self._next is not None:
            self._next.set_result(None)
            self._next = None
        if self._orders and self.closed is None:
            self._loop.call_later(REST, self._hand_over)
        else:
            self._hand_over()


class Checkpointer:
    """Moves the write-ahead log into the file: the long part beside the writer, then a short rest between two commits.

    The rest is needed because SQLite starts its write-ahead log afresh only when all of it has been moved, which a writer that
    never pauses does not let happen on another thread.
    """

    def __init__(self, writer: sqlite3.Connection, aside: sqlite3.Connection) -> None:
        self._writer = writer
        self._aside = aside
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="tidewire-log-checkpoint")
        self._long: Future[None] | None = None

    def step(self) -> bool:
        """Called by the writing thread; True once all is moved."""
        if self._long is None:
            self._long = self._thread.submit(_move, self._aside)
            return False
        if not self._long.done():
            return False
        self._long = None
        _move(self._writer)
        return True

    def close(self) -> None:
        self._thread.shutdown()
        self._aside.close()


def _move(db: sqlite3.Connection) -> None:
    try:
        db.execute("PRAGMA wal_checkpoint(PASSIVE)").fetchall()
    except sqlite3.Error as error:  # nothing is lost: the write-ahead log holds it until a later try
        log.warning("the write-ahead log could not be moved into the file: %s", error)
