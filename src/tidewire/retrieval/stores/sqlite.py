"""The store on SQLite: one thread writes and one reads, so that nothing that looks waits for what is put.

Writes that arrive while one is being committed go into the next commit together; each is in a savepoint of its own, so that one
that fails takes nobody else's with it.
"""

from __future__ import annotations

import asyncio
import functools
import queue
import sqlite3
import threading
import time
from collections.abc import AsyncIterator, Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, Final, TypeVar

from tidewire.core.errors import InternalError, SettingsError
from tidewire.retrieval.ports import Change, Document, Known, Receipt, Row, Vector
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


class SqliteStore:
    """A `retrieval.ports.Store` in one file. clock: Unix seconds."""

    def __init__(self, path: Path, clock: Callable[[], float] = time.time) -> None:
        self._path = path
        self._clock = clock
        self._jobs: queue.SimpleQueue[_Job | None] = queue.SimpleQueue()
        self._writer: threading.Thread | None = None
        self._reader = ThreadPoolExecutor(max_workers=1, thread_name_prefix="documents-reader")
        self._reading: Reading
        self._wakes: list[Callable[[], None]] = []
        self._watch: asyncio.Task[None] | None = None
        self._known_encoders: set[str] = set()

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

    async def put(self, namespace: str, documents: Sequence[Document]) -> list[Receipt]:
        return await self._do(lambda writing: writing.put(namespace, documents, self._clock()), wake=True)

    async def remove(self, namespace: str, locations: Sequence[str]) -> list[Receipt]:
        return await self._do(lambda writing: writing.remove(namespace, locations), wake=True)

    async def drop(self, namespace: str) -> int:
        return await self._do(lambda writing: writing.drop(namespace), wake=True)

    async def expire(self, now: float, limit: int = 500) -> int:
        return await self._do(lambda writing: writing.expire(now, limit), wake=True)

    async def compact(self) -> None:
        """The pages of what was deleted are zero already; this clears the write-ahead log, where their old state may stand."""

        def clear(writing: Writing) -> None:
            writing.checkpoint = True

        await self._do(clear)

    async def namespaces(self) -> list[str]:
        return await self._read(Reading.namespaces)

    async def epoch(self, namespace: str) -> int:
        return await self._read(lambda reading: reading.epoch(namespace))

    async def documents(
        self, namespace: str, *, after: str = "", limit: int = 100, source: str | None = None, like: str = ""
    ) -> list[Known]:
        return await self._read(lambda reading: reading.documents(namespace, after, limit, source, like))

    async def count(self, namespace: str) -> tuple[int, int, int]:
        return await self._read(lambda reading: reading.count(namespace))

    async def known(self, namespace: str, locations: Sequence[str]) -> dict[str, Known]:
        return await self._read(lambda reading: reading.known(namespace, locations))

    async def document(self, namespace: str, document: str) -> tuple[Known, str] | None:
        return await self._read(lambda reading: reading.document(namespace, document))

    async def fetch(self, namespace: str, chunks: Sequence[int]) -> dict[int, Row]:
        return await self._read(lambda reading: reading.fetch(namespace, chunks))

    async def changes(self, after: int, limit: int = 1000) -> list[Change]:
        return await self._read(lambda reading: reading.changes(after, limit))

    async def seq(self) -> int:
        return await self._read(Reading.seq)

    def listen(self, wake: Callable[[], None]) -> Callable[[], None]:
        self._wakes.append(wake)
        if self._watch is None:
            self._watch = asyncio.get_running_loop().create_task(self._look())

        def stop() -> None:
            if wake in self._wakes:
                self._wakes.remove(wake)

        return stop

    async def rows(self, namespace: str | None = None, batch: int = 2000) -> AsyncIterator[list[tuple[str, Row]]]:
        after = 0
        while found := await self._read(functools.partial(Reading.rows, namespace=namespace, after=after, limit=batch)):
            yield found
            after = found[-1][1].chunk

    async def vectors(self, encoder: str, batch: int = 5000) -> AsyncIterator[list[tuple[int, Vector]]]:
        after = 0
        while found := await self._read(functools.partial(Reading.vectors, encoder=encoder, after=after, limit=batch)):
            yield found
            after = found[-1][0]

    async def vectors_of(self, encoder: str, chunks: Sequence[int]) -> dict[int, Vector]:
        return await self._read(lambda reading: reading.vectors_of(encoder, chunks))

    async def pending(self, encoder: str, limit: int) -> list[tuple[int, str]]:
        if encoder not in self._known_encoders:
            if not await self._read(lambda reading: reading.knows(encoder)):
                await self._do(lambda writing: writing.know(encoder))
            self._known_encoders.add(encoder)
        return await self._read(lambda reading: reading.pending(encoder, limit))

    async def add_vectors(self, encoder: str, vectors: Sequence[tuple[int, Vector]]) -> None:
        await self._do(lambda writing: writing.add_vectors(encoder, vectors), wake=True)

    async def forget_encoder(self, encoder: str) -> int:
        self._known_encoders.discard(encoder)
        return await self._do(lambda writing: writing.forget_encoder(encoder))

    async def note(self, name: str) -> str | None:
        return await self._read(lambda reading: reading.note(name, self._clock()))

    async def set_note(self, name: str, value: str | None, *, expires: float | None = None) -> None:
        await self._do(lambda writing: writing.set_note(name, value, expires))

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

    async def _read(self, look: Callable[[Reading], T]) -> T:
        return await self._loop.run_in_executor(self._reader, lambda: look(self._reading))

    async def _do(self, work: Callable[[Writing], T], *, wake: bool = False) -> T:
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

    def _wake(self) -> None:
        for wake in tuple(self._wakes):
            wake()

    async def _look(self) -> None:
        """What another process has put is found as well."""
        seen = await self._read(Reading.touched)
        while True:
            await asyncio.sleep(LOOK)
            now = await self._read(Reading.touched)
            if now != seen:
                seen = now
                self._wake()


def _told(error: Exception, path: Path) -> Exception:
    if isinstance(error, sqlite3.Error):
        return InternalError(
            f"the documents in {path.name!r} cannot be changed now ({error}); nothing of this was stored"
        )
    return error
