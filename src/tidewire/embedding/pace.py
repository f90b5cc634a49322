"""How long a batch takes: a straight line through what batches took, learned as they end."""

from __future__ import annotations

from typing import Final

MEMORY: Final = 0.95  # of the weight of a batch, each time that a later one ends


class Pace:
    """seconds(units) = fixed + each * units. units: the sizes of a batch's texts added up; what a unit is, the caller chooses.

    fixed and each: what is believed, in seconds, before anything was measured.
    """

    def __init__(self, fixed: float, each: float) -> None:
        self.fixed = fixed
        self.each = each
        self._weight = self._x = self._y = self._xx = self._xy = 0.0

    def seconds(self, units: int) -> float:
        return self.fixed + self.each * units

    def learn(self, units: int, seconds: float) -> None:
        """A batch of this size took so long. Least squares; neither coefficient falls below 0."""
        self._weight = self._weight * MEMORY + 1
        self._x = self._x * MEMORY + units
        self._y = self._y * MEMORY + seconds
        self._xx = self._xx * MEMORY + units * units
        self._xy = self._xy * MEMORY + units * seconds
        x, y = self._x / self._weight, self._y / self._weight
        spread = self._xx / self._weight - x * x
        if spread > 1e-3 * x * x:
            self.each = max(0.0, (self._xy / self._weight - x * y) / spread)
        else:  # batches of one size say nothing of the slope: what is believed of it stays, as far as it fits
            self.each = min(self.each, y / x) if x else self.each
        self.fixed = y - self.each * x
        if self.fixed < 0.0:
            self.fixed = 0.0
            self.each = self._xy / self._xx if self._xx else self.each
