"""The desk in front of the desk: requests of a session get its earlier turns, and their answers become its latest.

A session has one answer at a time. Whoever asks while one is under way waits a moment for one that is just ending, and is refused
with 409 otherwise: two answers side by side would each lack the other.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Callable, Coroutine, Sequence
from typing import Any, Final, TypeVar

import msgspec

from tidewire.core import ids
from tidewire.core.errors import BadRequest, Conflict, Expired, InternalError, NotFound, UnknownStream
from tidewire.core.events import Closed
from tidewire.core.meter import SessionMeter
from tidewire.core.ports import Cursor, Desk, Meta, ModelInfo
from tidewire.core.request import Message, Request
from tidewire.core.said import Said
from tidewire.sessions.session import Key, Session, given, with_turn, within
from tidewire.sessions.store import Store, measure
from tidewire.sessions.summary import Summariser

log = logging.getLogger("tidewire.sessions")

T = TypeVar("T")

BATCH: Final = 256
ENDING: Final = 1.0  # seconds that a request waits for an answer of its session that is just ending


class Bounds(msgspec.Struct, frozen=True):
    """Of one session. turns: so many. size: bytes, as it is kept."""

    turns: int = 200
    size: int = 1 << 20


class _Pending:
    """A turn under way. over: set once it is in the session, or will never be. gone: the session was deleted meanwhile."""

    def __init__(self) -> None:
        self.stream = ""
        self.over = asyncio.Event()
        self.gone = False


class SessionDesk:
    """`core.ports.Desk`. store: None where no sessions are kept. now: Unix seconds."""

    def __init__(
        self,
        desk: Desk,
        store: Store | None,
        *,
        bounds: Bounds,
        now: Callable[[], float],
        meter: SessionMeter,
        summariser: Summariser | None = None,
    ) -> None:
        self._desk = desk
        self._store = store
        self._bounds = bounds
        self._now = now
        self._meter = meter
        self._summariser = summariser
        self._pending: dict[Key, _Pending] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self._summaries: dict[Key, asyncio.Task[None]] = {}
        self.follow = desk.follow
        self.showing = desk.showing
        self.cancel = desk.cancel
        self.meta = desk.meta
        self.find = desk.find
        self.delete = desk.delete

    async def models(self) -> Sequence[ModelInfo]:
        return await self._desk.models()

    async def start(self, request: Request) -> Meta:
        if not request.session:
            return await self._desk.start(request)
        key, store = _key(request), self._kept
        await self._turn(key, request)
        pending = self._pending[key] = _Pending()
        try:
            now = self._now()
            session = await _whole(store.get(key)) or Session(created=now, used=now)
            asked = msgspec.structs.replace(request, messages=given(session, request))
            meta = await self._desk.start(asked)
        except BaseException:
            self._release(key, pending)
            raise
        pending.stream = meta.stream
        task = asyncio.create_task(self._record(key, pending, session, request))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        if pending.gone:  # deleted while the answer was being begun
            await self._desk.delete(request.tenant, meta.stream)
        return meta

    # What a tenant may see and do of its sessions

    async def session(self, tenant: str, user: str, name: str) -> Session:
        """Raises NotFound."""
        found = await _whole(self._kept.get((tenant, user, name)))
        if found is None:
            raise _unknown(name)
        return found

    async def sessions(self, tenant: str, user: str | None, limit: int) -> list[tuple[Key, Session]]:
        """The latest used first."""
        return await _whole(self._kept.find(tenant, user, limit))

    async def forget(self, tenant: str, user: str, name: str) -> int:
        """Delete a session with the streams of its answers; an answer under way is stopped. Answers how many turns it had.

        Raises NotFound.
        """
        key = (tenant, user, name)
        pending = self._pending.get(key)
        if pending is not None:
            pending.gone = True
        if (task := self._summaries.get(key)) is not None:
            task.cancel()
        found = await _whole(self._kept.delete(key))
        if found is None and pending is None:
            raise _unknown(name)
        streams = [turn.stream for turn in found.turns] if found is not None else []
        for stream in (*streams, *((pending.stream,) if pending is not None and pending.stream else ())):
            with contextlib.suppress(UnknownStream, Expired):
                await self._desk.delete(tenant, stream)
        return len(found.turns) if found is not None else 0

    # What the server needs

    async def sweep(self) -> None:
        """To be called now and then: forget what is over its time."""
        if self._store is not None:
            await self._store.sweep()

    async def close(self) -> None:
        """Once every answer has ended: wait until all are kept, and let go of summaries that are not done."""
        for task in self._summaries.values():
            task.cancel()
        while waiting := [*self._tasks, *self._summaries.values()]:
            await asyncio.wait(waiting)
        if self._store is not None:
            await self._store.close()

    @property
    def size(self) -> int:
        """Bytes of all sessions."""
        return self._store.size if self._store is not None else 0

    @property
    def _kept(self) -> Store:
        if self._store is None:
            raise BadRequest(
                'no sessions are kept here (sessions.store is "off"); send the conversation whole', param="session"
            )
        return self._store

    async def _turn(self, key: Key, request: Request) -> None:
        """Returns when no answer of this session is under way. Raises Conflict."""
        if (before := self._pending.get(key)) is not None:
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(before.over.wait(), ENDING)
        if (other := self._pending.get(key)) is not None:
            raise Conflict(
                f"session {request.chat} is being answered (stream {other.stream or 'about to begin'}); wait for its end, or cancel it",
                code="session_busy",
                param="session",
                retry_after=1.0,
            )

    def _release(self, key: Key, pending: _Pending) -> None:
        del self._pending[key]
        pending.over.set()

    async def _record(self, key: Key, pending: _Pending, before: Session, request: Request) -> None:
        """Read the answer to its end, and put it into the session. before: the session as the request found it."""
        kept: Session | None = None
        result = "dropped"
        try:
            said, closed = await _Ear().hear(self._desk, request.tenant, pending.stream)

            def change(session: Session | None) -> Session | None:
                if pending.gone:
                    return None
                session = session or before  # it ran out, or gave way to others, while it was being answered
                after = with_turn(session, request, said, stream=pending.stream, closed=closed, now=self._now())
                return within(after, self._bounds.turns, self._bounds.size, measure)

            if said or closed.status == "completed":  # what failed without a word is asked again by who wants it
                kept = await self._kept.update(key, change)
            if kept is not None:
                result = "kept"
        except Expired:  # deleted while it was written
            pass
        except Exception:  # supervisor boundary: the log or the disk broke; the session goes on without this turn
            log.exception("a turn could not be kept in its session", extra={"stream": pending.stream})
            result = "failed"
        finally:
            self._release(key, pending)
        self._meter.turn_ended(result)
        if kept is not None and self._summariser is not None and key not in self._summaries:
            task = asyncio.create_task(self._summarise(self._summariser, key, kept, request.model))
            self._summaries[key] = task
            task.add_done_callback(lambda _: self._summaries.pop(key, None))

    async def _summarise(self, summariser: Summariser, key: Key, session: Session, model: str) -> None:
        summary = await summariser.summary(session, key[0], model)
        if summary is None:
            return

        def change(now: Session | None) -> Session | None:
            if now is None or now.created != session.created:  # deleted meanwhile, or another one by now
                return None
            return msgspec.structs.replace(now, summary=summary)

        try:
            await self._kept.update(key, change)
        except OSError:
            log.warning("a summary could not be kept; long conversations are shortened instead", exc_info=True)


class _Ear:
    """Hears an answer to its end, as its log tells it: what is taken is taken as it is written, without a task of its own."""

    def __init__(self) -> None:
        self._said = Said()
        self._cursor: Cursor | None = None
        self._done: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    async def hear(self, desk: Desk, tenant: str, stream: str) -> tuple[list[Message], Closed]:
        """The messages and the end. Raises what keeps the log from being read."""
        self._cursor = await desk.follow(tenant, stream, 0, self._wake, counts=False)
        try:
            self._wake()
            await self._done
        finally:
            self._cursor.close()
        assert self._said.closed is not None
        return self._said.messages(), self._said.closed

    def _wake(self) -> None:
        if self._cursor is None or self._done.done():
            return
        try:
            while entries := self._cursor.take(BATCH):
                self._said.feed(entries)
            if self._said.closed is not None:
                self._done.set_result(None)
            elif self._cursor.failed is not None:
                self._done.set_exception(self._cursor.failed)
        except Exception as error:  # noqa: BLE001 - supervisor boundary: it costs this turn, not the stream
            self._done.set_exception(error)


async def _whole(work: Coroutine[Any, Any, T]) -> T:
    """Raises InternalError where the store does not work."""
    try:
        return await work
    except OSError:
        log.exception("the sessions cannot be read")
        raise InternalError("the sessions cannot be read or written; the log of the server says why") from None


def _key(request: Request) -> Key:
    """Raises BadRequest for what a session cannot do."""
    if request.chat is None or not ids.valid(request.chat):
        raise BadRequest(
            "a session needs its id: chat, or the header x-tidewire-session, 1 to 64 of A-Z a-z 0-9 _ -", param="chat"
        )
    if request.n != 1:
        raise BadRequest(f"n is {request.n}; in a session, each turn has one answer", param="n")
    if any(m.role == "assistant" for m in request.messages):
        raise BadRequest(
            "the request brings answers of its own, and those of its session would stand beside them; send only what is new, or "
            "leave the session out",
            code="session_and_history",
            param="messages",
        )
    if not any(m.role != "system" for m in request.messages):
        raise BadRequest("there is nothing new in messages", param="messages")
    return (request.tenant, request.user, request.chat)


def _unknown(name: str) -> NotFound:
    return NotFound(f"there is no session {name[:80]}, or not any more", code="unknown_session")
