"""How busy this process is: the share of one core's time that it used of late."""

from __future__ import annotations

import asyncio
import time
from typing import Final

INTERVAL: Final = 0.1  # seconds: short enough that a ramp of 300 streams a second overshoots by a few dozen
WEIGHT: Final = 0.5  # of the newest sample


class Load:
    def __init__(self) -> None:
        self.share = 0.0
        self._handle: asyncio.TimerHandle | None = None

    def start(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._wall, self._used = time.monotonic(), time.process_time()
        self._handle = self._loop.call_later(INTERVAL, self._sample)

    def stop(self) -> None:
        if self._handle is not None:
            self._handle.cancel()

    def _sample(self) -> None:
        wall, used = time.monotonic(), time.process_time()
        now = (used - self._used) / max(wall - self._wall, 1e-6)
        self.share += WEIGHT * (now - self.share)
        self._wall, self._used = wall, used
        self._handle = self._loop.call_later(INTERVAL, self._sample)
