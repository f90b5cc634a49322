"""How many tries beyond the first a route may make, so that a host in trouble is not asked all the more. Sans-I/O."""

from __future__ import annotations

from typing import Final

HALF_LIFE: Final = 60.0  # seconds after which a request counts half
FEW: Final = 50.0  # requests of late: a share of fewer is too little to help anybody
LENT: Final = 10.0  # tries that may be spent while there are so few


class Budget:
    """A bucket of tries: each request puts `share` of one in, each further try takes one out, and both are forgotten with time.

    With 50 requests of late or more, further tries are never above the share. With fewer, up to 10 are lent.
    """

    __slots__ = ("_last", "_requests", "_spent", "share")

    def __init__(self, share: float) -> None:
        self.share = share
        self._requests = self._spent = 0.0
        self._last = 0.0

    def request(self, now: float) -> None:
        self._decay(now)
        self._requests += 1

    def take(self, now: float) -> bool:
        """True where one more try may be made; it counts from here on."""
        self._decay(now)
        allowed = self.share * self._requests
        if self._requests < FEW and self.share:
            allowed = LENT
        if self._spent + 1 > allowed:
            return False
        self._spent += 1
        return True

    def _decay(self, now: float) -> None:
        kept = 0.5 ** (max(0.0, now - self._last) / HALF_LIFE)
        self._requests *= kept
        self._spent *= kept
        self._last = now
