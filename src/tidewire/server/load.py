"""How busy this process is: the share of one core's time that it uses, and what one open stream more would add to it."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from typing import Final

INTERVAL: Final = 0.1  # seconds
WEIGHT: Final = 0.5  # of the newest sample of the share
SLOWLY: Final = 0.2  # of the newest sample of what a stream costs: streams wait and speak in turn
FEW: Final = 20  # streams that tell nothing of the cost of one: what else the process does is shared among too few


class Load:
    """streams: how many are open now."""

    def __init__(self, streams: Callable[[], int]) -> None:
        self._streams = streams
        self._open = 0
        self._handle: asyncio.TimerHandle | None = None
        self.share = 0.0
        self.cost = 0.0  # share of the core for one open stream

    def start(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._wall, self._used = time.monotonic(), time.process_time()
        self._handle = self._loop.call_later(INTERVAL, self._sample)

    def stop(self) -> None:
        if self._handle is not None:
            self._handle.cancel()

    def expected(self, streams: int) -> float:
        """The share with this many open streams. A sample tells what was; streams that have come since it cost, too."""
        return max(self.share, streams * self.cost)

    def _sample(self) -> None:
        wall, used, open_now = time.monotonic(), time.process_time(), self._streams()
        self.take((used - self._used) / max(wall - self._wall, 1e-6), (self._open + open_now) / 2)
        self._wall, self._used, self._open = wall, used, open_now
        self._handle = self._loop.call_later(INTERVAL, self._sample)

    def take(self, share: float, streams: float) -> None:
        """One sample: the share used while so many streams were open on average."""
        self.share += WEIGHT * (share - self.share)
        if streams >= FEW:
            cost = share / streams
            self.cost += (SLOWLY if self.cost else 1.0) * (cost - self.cost)
