"""Where a text that was cut off goes on: what the next model says again of it is taken away, as it streams. Pure.

A model that is told to go on is asked to begin with the last words, the anchor, so that the seam can be found: what comes up to
the anchor's end is said already. Some begin from the very start again, some put a line before it, some open the code
fence a second time. A model that goes on from a prefill repeats nothing, and nothing is looked for.
"""

from __future__ import annotations

import re
from typing import Final

ANCHOR: Final = 60  # characters of the end that are asked for again
KNOWN: Final = 12  # characters that are no coincidence
HEAD: Final = 32  # characters by which a beginning is known again
WINDOW: Final = 200  # characters that may stand before the anchor

_LINE = re.compile(r"\s*(?:continu|resum|picking up|going on)[^\n]{0,80}(?::|\.\.\.|…)[ \t]*\n+", re.IGNORECASE)
_OPENED = re.compile(r"\s*```\w*[ \t]*\n")
_FENCE = re.compile(r"\s*`{0,3}\s*\Z")


def anchor(said: str) -> str:
    """The last words of the text, from the beginning of a word on where there is one."""
    if len(said) <= ANCHOR:
        return said
    end = said[-ANCHOR:]
    gap = re.search(r"\s\S", end)
    return end[gap.start() + 1 :] if gap and len(end) - gap.start() > KNOWN else end


class Seam:
    """Takes a continuation piece by piece and gives what is new in it.

    prefilled: the model was given `said[:-len(space)]` as its own beginning; space: the white space at its end, which hosts do not
    take there and models say again. found: it is known where what is new begins. dropped: characters taken away so far. lost: no seam can be found, for the model began
    again and said something else; nothing more is given.
    """

    def __init__(self, said: str, *, prefilled: bool = False) -> None:
        self.dropped = 0
        self.lost = False
        self._said = said
        self._anchor = said[len(said.rstrip()) :] if prefilled else anchor(said)
        self._prefilled = prefilled
        self._held = ""
        self.found = not self._anchor
        self._fenced = False

    def feed(self, text: str) -> str:
        if self.found and not self._fenced:
            return text
        self._held += text
        return self._take(last=False)

    def end(self) -> str:
        """What was still held back."""
        return self._take(last=True)

    def _take(self, *, last: bool) -> str:
        if self.lost:
            return ""
        if not self.found:
            cut = self._begins(last=last) if self._prefilled else self._goes_on(last=last)
            if cut is None:
                return ""
            self.found = True
            self.dropped = cut
            before, self._held = self._held[:cut], self._held[cut:]
            self._fenced = "```" in before and "```" not in self._said
        new, self._held = self._held, ""
        if self._fenced and (fence := _FENCE.search(new)):
            new, held = new[: fence.start()], new[fence.start() :]
            self._held = "" if last else held
        return new

    def _begins(self, *, last: bool) -> int | None:
        """How much of the white space is said again."""
        space, held = self._anchor, self._held
        same = _common(space, held)
        return same if last or same < min(len(space), len(held)) or same == len(space) else None

    def _goes_on(self, *, last: bool) -> int | None:
        """Where what is new begins. None: not to be said yet, or never, where `lost` is set."""
        said, held, end = self._said, self._held, self._anchor
        if held.startswith(end):
            return len(end)
        full = len(held) >= WINDOW + ANCHOR
        if not last and end.startswith(held):
            return None
        if len(said) > KNOWN and (at := held.find(said[:HEAD], 0, WINDOW + HEAD)) >= 0 and _prologue(held[:at]):
            same = _common(said, held[at:])
            if same == len(said):
                return at + same
            if at + same == len(held) and not last:
                return None
            if (full or last) and held.find(end, 0, WINDOW + ANCHOR) < 0:
                self.lost = True
                return None
        if not last and not full:
            return None
        if len(end) >= KNOWN and (at := held.find(end, 0, WINDOW + ANCHOR)) >= 0:
            return at + len(end)
        blank = len(held) - len(held.lstrip())
        for size in range(min(len(said), len(held) - blank), KNOWN - 1, -1):
            if said.endswith(held[blank : blank + size]):
                return blank + size
        line, fence = _LINE.match(held), _OPENED.match(held)
        for before in (line, fence):
            if before and held.startswith(end, before.end()):
                return before.end() + len(end)
        return line.end() if line else 0


def _prologue(before: str) -> bool:
    """Whether an answer may begin anew behind it: nothing, or whole lines."""
    return not before.strip() or before.endswith("\n")


def _common(one: str, other: str) -> int:
    """Characters that both begin with."""
    size = min(len(one), len(other))
    if one[:size] == other[:size]:
        return size
    return next(n for n in range(size) if one[n] != other[n])
