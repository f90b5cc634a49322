"""The store on Postgres: several servers share one truth, and each hears within milliseconds of what another has put.

Reads go through a small pool. Writes of this server that arrive while one is being committed go into the next commit together, each
in a savepoint of its own. Whoever commits a change says so by NOTIFY; one connection listens, comes back when it was cut, and looks
each second, so that a word that was lost costs no more than that second.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from typing import Any, Final, TypeVar, cast
from urllib.parse import parse_qs, unquote

import asyncpg

from tidewire.core.errors import InternalError, SettingsError
from tidewire.retrieval.stores.calls import Calls
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


class PostgresStore(Calls):
    """A `retrieval.ports.Store` in the schema "tidewire" of a database. url: postgres://…; TLS as its sslmode says.

    clock: Unix seconds.
    """

    def __init__(self, url: str, clock: Callable[[], float] = time.time) -> None:
        self._url = url
        super().__init__(clock)
        self._pool: Any = None
        self._jobs: deque[_Job] = deque()
        self._writer: asyncio.Task[None] | None = None

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

    async def compact(self) -> None:
        """Nothing to do: Postgres clears what was deleted by its own vacuum, in its own time."""

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

    async def _read(self, look: Callable[[Any], T | Awaitable[T]]) -> T:
        return await self.look(lambda db: cast("Callable[[Reading], Awaitable[T]]", look)(Reading(db)))

    async def look(self, ask: Callable[[Any], Awaitable[T]]) -> T:
        """What it finds on a connection of the pool."""
        for again in (True, False):
            try:
                async with self._pool.acquire(timeout=CONNECT_S) as db:
                    return await ask(db)
            except _FAULT as error:
                if not (again and isinstance(error, _AWAY)):  # a connection that was cut meanwhile is tried anew once
                    raise InternalError(
                        f"the documents cannot be read now ({self._said(error)})", code="storage_failed"
                    ) from error
        raise AssertionError("unreachable")

    async def write(self, work: Callable[[Any], Awaitable[T]]) -> T:
        """In a transaction that follows those of all servers; returns once it is committed."""
        return await self._do(lambda writing: work(writing.db))

    @contextlib.asynccontextmanager
    async def alone(self) -> AsyncIterator[Any]:
        """A connection of its own, without a limit of time, for what takes minutes."""
        db = await asyncpg.connect(
            **self._how() | {"command_timeout": None, "server_settings": {"search_path": SCHEMA_NAME}}
        )
        try:
            yield db
        finally:
            db.terminate()

    async def _do(self, work: Callable[[Any], T | Awaitable[T]], *, wake: bool = False) -> T:
        """The result, once it is committed."""
        job = _Job(cast("Callable[[Writing], Awaitable[T]]", work))
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
                        "the store was closed; it is not known whether this was stored", code="storage_failed"
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
                    f"the documents cannot be changed now ({self._said(error)}); {outcome}", code="storage_failed"
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
                InternalError(
                    f"the documents cannot be changed now ({self._said(error)}); {NOTHING}", code="storage_failed"
                )
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

    async def _heed(self) -> None:
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
