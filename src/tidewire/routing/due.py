"""When an answer must be whole; and a first token that is due: whom that puts last, when a second candidate must be asked, and when
candidates have had their time.
"""

from __future__ import annotations

import math
from typing import Final

from tidewire.core.request import Request
from tidewire.routing.health import Healths

FAREWELL: Final = 0.002  # seconds before it is due: who gives up by then can still say itself what was tried
HALF: Final = 0.5  # of the time: for a model of which nothing is known; the most for the last resort
QUARTER: Final = 0.25  # of the time: for the last resort while nothing is known of it


def deadline(request: Request, limit: float, now: float) -> float:
    """When the answer must be whole, on the clock of the route. limit: seconds, where the request sets no time limit.

    A stream's own deadline counts what was spent before this answer: searching, and earlier rounds of tools.
    """
    mine = now + min(request.time_limit or limit, limit)
    return mine if request.deadline is None else min(mine, request.deadline)


class Due:
    """by: when the first token must have come, on the clock of the route; None where nobody says.

    latest: when the candidates have had their time; `instead`, the model that answers when they cannot, has the rest.
    """

    __slots__ = ("_healths", "latest")

    def __init__(self, by: float | None, now: float, *, instead: str, healths: Healths) -> None:
        self._healths = healths
        self.latest = math.inf
        if by is not None and by > now:
            time = by - now
            usual = healths[instead].times.quantile(0.95, now) if instead else 0.0
            needed = time * QUARTER if usual is None else max(FAREWELL, usual)
            self.latest = by - min(needed, time * HALF)

    def lift(self) -> None:
        """Words have passed, or nobody else is left to be asked."""
        self.latest = math.inf

    def slow(self, model: str, now: float) -> bool:
        """Whether it mostly takes longer than there is time."""
        if math.isinf(self.latest):
            return False
        return (self._healths[model].times.quantile(0.5, now) or 0.0) >= self.latest - now

    def rush(self, model: str, now: float) -> float | None:
        """Seconds after which it must have been asked, beside whoever has said nothing yet; None: there is time, or too little."""
        if math.isinf(self.latest) or self.slow(model, now):
            return None
        left = self.latest - now
        usual = self._healths[model].times.quantile(0.95, now)
        return max(0.0, left - (left * HALF if usual is None else usual))
