"""Who may start now. Refusing early is cheap; a stream that cannot be served in time costs everybody."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Final

import msgspec

from tidewire.core.errors import Overloaded, ShuttingDown

SAMPLE: Final = 0.5  # seconds for which a sum over all streams is good enough


class Limits(msgspec.Struct, frozen=True):
    """streams: open at once. memory_bytes: held by the logs of all streams. busy: share of one core's time, 0 to 1, above
    which new streams are refused (1 or more: never), but only while at least busy_streams are open: few streams that
    come and go may well use a whole core, and delay nobody.
    """

    streams: int = 2000
    memory_bytes: int = 512 * 1024 * 1024
    busy: float = 0.85
    busy_streams: int = 100


class Admission:
    """load: the share of its core that this process will use with so many streams, 0 to 1. held: bytes of log in memory."""

    def __init__(
        self,
        limits: Limits,
        *,
        load: Callable[[int], float],
        held: Callable[[], int],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._limits = limits
        self._load = load
        self._held = held
        self._clock = clock
        self.draining = False
        self._held_bytes = 0
        self._asked = 0.0

    def check(self, streams: int) -> None:
        """Raises Overloaded (429) or ShuttingDown (503), with when to come back."""
        limits = self._limits
        if self.draining:
            raise ShuttingDown("this server is shutting down and starts no new streams; try again", retry_after=2.0)
        if streams >= limits.streams:
            raise Overloaded(
                f"{streams} of {limits.streams} streams are open (limits.streams); try again soon", retry_after=1.0
            )
        if streams >= limits.busy_streams and (busy := self._load(streams + 1)) > limits.busy:
            raise Overloaded(
                f"with one stream more this server would be {busy:.0%} busy, above its limit of {limits.busy:.0%} (limits.busy); try again soon",
                retry_after=1.0,
            )
        now = self._clock()
        if now - self._asked > SAMPLE:
            self._asked, self._held_bytes = now, self._held()
        if self._held_bytes > limits.memory_bytes:
            raise Overloaded(
                f"the streams in memory hold {self._held_bytes >> 20} of {limits.memory_bytes >> 20} MiB (limits.memory_bytes); try again later",
                retry_after=5.0,
            )
