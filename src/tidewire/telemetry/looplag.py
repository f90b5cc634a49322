"""How late the event loop runs: a timer that should fire every 50 ms, and how much later it did."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Final

INTERVAL: Final = 0.05  # seconds


class LoopLag:
    """Measures from start() to stop(); observe gets each lateness in seconds.

    seconds: how late it runs now. The smaller of the last two readings, so that one long callback is not taken for
    overload; meant for refusing work.
    """

    def __init__(self, observe: Callable[[float], None], interval: float = INTERVAL) -> None:
        self.seconds = 0.0
        self._observe = observe
        self._interval = interval
        self._last = 0.0
        self._timer: asyncio.TimerHandle | None = None

    def start(self) -> None:
        """On the running loop."""
        self.stop()
        self._arm(asyncio.get_running_loop())

    def stop(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _arm(self, loop: asyncio.AbstractEventLoop) -> None:
        due = loop.time() + self._interval
        self._timer = loop.call_at(due, self._fired, loop, due)

    def _fired(self, loop: asyncio.AbstractEventLoop, due: float) -> None:
        late = max(0.0, loop.time() - due)
        self.seconds = min(late, self._last)
        self._last = late
        self._observe(late)
        self._arm(loop)
