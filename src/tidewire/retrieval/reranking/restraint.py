"""When a reranker that fails is not asked for a while, so that questions need not wait to learn it again. Sans-I/O: times are given, in seconds."""

from __future__ import annotations

from typing import Final

IN_A_ROW: Final = 3  # failures, until there is a pause
FIRST: Final = 1.0  # seconds of the first pause; each further one is twice as long
LONGEST: Final = 30.0


class Restraint:
    """After a pause one question tries it; the others do without until that one has come back, or its pause is over too."""

    def __init__(self) -> None:
        self.failures = 0  # in a row
        self._until = 0.0
        self._decided = 0.0  # when the last pause began
        self._pause = FIRST

    def allows(self, now: float) -> bool:
        """Whether this question may be asked; to be called once for each."""
        if now < self._until:
            return False
        if self.failures >= IN_A_ROW:
            self._until = now + self._pause
        return True

    def succeeded(self) -> None:
        self.failures = 0
        self._until = 0.0
        self._pause = FIRST

    def failed(self, began: float, now: float, wait: float = 0.0) -> None:
        """began: when it was asked; what was on its way when the last pause began says nothing new. wait: as long as the host asks for."""
        if began < self._decided:
            return
        self.failures += 1
        pause = wait
        if self.failures >= IN_A_ROW:
            pause = max(wait, self._pause)
            self._pause = min(2 * self._pause, LONGEST)
        if pause > 0:
            self._until = now + min(pause, LONGEST)
            self._decided = now
