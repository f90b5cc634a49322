"""The store on Postgres: several servers share one truth, and each hears within milliseconds of what another has put.

Reads go through a small pool. Writes of this server that arrive while one is being committed go into the next commit together, each
in a savepoint of its own. Whoever commits a change says so by NOTIFY; one connection listens, comes back when it was cut, and looks
each second, so that a word that was lost costs no more than that second.
"""

from __future__ import annotations

import asyncio
import contextlib
import functools
import logging
import time
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from typing import Any, Final, TypeVar
from urllib.parse import parse_qs, unquote

import asyncpg

from tidewire.core.errors import InternalError, SettingsError
from tidewire.retrieval.ports import Change, Document, Known, Receipt, Row, Vector
from tidewire.retrieval.stores.postgres_reading import Reading
from tidewire.retrieval.stores.postgres_tables import SCHEMA_NAME, prepare
from tidewire.retrieval.stores.postgres_writing import CHANNEL, Writing

log = logging.getLogger("tidewire.retrieval")

T = TypeVar("T")
TOGETHER: Final = 64  # writes of one commit
POOL: Final = 4  # connections that read or write; one more listens
CONNECT_S: Final = 10.0
STATEMENT_S: Final = 30.0  # that one statement may take, waiting for other servers' writes included
LOOK: Final = 1.0  # seconds between two looks where nothing was heard
BACK: Final = (0.1, 5.0)  # seconds between two tries to reach it again: the first, and the most
NOTHING: Final = "nothing of this was stored"

_AWAY: Final = (
    OSError,
    TimeoutError,
    asyncpg.InterfaceError,
    asyncpg.InternalClientError,  # what asyncpg says of a connection that was cut between two of its states
    asyncpg.PostgresConnectionError,
)
_FAULT: Final = (*_AWAY, asyncpg.PostgresError)


class _Job:
    """A write that waits for its commit."""

    def __init__(self, work: Callable[[Writing], Awaitable[Any]]) -> None:
        self.work = work
        self.done: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
        self.done.add_done_callback(lambda done: done.cancelled() or done.exception())  # perhaps nobody waits any more
        self.result: Any = None
        self.error: Exception | None = None

    def settle(self) -> None:
        if not self.done.done():
            if self.error is not None:
                self.done.set_exception(self.error)
            else:
                self.done.set_result(self.result)


