"""Whether requests wait here for too long: a short burst is no overload, a queue that never empties is."""

from __future__ import annotations

from typing import Final

INTERVAL: Final = 0.5  # seconds: ten readings of the loop's lateness; a burst that is over by then is served


class QueueTime:
    """Over its limit once every reading of a whole interval was; the first one below it ends that.

    After CoDel (Nichols and Jacobson, ACM Queue 2012): what counts is the least wait of an interval, which a burst leaves
    low and a standing queue does not. limit: seconds; 0: never over.
    """

    __slots__ = ("_interval", "_since", "limit", "now")

    def __init__(self, limit: float, interval: float = INTERVAL) -> None:
        self.limit = limit
        self.now = 0.0  # seconds, the last reading
        self._interval = interval
        self._since: float | None = None

    def observe(self, seconds: float, at: float) -> None:
        """How long something that was due had waited, measured at `at`."""
        self.now = seconds
        if not self.limit or seconds <= self.limit:
            self._since = None
        elif self._since is None:
            self._since = at - seconds  # it has been late since it was due

    def over(self, at: float) -> bool:
        return self._since is not None and at - self._since >= self._interval
