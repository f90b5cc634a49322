"""The store on SQLite: one thread writes and one reads, so that nothing that looks waits for what is put.

Writes that arrive while one is being committed go into the next commit together; each is in a savepoint of its own, so that one
that fails takes nobody else's with it.
"""

from __future__ import annotations

import asyncio
import contextlib
import queue
import sqlite3
import threading
import time
from collections.abc import Awaitable, Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, Final, TypeVar, cast

from tidewire.core.errors import InternalError, SettingsError, TidewireError
from tidewire.retrieval.stores.calls import Calls
from tidewire.retrieval.stores.sqlite_reading import Reading
from tidewire.retrieval.stores.sqlite_tables import opened, prepare
from tidewire.retrieval.stores.sqlite_writing import Writing

T = TypeVar("T")
TOGETHER: Final = 64  # writes of one commit
LOOK: Final = 0.1  # seconds between two looks at what other processes have written


class _Job:
    """A write that waits for its commit."""

    def __init__(self, work: Callable[[Writing], Any], loop: asyncio.AbstractEventLoop) -> None:
        self.work = work
        self.loop = loop
        self.done: asyncio.Future[Any] = loop.create_future()
        self.done.add_done_callback(lambda done: done.cancelled() or done.exception())  # perhaps nobody waits any more
        self.result: Any = None
        self.error: Exception | None = None

    def tell(self) -> None:
        self.loop.call_soon_threadsafe(self._settle)

    def _settle(self) -> None:
        if self.done.cancelled():
            return
        if self.error is not None:
            self.done.set_exception(self.error)
        else:
            self.done.set_result(self.result)


class SqliteStore(Calls):
    """A `retrieval.ports.Store` in one file. clock: Unix seconds."""

    def __init__(self, path: Path, clock: Callable[[], float] = time.time) -> None:
        self._path = path
        super().__init__(clock)
        self._jobs: queue.SimpleQueue[_Job | None] = queue.SimpleQueue()
        self._writer: threading.Thread | None = None
        self._reader = ThreadPoolExecutor(max_workers=1, thread_name_prefix="documents-reader")
        self._reading: Reading

    async def start(self) -> None:
        self._loop = asyncio.get_running_loop()
        try:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            db = await self._loop.run_in_executor(self._reader, self._open)
        except OSError as error:
            raise SettingsError(
                f"the data folder {str(self._path.parent)!r} cannot be used ({error.strerror}); give another one with --data, "
                "or the right to write there",
                param="data",
            ) from error
        except sqlite3.Error as error:
            raise SettingsError(
                f"the documents in {str(self._path)!r} cannot be used ({error}); if the file is damaged, move it away and ingest again",
                param="data",
            ) from error
        self._writer = threading.Thread(target=self._write, args=(db,), name="documents-writer", daemon=True)
        self._writer.start()

    async def close(self) -> None:
        if self._watch is not None:
            self._watch.cancel()
            self._watch = None
        if self._writer is not None:
            self._jobs.put(None)
            await self._loop.run_in_executor(None, self._writer.join)
            self._writer = None
            await self._read(lambda reading: reading._db.close())  # noqa: SLF001 - on the thread that it belongs to
        self._reader.shutdown()

    async def compact(self) -> None:
        """The pages of what was deleted are zero already; this clears the write-ahead log, where their old state may stand."""

        def clear(writing: Writing) -> None:
            writing.checkpoint = True

        await self._do(clear)

    # Threads

    def _open(self) -> sqlite3.Connection:
        """Both connections; that of the writer is handed to its thread."""
        db = opened(self._path)
        try:
            prepare(db)
            self._reading = Reading(opened(self._path))
        except BaseException:
            db.close()
            raise
        return db

    async def _read(self, look: Callable[[Any], T | Awaitable[T]]) -> T:
        try:
            return await self._loop.run_in_executor(self._reader, cast("Callable[[Reading], T]", look), self._reading)
        except sqlite3.Error as error:
            raise InternalError(
                f"the documents in {self._path.name!r} cannot be read now ({error}); free or repair the disk of the data folder",
                code="storage_failed",
            ) from error

    async def _do(self, work: Callable[[Any], T | Awaitable[T]], *, wake: bool = False) -> T:
        """The result, once it is committed."""
        job = _Job(work, self._loop)
        self._jobs.put(job)
        result: T = await asyncio.shield(job.done)  # who stops waiting does not stop the commit
        if wake:
            self._wake()
        return result

    def _write(self, db: sqlite3.Connection) -> None:
        """The writer's thread."""
        last = False
        while not last:
            jobs = [self._jobs.get()]
            while len(jobs) < TOGETHER and not self._jobs.empty():
                jobs.append(self._jobs.get())
            last = None in jobs
            self._commit(db, [job for job in jobs if job is not None])
        db.close()

    def _commit(self, db: sqlite3.Connection, jobs: Sequence[_Job]) -> None:
        if not jobs:
            return
        checkpoint = False
        try:
            db.execute("BEGIN IMMEDIATE")
            for job in jobs:
                writing = Writing(db)
                db.execute("SAVEPOINT one")
                try:
                    job.result = job.work(writing)
                except Exception as error:  # noqa: BLE001 - it is whoever asked for it that hears of it
                    job.error = _told(error, self._path)
                    db.execute("ROLLBACK TO one")
                db.execute("RELEASE one")
                checkpoint = checkpoint or writing.checkpoint
            db.execute("COMMIT")
            if checkpoint:
                db.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        except sqlite3.Error as error:
            if db.in_transaction:
                db.execute("ROLLBACK")
            for job in jobs:
                job.error = job.error or _told(error, self._path)
        for job in jobs:
            job.tell()

    async def _heed(self) -> None:
        """What another process has put is found as well; a look that fails is made again."""
        seen = -1  # what was put before somebody listened is looked for, too
        while True:
            with contextlib.suppress(TidewireError):
                now: int = await self._read(Reading.touched)
                if now != seen:
                    seen = now
                    self._wake()
            await asyncio.sleep(LOOK)


def _told(error: Exception, path: Path) -> Exception:
    if isinstance(error, sqlite3.Error):
        return InternalError(
            f"the documents in {path.name!r} cannot be changed now ({error}); nothing of this was stored: free or repair the disk "
            "of the data folder, then try again",
            code="storage_failed",
        )
    return error