class PostgresStore:
    """A `retrieval.ports.Store` in the schema "tidewire" of a database. url: postgres://…; TLS as its sslmode says.

    clock: Unix seconds.
    """

    def __init__(self, url: str, clock: Callable[[], float] = time.time) -> None:
        self._url = url
        self._clock = clock
        self._pool: Any = None
        self._jobs: deque[_Job] = deque()
        self._writer: asyncio.Task[None] | None = None
        self._watch: asyncio.Task[None] | None = None
        self._wakes: list[Callable[[], None]] = []
        self._known_encoders: set[str] = set()

    async def start(self) -> None:
        try:
            self._pool = await asyncpg.create_pool(min_size=1, max_size=POOL, **self._how())
            async with self._pool.acquire() as db:
                await prepare(db)
        except SettingsError:
            await self.close()
            raise
        except (*_FAULT, ValueError) as error:
            await self.close()
            raise SettingsError(
                f"the documents in Postgres at {where(self._url)} cannot be used ({self._said(error)}); check that it runs, and that "
                f'the user may connect and make the schema "{SCHEMA_NAME}"',
                param="retrieval.store",
            ) from None  # the cause may show the address with its password

    async def close(self) -> None:
        if self._watch is not None:
            self._watch.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._watch
            self._watch = None
        if self._writer is not None:
            await self._writer  # what was taken is committed
        if self._pool is not None:
            try:
                async with asyncio.timeout(CONNECT_S):
                    await self._pool.close()
            except TimeoutError:
                self._pool.terminate()
            self._pool = None

    async def put(self, namespace: str, documents: Sequence[Document]) -> list[Receipt]:
        return await self._do(lambda writing: writing.put(namespace, documents, self._clock()), wake=True)

    async def remove(self, namespace: str, locations: Sequence[str]) -> list[Receipt]:
        return await self._do(lambda writing: writing.remove(namespace, locations), wake=True)

    async def drop(self, namespace: str) -> int:
        return await self._do(lambda writing: writing.drop(namespace), wake=True)

    async def expire(self, now: float, limit: int = 500) -> int:
        return await self._do(lambda writing: writing.expire(now, limit), wake=True)

    async def compact(self) -> None:
        """Nothing to do: Postgres clears what was deleted by its own vacuum, in its own time."""

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
            self._watch = asyncio.get_running_loop().create_task(self._hear())

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

    # Connections

    def _how(self) -> dict[str, Any]:
        limit = str(round(STATEMENT_S * 1000))
        return {
            "dsn": self._url,
            "timeout": CONNECT_S,
            "command_timeout": STATEMENT_S + 5.0,
            "server_settings": {
                "search_path": SCHEMA_NAME,
                "application_name": "tidewire",
                "statement_timeout": limit,
                "idle_in_transaction_session_timeout": limit,
            },
        }

    async def _read(self, look: Callable[[Reading], Awaitable[T]]) -> T:
        for again in (True, False):
            try:
                async with self._pool.acquire(timeout=CONNECT_S) as db:
                    return await look(Reading(db))
            except _FAULT as error:
                if not (again and isinstance(error, _AWAY)):  # a connection that was cut meanwhile is tried anew once
                    raise InternalError(f"the documents cannot be read now ({self._said(error)})") from error
        raise AssertionError("unreachable")

    async def _do(self, work: Callable[[Writing], Awaitable[T]], *, wake: bool = False) -> T:
        """The result, once it is committed."""
        job = _Job(work)
        self._jobs.append(job)
        if self._writer is None or self._writer.done():
            self._writer = asyncio.create_task(self._write())
        result: T = await asyncio.shield(job.done)  # who stops waiting does not stop the commit
        if wake:
            self._wake()
        return result

    async def _write(self) -> None:
        while self._jobs:
            jobs = [self._jobs.popleft() for _ in range(min(TOGETHER, len(self._jobs)))]
            try:
                await self._commit(jobs)
            except asyncio.CancelledError:
                for job in jobs:
                    job.error = job.error or InternalError(
                        "the store was closed; it is not known whether this was stored"
                    )
                raise
            finally:
                for job in jobs:
                    job.settle()

    async def _commit(self, jobs: Sequence[_Job]) -> None:
        sent = False
        try:
            async with self._pool.acquire(timeout=CONNECT_S) as db:
                whole = db.transaction()
                await whole.start()
                try:
                    await db.execute("SELECT seq FROM counter FOR UPDATE")
                    for job in jobs:
                        await self._one(db, job)
                except BaseException:
                    if not db.is_closed():
                        await whole.rollback()
                    raise
                sent = True
                await whole.commit()
        except _FAULT as error:
            outcome = "it is not known whether this was stored; to put it again does no harm" if sent else NOTHING
            for job in jobs:
                job.error = job.error or InternalError(
                    f"the documents cannot be changed now ({self._said(error)}); {outcome}"
                )

    async def _one(self, db: Any, job: _Job) -> None:
        """In a savepoint; raises where the connection is gone."""
        try:
            async with db.transaction():
                job.result = await job.work(Writing(db))
        except Exception as error:  # it is whoever asked for it that hears of it
            if db.is_closed():
                raise
            job.error = (
                InternalError(f"the documents cannot be changed now ({self._said(error)}); {NOTHING}")
                if isinstance(error, _FAULT)
                else error
            )

    def _said(self, error: BaseException) -> str:
        """What went wrong, without the password."""
        text = (str(error) or type(error).__name__).replace(self._url, where(self._url))
        for secret in _secrets(self._url):
            text = text.replace(secret, "***")
        return text

    # Hearing of changes

    def _wake(self) -> None:
        for wake in tuple(self._wakes):
            wake()

    async def _hear(self) -> None:
        wait, most = BACK
        while True:
            try:
                db = await asyncpg.connect(**self._how())
            except _FAULT as error:
                log.warning(
                    "Postgres does not answer; trying again", extra={"error": self._said(error), "wait_s": wait}
                )
                await asyncio.sleep(wait)
                wait = min(wait * 2, most)
                continue
            try:
                wait = BACK[0]
                await self._follow(db)
            except _FAULT as error:
                log.warning("Postgres is not heard any more; connecting again", extra={"error": self._said(error)})
                await asyncio.sleep(wait)
            finally:
                db.terminate()

    async def _follow(self, db: Any) -> None:
        """Until the connection is lost."""
        heard = asyncio.Event()
        db.add_termination_listener(lambda _: heard.set())
        await db.add_listener(CHANNEL, lambda *_: heard.set())
        seen = -1  # what was changed before somebody listened is looked for, too
        while True:
            seq = await db.fetchval("SELECT seq FROM counter")
            if seq != seen:
                seen = seq
                self._wake()
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(LOOK):
                    await heard.wait()
            heard.clear()


def where(url: str) -> str:
    """The address without user, password and options."""
    place = url.partition("://")[2].partition("?")[0].rpartition("@")[2]
    return place if not place.startswith("/") else f"its socket{place}"


def _secrets(url: str) -> set[str]:
    """The password as it stands in the address, and as it is sent."""
    rest, _, options = url.partition("://")[2].partition("?")
    found = {rest.rpartition("@")[0].partition(":")[2], *parse_qs(options).get("password", ())}
    return {secret for one in found for secret in (one, unquote(one)) if secret}
