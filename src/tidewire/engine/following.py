"""Who reads a running stream, and what it means when nobody does any more."""

from __future__ import annotations

import asyncio
from typing import Protocol

from tidewire.core.events import Entry, Reason
from tidewire.core.meter import Meter
from tidewire.core.ports import Cursor
from tidewire.core.request import DisconnectPolicy


class Stoppable(Protocol):
    def stop(self, reason: Reason) -> None: ...


class Audience:
    """The readers of one run. When the last one leaves, or none has come in time, its disconnect policy applies.

    ahead: events that the answer may run ahead of its furthest reader before its host is not read (0: without end).
    """

    def __init__(
        self, run: Stoppable, policy: DisconnectPolicy, loop: asyncio.AbstractEventLoop, *, ahead: int = 0
    ) -> None:
        self.readers = 0
        self.ahead = ahead
        self._furthest = 0
        self._caught_up: asyncio.Event | None = None  # while the answer waits for its readers
        self._run = run
        self._policy = policy
        self._loop = loop
        self._timer: asyncio.TimerHandle | None = None
        self._over = False

    def join(self) -> None:
        self.readers += 1
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def leave(self) -> None:
        self.readers -= 1
        if self.readers == 0 and not self._over:
            if self._policy.kind == "cancel":
                self._run.stop("disconnect")
            else:
                self.expect()

    def expect(self) -> None:
        """Somebody should come, within the grace where there is one."""
        if self.readers == 0 and self._policy.kind == "grace" and not self._over:
            if self._timer is not None:
                self._timer.cancel()
            self._timer = self._loop.call_later(self._policy.seconds, self._run.stop, "disconnect")

    def disband(self) -> None:
        """The run is over: nobody is waited for."""
        self._over = True
        if self._caught_up is not None:
            self._caught_up.set()
        if self._timer is not None:
            self._timer.cancel()
        del self._run  # which holds this: with it the stream would stay in memory until the collector looks

    def moved(self, seq: int) -> None:
        """A reader has come to seq."""
        if seq > self._furthest:
            self._furthest = seq
            if self._caught_up is not None:
                self._caught_up.set()

    def behind(self, last: int) -> bool:
        """Whether the answer, now at last, has run too far ahead of everybody."""
        return 0 < self.ahead <= last - self._furthest

    async def caught_up(self) -> None:
        """Returns when a reader has moved on."""
        self._caught_up = asyncio.Event()
        await self._caught_up.wait()


class Following:
    """A cursor that its stream's audience knows of."""

    __slots__ = ("_audience", "_cursor", "_meter", "_open", "take")

    def __init__(self, cursor: Cursor, audience: Audience | None, meter: Meter) -> None:
        self._cursor = cursor
        self._audience = audience
        self._meter = meter
        self._open = True
        # the hot call goes straight through, unless the answer waits for its readers
        self.take = self._take_and_tell if audience is not None and audience.ahead else cursor.take
        meter.reader(1)
        if audience is not None:
            audience.join()

    @property
    def seq(self) -> int:
        return self._cursor.seq

    @property
    def failed(self) -> Exception | None:
        return self._cursor.failed

    def close(self) -> None:
        if not self._open:
            return
        self._open = False
        self._cursor.close()
        self._meter.reader(-1)
        if self._audience is not None:
            self._audience.leave()

    def _take_and_tell(self, limit: int) -> list[Entry]:
        entries = self._cursor.take(limit)
        assert self._audience is not None
        self._audience.moved(self._cursor.seq)
        return entries
