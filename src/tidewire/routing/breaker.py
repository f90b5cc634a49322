"""When a model is not asked for a while, and when it is tried again. Sans-I/O: the time is given, in seconds."""

from __future__ import annotations

from typing import Final, Literal

State = Literal["closed", "half_open", "open"]

LEAST: Final = 5.0  # answers of late, without which no share means anything
HALF_LIFE: Final = 30.0  # seconds after which an answer counts half
LONGEST: Final = 16  # times the first pause


class Breaker:
    """closed: asked. open: not asked until a pause is over. half-open: one probe is under way or may be, and its end decides.

    Each try is `begin`, then one of `succeeded`, `failed` or `dropped` (it was cancelled and says nothing).
    """

    __slots__ = ("_bad", "_good", "_last", "_pause", "_probing", "_until")

    def __init__(self) -> None:
        self._good = self._bad = 0.0
        self._last = 0.0
        self._until: float | None = None  # set: open, or half-open once it has passed
        self._pause = 0.0
        self._probing = False

    def state(self, now: float) -> State:
        if self._until is None:
            return "closed"
        return "open" if now < self._until else "half_open"

    def allows(self, now: float) -> bool:
        return self._until is None or (now >= self._until and not self._probing)

    def wait(self, now: float) -> float:
        """Seconds until it may be asked again; 0 where it may be now, or a probe is under way."""
        return 0.0 if self._until is None else max(0.0, self._until - now)

    def begin(self, now: float) -> bool:
        """Whether this try is the probe; to be handed back with its end."""
        self._probing = self._until is not None
        return self._probing

    def succeeded(self, now: float, *, probe: bool) -> None:
        self._decay(now)
        if probe:
            self._until = None
            self._probing = False
            self._good = self._bad = self._pause = 0.0
        self._good += 1

    def failed(self, now: float, *, probe: bool, share: float, pause: float) -> None:
        """share: of failures, that opens it. pause: seconds that it stays open the first time."""
        self._decay(now)
        self._bad += 1
        if probe:
            self._probing = False
            self._pause = min(self._pause * 2, pause * LONGEST) if self._pause else pause
            self._until = now + self._pause
        elif self._until is None:
            total = self._good + self._bad
            if total > LEAST - 0.5 and self._bad >= share * total:
                self._pause = pause
                self._until = now + pause

    def dropped(self, *, probe: bool) -> None:
        if probe:
            self._probing = False

    def _decay(self, now: float) -> None:
        kept = 0.5 ** (max(0.0, now - self._last) / HALF_LIFE)
        self._good *= kept
        self._bad *= kept
        self._last = now
