"""The desk: start, follow, cancel. It knows the runs of this process; what has ended is the log's."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable, Sequence

import msgspec

from tidewire.core import ids
from tidewire.core.errors import BadRequest, Conflict, Overloaded, TidewireError
from tidewire.core.events import Reason
from tidewire.core.meter import Meter
from tidewire.core.ports import Cursor, Log, Meta, ModelInfo, Provider, Stage, Step
from tidewire.core.request import GRACE, Request
from tidewire.engine.admission import Admission
from tidewire.engine.following import Audience, Following
from tidewire.engine.plan import SHOWN, Plans, waited
from tidewire.engine.recovery import BROKEN, LOST, end_orphans
from tidewire.engine.run import Run

log = logging.getLogger("tidewire.desk")

Key = tuple[str, str]


class Terms(msgspec.Struct, frozen=True):
    """What a stream may take. Seconds and bytes. keep: how long an ended stream can be read.

    ahead: events that an answer may run ahead of its furthest reader before its host is not read (0: without end).
    """

    stream_s: float = 1800.0
    stream_bytes: int = 16 * 1024 * 1024
    stream_events: int = 500_000
    keep_s: float = 900.0
    readers: int = 64
    ahead: int = 0


class Desk:
    """Implements `core.ports.Desk`.

    clock: seconds, for what is measured; not the event loop's own, which uvloop counts in whole milliseconds.
    find_provider: the provider for a model name, and its own name for it; raises UnknownModel. stages: made afresh for each request.
    """

    def __init__(
        self,
        log: Log,
        *,
        find_provider: Callable[[str], Awaitable[tuple[Provider, str]]],
        models: Callable[[], Awaitable[Sequence[ModelInfo]]],
        admission: Admission,
        stages: Callable[[Request], list[Stage]],
        steps: Sequence[Step],
        terms: Terms,
        meter: Meter,
        projection: Callable[[str], str],
        plans: Plans | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._log = log
        self._find_provider = find_provider
        self._models = models
        self._admission = admission
        self._stages = stages
        self._steps = steps
        self._terms = terms
        self._meter = meter
        self._projection = projection
        self._plans = plans or Plans()
        self._clock = clock
        self._runs: dict[Key, tuple[Run, Audience]] = {}
        self._closing: set[asyncio.Task[None]] = set()
        self._unended: list[Meta] = []  # whose end could not be stored
        self._loop = asyncio.get_running_loop()

    # What a door needs

    def admit(self) -> None:
        """Raises Overloaded or ShuttingDown where no stream may start now."""
        try:
            self._admission.check(len(self._runs))
        except TidewireError as error:
            self._meter.refused(error.kind)
            raise

    async def start(self, request: Request) -> Meta:
        self.admit()
        began, plan = self._clock(), self._plans.of(request)
        try:
            provider, name = await self._find_provider(request.model)
        except TidewireError as error:
            self._meter.refused(error.kind)
            raise
        self.admit()  # the model may have been waited for, and others with it
        stream = request.stream or ids.new("st")
        if not ids.valid(stream):
            raise BadRequest("stream may have 1 to 64 of the characters A-Z a-z 0-9 _ -", param="stream")
        key = (request.tenant, stream)
        if key in self._runs:
            raise Conflict(f"stream {stream} exists already; follow it, or start one with another id", param="stream")
        policy = request.on_disconnect or GRACE
        meta = Meta(
            stream=stream,
            tenant=request.tenant,
            model=request.model,
            created=_now(),
            dialect=request.dialect,
            projection=self._projection(request.dialect),
            on_disconnect=str(policy),
            durability=self._log.durability,
            chat=request.chat,
            record=request.record,
        )
        limit = min(request.time_limit or plan.total or self._terms.stream_s, self._terms.stream_s)
        request.deadline = began + limit
        request.first_by = None if plan.patience is None else self._clock() + plan.patience
        request.search_s = plan.search
        run = Run(
            msgspec.structs.replace(request, model=name, stream=stream),
            meta,
            provider=provider,
            steps=self._steps,
            stages=self._stages(request),
            time_limit=limit,
            size_limit=self._terms.stream_bytes,
            event_limit=self._terms.stream_events,
            meter=self._meter,
            loop=self._loop,
            clock=self._clock,
            done=self._done,
            plan=plan,
            spans=waited(plan, request.edge, self._clock() - began),
        )
        audience = Audience(run, policy, self._loop, ahead=self._terms.ahead)
        self._runs[key] = (run, audience)  # the id is taken from here on
        try:
            # A meta of its own: the run's says that it has ended before that is stored, and perhaps cannot be.
            writer = await self._log.open(msgspec.structs.replace(meta), run.fail)
        except BaseException:
            del self._runs[key]
            audience.disband()
            run.ended.set()  # who waits for its end need not: it never began
            run.closed.set()
            raise
        run.begin(writer, audience)
        audience.expect()
        return meta

    async def follow(
        self, tenant: str, stream: str, after: int, wake: Callable[[], None], *, counts: bool = True
    ) -> Cursor:
        if after < 0:
            raise BadRequest(f"a cursor is 0 or more, this one is {after}", param="after")
        found = self._runs.get((tenant, stream))
        if found is not None and found[1].readers >= self._terms.readers:
            raise Overloaded(
                f"stream {stream} has {found[1].readers} of {self._terms.readers} readers (limits.readers)",
                retry_after=2.0,
            )
        cursor = await self._log.cursor(tenant, stream, after, wake)
        found = self._runs.get((tenant, stream))
        audience = found[1] if found is not None and counts else None
        return Following(cursor, audience, self._meter)

    def showing(self, tenant: str, stream: str) -> Callable[[float | None], None] | None:
        found = self._runs.get((tenant, stream))
        return found[0].shown if found is not None and found[0].plan.terms.keys() & SHOWN else None

    async def cancel(self, tenant: str, stream: str, reason: Reason = "client") -> bool:
        found = self._runs.get((tenant, stream))
        if found is None or found[0].ended.is_set():
            await self._log.meta(tenant, stream)  # raises for a stream that is not there
            return False
        run, _ = found
        run.stop(reason)
        await run.ended.wait()
        if not run.last:  # its log could not be opened
            await self._log.meta(tenant, stream)
        return True

    async def meta(self, tenant: str, stream: str) -> Meta:
        found = self._runs.get((tenant, stream))
        if found is not None:
            found[0].meta.last = found[0].last
            return found[0].meta
        return await self._log.meta(tenant, stream)

    async def find(self, tenant: str, *, chat: str | None = None, limit: int = 50) -> list[Meta]:
        return await self._log.find(tenant, chat=chat, limit=limit)

    async def delete(self, tenant: str, stream: str) -> None:
        found = self._runs.get((tenant, stream))
        if found is not None:
            found[0].stop("client")
            await found[0].closed.wait()
        await self._log.delete(tenant, stream)

    async def models(self) -> Sequence[ModelInfo]:
        return await self._models()

    # What the server needs

    @property
    def open_streams(self) -> int:
        return len(self._runs)

    async def recover(self, orphans: Sequence[Meta]) -> None:
        """End the streams that a killed server left open: what was said is kept, and each gets its one last event."""
        self._unended = await end_orphans(self._log, orphans, LOST, now=_now(), expires=self._expiry())

    async def sweep(self) -> int:
        """To be called now and then: end what a full disk left open, and forget what is over its time. Returns how many."""
        if self._unended:
            orphans, self._unended = self._unended, []
            self._unended += await end_orphans(self._log, orphans, BROKEN.info(), now=_now(), expires=self._expiry())
        return await self._log.expire(_now())

    async def drain(self, seconds: float) -> None:
        """Take no new streams, give the open ones this long, then end them with a retryable error. Returns when all are stored."""
        self._admission.draining = True
        waiting = [run.closed.wait() for run, _ in self._runs.values()]
        if waiting:
            try:
                await asyncio.wait_for(asyncio.gather(*waiting), seconds)
            except TimeoutError:
                left = [run for run, _ in self._runs.values()]
                for run in left:
                    run.stop("shutdown")
                await asyncio.gather(*(run.closed.wait() for run in left))
        if self._closing:
            await asyncio.wait(set(self._closing))

    def _done(self, run: Run) -> None:
        """A run has written its last event: let the log put it away."""
        task = self._loop.create_task(self._put_away(run))
        self._closing.add(task)
        task.add_done_callback(self._closing.discard)

    async def _put_away(self, run: Run) -> None:
        key = (run.meta.tenant, run.meta.stream)
        try:
            await run.store(self._expiry())
        except Exception:  # supervisor boundary: the log broke; readers are told by their cursors
            log.exception("the end of a stream could not be stored", extra={"stream": run.meta.stream})
            self._unended.append(run.meta)
        finally:
            found = self._runs.pop(key, None)
            if found is not None:
                found[1].disband()
            run.closed.set()

    def _expiry(self) -> int:
        return _now() + int(self._terms.keep_s * 1000)


def _now() -> int:
    """Unix milliseconds."""
    return time.time_ns() // 1_000_000
