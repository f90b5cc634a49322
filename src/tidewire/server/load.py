"""How busy this process is: the share of one core's time that it uses, and what open streams more would add to it."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from typing import Final

# Seconds. Between two samples nearly all are let in or none: at 0.1 s these were bursts of beginnings that took more than the
# core has, and who was refused in one waited for them (p95 at three times capacity, in the world of test_load.py: 13 ms; now 3).
INTERVAL: Final = 0.02
WEIGHT: Final = 0.2  # of the newest sample: a tenth of a second is remembered
MEMORY: Final = 0.98  # weight of a sample against the one after it, for what a stream costs: about a second
FEW: Final = 20  # streams that tell nothing of the cost of one: what else the process does is shared among too few
# Seconds of the core for one refusal: its connection is accepted, read, answered and closed. 148 us on the machine of the
# benchmarks. Without it, many refusals would be taken for streams that had become dear, and fewer would be let in.
REFUSAL: Final = 150e-6
# And for the beginning of a stream. While many begin, what they take for it says nothing of what they will take.
START: Final = 500e-6
# Share of the core above the limit that refusals may take: half of what those of three times the load do. With 0.03 they took it
# from streams (73 to 97 % of the best rate's were served), with 0.1 some of them waited for 20 ms and more.
ROOM: Final = 0.06


class Load:
    """streams: how many are open now. starts, refusals: how many there have been so far."""

    def __init__(self, streams: Callable[[], int], starts: Callable[[], int], refusals: Callable[[], int]) -> None:
        self._streams = streams
        self._starts = starts
        self._refusals = refusals
        self._started = 0
        self._open = 0
        self._refused = 0
        self._handle: asyncio.TimerHandle | None = None
        self._spent = 0.0  # share that streams took, smoothed
        self._on = 0.0  # streams that took it, smoothed
        self._squares = self._products = 0.0  # decaying sums: streams by streams, streams by what they took
        self.share = 0.0  # of everything, smoothed

    def start(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._wall, self._used = time.monotonic(), time.process_time()
        self._handle = self._loop.call_later(INTERVAL, self._sample)

    def stop(self) -> None:
        if self._handle is not None:
            self._handle.cancel()

    @property
    def cost(self) -> float:
        """The share of the core that one open stream takes; 0 until there were enough of them."""
        return self._products / self._squares if self._squares else 0.0

    def expected(self, streams: int) -> float:
        """The share that so many open streams use, refusals apart; or all that is in use, where even refusing has no room left.

        A sample tells what was; who has come since it, or left, is counted here, and so is what their beginning takes.
        """
        begun = (self._starts() - self._started) * START * WEIGHT / INTERVAL
        return max(self._spent + (streams - self._on) * self.cost + begun, self.share - ROOM)

    def take(self, share: float, streams: float, starts: float, refusals: float) -> None:
        """One sample: the share used while so many streams were open on average; how many began and were refused a second."""
        spent = max(0.0, share - refusals * REFUSAL)
        self.share += WEIGHT * (share - self.share)
        self._spent += WEIGHT * (spent - self._spent)
        self._on += WEIGHT * (streams - self._on)
        if streams >= FEW:
            self._squares = MEMORY * self._squares + streams * streams
            self._products = MEMORY * self._products + streams * max(0.0, spent - starts * START)

    def _sample(self) -> None:
        wall, used = time.monotonic(), time.process_time()
        streams, started, refused = self._streams(), self._starts(), self._refusals()
        seconds = max(wall - self._wall, 1e-6)
        self.take(
            (used - self._used) / seconds,
            (self._open + streams) / 2,
            (started - self._started) / seconds,
            (refused - self._refused) / seconds,
        )
        self._wall, self._used, self._open = wall, used, streams
        self._started, self._refused = started, refused
        self._handle = self._loop.call_later(INTERVAL, self._sample)
