"""Reads of the file beside the writer: two threads, first come first served, each turn short."""

from __future__ import annotations

import asyncio
import logging
import sqlite3
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from queue import LifoQueue
from typing import Final, TypeVar

from tidewire.stores import schema
from tidewire.stores.pages import fetch

log = logging.getLogger("tidewire.stores")

Result = TypeVar("Result")

THREADS: Final = 2
TURN: Final = 128 * 1024  # bytes read for a cursor at a time, so that a long stream does not starve others


class Readers:
    def __init__(self, path: Path, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._free: LifoQueue[sqlite3.Connection] = LifoQueue()
        for _ in range(THREADS):
            self._free.put(schema.reader(path))
        self._pool = ThreadPoolExecutor(THREADS, thread_name_prefix="tidewire-log-reader")
        self.closed = False

    async def read(self, work: Callable[[sqlite3.Connection], Result]) -> Result:
        """Raises what `work` raises, or InternalError when the file cannot be read."""
        try:
            return await self._loop.run_in_executor(self._pool, self._turn, work)
        except (sqlite3.Error, ValueError) as error:
            log.exception("a read of the log failed")
            raise schema.broken(error) from error

    def fetch(self, sid: int, after: int) -> asyncio.Future[list[bytes]]:
        """The events of a stream behind `after`, as far as one turn and its pages go."""
        return self._loop.run_in_executor(self._pool, self._turn, lambda db: fetch(db, sid, after, TURN))

    def close(self) -> None:
        """Waits for the turns that have begun."""
        self.closed = True
        self._pool.shutdown(cancel_futures=True)
        while not self._free.empty():
            self._free.get().close()

    def _turn(self, work: Callable[[sqlite3.Connection], Result]) -> Result:
        db = self._free.get()
        try:
            return work(db)
        finally:
            self._free.put(db)
