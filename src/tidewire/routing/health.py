"""How each model does: its times to the first token, what is under way, its breaker. Sans-I/O: the time is given, in seconds.

Peak EWMA as Finagle's load balancer keeps it: a slow answer counts at once, a quick one little by little.
"""

from __future__ import annotations

import bisect
import itertools
import math
from typing import Final

from tidewire.routing.breaker import Breaker

BOUNDS: Final = tuple(0.001 * 1.15**n for n in range(96))  # seconds, 1 ms to about 10 minutes: quantiles to 15 %
HALF_LIFE: Final = 120.0  # seconds after which a time counts half
TAU: Final = 10.0  # seconds in which the peak falls to a third
PENALTY: Final = 1.0  # seconds, the least that a failure counts as
MANY: Final = 10_000  # models whose health is kept


class Times:
    """Quantiles of times to the first token that forget."""

    __slots__ = ("_counts", "_last", "_total")

    def __init__(self) -> None:
        self._counts = [0.0] * (len(BOUNDS) + 1)
        self._total = 0.0
        self._last = 0.0

    def add(self, seconds: float, now: float) -> None:
        """Cheap however many there were: a newer time weighs more, and all are scaled down now and then."""
        weight = 2.0 ** ((now - self._last) / HALF_LIFE)
        if weight > 1e6 or not self._total:
            kept = 1 / weight if self._total else 0.0
            self._counts = [c * kept for c in self._counts]
            self._total *= kept
            self._last = now
            weight = 1.0
        self._counts[bisect.bisect_left(BOUNDS, seconds)] += weight
        self._total += weight

    def weight(self, now: float) -> float:
        """How many times it stands for, as they count now."""
        return self._total * math.exp2(-max(0.0, now - self._last) / HALF_LIFE)

    def quantile(self, q: float, now: float) -> float | None:
        """Seconds; None where too little is known of late."""
        if self.weight(now) < 0.5:
            return None
        at = bisect.bisect_left(list(itertools.accumulate(self._counts)), q * self._total)
        return BOUNDS[min(at, len(BOUNDS) - 1)]


class Health:
    """One model's. in_flight: tries that wait for or read an answer."""

    __slots__ = ("_at", "_peak", "breaker", "failures", "in_flight", "times", "tries")

    def __init__(self) -> None:
        self.breaker = Breaker()
        self.times = Times()
        self.in_flight = 0
        self.tries = 0
        self.failures = 0
        self._peak = 0.0
        self._at = 0.0

    def spoke(self, seconds: float, now: float) -> None:
        """The first token came after `seconds`."""
        self.times.add(seconds, now)
        self._observe(seconds, now)

    def late(self, seconds: float, now: float) -> None:
        """It had not spoken after `seconds`, when nobody waited any more."""
        if seconds > self.peak(now):
            self._observe(seconds, now)

    def missed(self, seconds: float, now: float) -> bool:
        """It had not spoken after `seconds`, when its first token was due: it counts as twice as long, for how long it would have
        taken nobody knows. True where that is far from usual for it.
        """
        usual = self.times.quantile(0.95, now)
        self.spoke(2 * seconds, now)
        return usual is not None and seconds > 2 * usual

    def erred(self, seconds: float, now: float) -> None:
        """It failed after `seconds`: a host that refuses at once is not a quick one."""
        self.failures += 1
        self._observe(max(seconds, PENALTY, 2 * self.peak(now)), now)

    def peak(self, now: float) -> float:
        return self._peak * math.exp(-max(0.0, now - self._at) / TAU)

    def load(self, now: float) -> float:
        """What a further request is likely to cost: lower is better; 0 where nothing is known and nothing is under way."""
        peak = self.peak(now)
        typical = self.times.quantile(0.5, now) or 0.0
        cost = max(peak, typical)
        if not cost and self.in_flight:
            cost = PENALTY
        return cost * (self.in_flight + 1)

    def _observe(self, seconds: float, now: float) -> None:
        peak = self._peak
        if seconds >= peak:
            self._peak = seconds
        else:
            kept = math.exp(-max(0.0, now - self._at) / TAU)
            self._peak = peak * kept + seconds * (1 - kept)
        self._at = now


class Healths:
    """By model name, kept when the routes are replaced."""

    def __init__(self) -> None:
        self._of: dict[str, Health] = {}

    def __getitem__(self, model: str) -> Health:
        found = self._of.get(model)
        if found is None:
            if len(self._of) >= MANY:
                self._of.pop(next(iter(self._of)))
            found = self._of[model] = Health()
        return found

    def items(self) -> list[tuple[str, Health]]:
        return list(self._of.items())
