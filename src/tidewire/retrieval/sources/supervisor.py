"""Keeps sources running: a task each, so that one that fails waits longer each time and stops no other."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Mapping
from typing import Final, Literal

import msgspec

from tidewire.core.errors import InternalError, TidewireError
from tidewire.retrieval.intake import Delivery, Intake, Report
from tidewire.retrieval.rights import grant
from tidewire.retrieval.sources.port import Source

log = logging.getLogger("tidewire.retrieval")

FIRST: Final = 5.0  # seconds until a failed source is tried again; twice as long each time
LONGEST: Final = 3600.0
SHOWN: Final = 20  # documents that were skipped and are named


class Watched(msgspec.Struct, frozen=True):
    """A source and how it is run. every: seconds between two passes, where nothing tells of changes. ttl: of its documents, in seconds.

    kind, place: what it is and where, for whoever looks. readers: groups of which one is needed to read what it brings; None: as each says.
    """

    source: Source
    namespace: str
    every: float
    ttl: float | None = None
    kind: str = ""
    place: str = ""
    readers: tuple[str, ...] | None = None


class State(msgspec.Struct):
    """How a source is. last, next: Unix seconds of its last whole pass and of the next. failures: since the last. report: of the last,
    or of the one that runs. every: seconds, as in the settings; None for what comes by itself.
    """

    name: str
    namespace: str
    kind: str = ""
    place: str = ""
    every: float | None = None
    next: float | None = None
    status: Literal["waiting", "running", "failing"] = "waiting"
    last: float | None = None
    failures: int = 0
    error: str = ""
    report: Report = msgspec.field(default_factory=Report)


class Supervisor:
    """found: called after a pass that changed something, with the namespace."""

    def __init__(
        self, intake: Intake, sources: Mapping[str, Watched], found: Callable[[str], None] = lambda namespace: None
    ) -> None:
        self._intake = intake
        self._sources = dict(sources)
        self._found = found
        self.states = {
            name: State(name, one.namespace, one.kind, one.place, one.every) for name, one in sources.items()
        }
        self._suspects: dict[str, dict[str, tuple[str, str]]] = {name: {} for name in sources}
        self._turns = {name: asyncio.Lock() for name in sources}
        self._tasks: list[asyncio.Task[None]] = []

    def start(self) -> None:
        self._tasks = [asyncio.create_task(self._keep(name, one)) for name, one in self._sources.items()]

    async def close(self) -> None:
        """What is in a batch that was not put yet comes again the next time."""
        for task in self._tasks:
            task.cancel()
        if self._tasks:
            await asyncio.wait(self._tasks)
        for watched in self._sources.values():
            await watched.source.close()

    async def once(self, name: str, *, again: bool = False) -> Report:
        """One pass, when the one that runs has ended. again: all of it is read and stored anew. Raises TidewireError."""
        watched, state = self._sources[name], self.states[name]
        async with self._turns[name]:
            suspects = self._suspects[name]
            delivery = Delivery(self._intake, watched.namespace, name, watched.ttl, again=again, suspects=suspects)
            report = delivery.report
            state.status, state.report = "running", report
            try:
                try:
                    if watched.readers is not None:
                        await grant(delivery, watched.readers)
                    await watched.source.run(delivery)
                finally:
                    await delivery.end()  # what it brought before it failed goes in
                state.error, state.failures, state.last = "", 0, time.time()
            except TidewireError as error:
                self._failed(state, error)
                raise
            except Exception:  # supervisor boundary: a defect in a source costs this pass only
                log.exception("a defect in a source", extra={"source": name})
                wrong = InternalError("something went wrong in the server; its log says what")
                self._failed(state, wrong)
                raise wrong from None
            finally:
                state.status = "failing" if state.failures else "waiting"
                report.skipped = report.skipped[:SHOWN]
                if report.indexed or report.removed:
                    self._found(watched.namespace)
            return report

    async def _keep(self, name: str, watched: Watched) -> None:
        state = self.states[name]
        while True:
            try:
                report = await self.once(name)
            except TidewireError:  # it is in the state, and in the log
                pause = min(LONGEST, FIRST * 2 ** min(state.failures - 1, 20))
                state.next = time.time() + pause
                await asyncio.sleep(pause)
                continue
            if report.indexed or report.removed or report.skipped:
                log.info("source read", extra={"source": name, "count": report.indexed + report.removed})
            state.next = time.time() + watched.every
            await watched.source.wait(watched.every)

    def _failed(self, state: State, error: TidewireError) -> None:
        state.error = error.message
        state.failures += 1
        self._intake.counted(state.name, "failed")
        log.warning("a source failed", extra={"source": state.name, "error": error, "count": state.failures})
