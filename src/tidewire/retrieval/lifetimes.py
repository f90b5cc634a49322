"""How long documents are served: by the source that brought them, by where they lie, or by what they are; and by which clock they go."""

from __future__ import annotations

from collections.abc import Mapping
from fnmatch import fnmatchcase
from typing import Final

SOURCE: Final = "source:"
PATH: Final = "path:"
LEAP: Final = 60.0  # seconds that a clock gains at once where it was set, and not merely corrected
HELD: Final = 3600.0  # seconds in which whoever set it wrongly may set it right


class Lifetimes:
    """rules: "source:NAME", "path:GLOB" (of a location; * passes over /) or a media type, each with its seconds.

    The nearest rule counts: that of the source, else the first glob that fits, else that of the media type. None: no end.
    """

    def __init__(self, rules: Mapping[str, float] | None = None) -> None:
        self.rules = dict(rules or {})
        self._globs = [(rule[len(PATH) :], seconds) for rule, seconds in self.rules.items() if rule.startswith(PATH)]

    def seconds(self, source: str, location: str, kind: str) -> float | None:
        found = self.rules.get(SOURCE + source) if source else None
        if found is None:
            found = next((seconds for glob, seconds in self._globs if fnmatchcase(location, glob)), None)
        return found if found is not None else self.rules.get(kind)


class Doubted:
    """The clock, as far as it is believed where something would be deleted by it: one that leaps ahead may be set back, and what it has
    ended meanwhile would be gone for good. Sans-I/O: the times are given.
    """

    def __init__(self) -> None:
        self._usual: float | None = None  # Unix seconds at the zero of the steady clock
        self._since: float | None = None  # steady seconds at which it was first seen ahead

    def leapt(self, now: float, steady: float) -> bool:
        """now: Unix seconds. steady: seconds of a clock that nobody sets. True for an hour after a leap ahead; then it is believed."""
        zero = now - steady
        if self._usual is not None and zero > self._usual + LEAP:
            self._since = steady if self._since is None else self._since
            if steady < self._since + HELD:
                return True
        self._usual, self._since = zero, None
        return False
