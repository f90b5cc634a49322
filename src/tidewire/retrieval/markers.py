"""Markers of passages in an answer, [1] or [1, 2], become citations of what is said before them. Pure.

Nothing is held back: text passes at once and unchanged, and the citation follows as soon as its marker is known to be one.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from typing import Final

from tidewire.core.events import Citation, Delta, Edit, Event, PartEnded, PartStarted

LONGEST: Final = 40  # characters of a marker
BETWEEN: Final = frozenset(".,;:!?)-*#>")  # no sentence begins with them
_MARKER: Final = re.compile(r"\[ ?\d{1,3}(?: ?[,;] ?\d{1,3})* ?\]")
_OF_MARKER: Final = frozenset("0123456789,; ]")
_NUMBER: Final = re.compile(r"\d+")

Cite = Callable[[int, int, int, int], Citation | None]


class Markers:
    """A `core.ports.Stage`. cite: the citation of passage n, for part, start and end; None where there is no such passage.

    Markers in code, and links, are none. A citation covers the sentence, or the rest of it since the marker before.
    """

    def __init__(self, cite: Cite) -> None:
        self._cite = cite
        self._texts: dict[int, _Text] = {}

    def feed(self, event: Event) -> Sequence[Event]:
        if type(event) is Delta:
            text = self._texts.get(event.part)
            return (event,) if text is None else (event, *self._cited(event.part, text.read(event.text)))
        if type(event) is PartStarted and event.kind == "text":
            self._texts[event.part] = _Text()
        elif type(event) is PartEnded and (ended := self._texts.pop(event.part, None)) is not None:
            return (*self._cited(event.part, ended.end()), event)
        elif type(event) is Edit:
            # Offsets of a text that is being rewritten would point at other words: what was cited before stays.
            self._texts.pop(event.part, None)
        return (event,)

    def end(self) -> Sequence[Event]:
        out = [cited for part, text in self._texts.items() for cited in self._cited(part, text.end())]
        self._texts.clear()
        return out

    def _cited(self, part: int, found: Sequence[tuple[str, int, int]]) -> list[Event]:
        numbers = ((int(n), start, end) for marker, start, end in found for n in _NUMBER.findall(marker))
        cited = (self._cite(n, part, start, end) for n, start, end in numbers)
        return [citation for citation in cited if citation is not None]


class _Text:
    """Reads one part's text character by character, however it is cut."""

    def __init__(self) -> None:
        self._at = 0  # characters read
        self._before = ""  # the character before
        self._ticks = 0  # backticks in a row, now
        self._code = 0  # how many opened the code that we are in
        self._marker = ""  # what may become a marker, from its "[" on
        self._leads = False  # it stands at the head of a line
        self._start = -1  # of the sentence, or of its rest behind a marker; -1: nothing but white space yet
        self._end = 0  # behind its last character
        self._said = (0, 0)  # the sentence before, for markers behind a full stop, and markers in a row
        self._found: list[tuple[str, int, int]] = []

    def read(self, text: str) -> list[tuple[str, int, int]]:
        """The markers that this text completes, each with what it stands for."""
        for char in text:
            self._next(char)
            self._before = char
            self._at += 1
        found, self._found = self._found, []
        return found

    def end(self) -> list[tuple[str, int, int]]:
        self._settle("")
        found, self._found = self._found, []
        return found

    def _next(self, char: str) -> None:
        if self._marker:
            if self._marker[-1] != "]" and char in _OF_MARKER and len(self._marker) < LONGEST:
                self._marker += char
                return
            self._settle(char)
        if char == "`":
            self._ticks += 1
        elif self._ticks:
            self._fence(char)
        if char == "\n" and self._before == "\n" and self._code < 3:
            self._code = 0  # code within a line ends with its paragraph
        if char == "[" and not self._code and self._before not in ("\\", "!"):
            self._marker = char
            self._leads = self._before in ("", "\n")
        elif char == "\n" or (char.isspace() and self._before in ".!?:;"):
            self._sentence()
        elif not char.isspace() and (self._start >= 0 or char not in BETWEEN):
            self._word(self._at)

    def _fence(self, char: str) -> None:
        if not self._code:
            self._code = self._ticks
        elif self._ticks == self._code or self._ticks > self._code >= 3:
            self._code = 0
        self._ticks = 0

    def _settle(self, char: str) -> None:
        """Decide on the marker; char: what comes behind it. [1](…) is a link, and [1]: at the head of a line says where one leads."""
        marker, self._marker = self._marker, ""
        if not marker:
            return
        if char != "(" and not (char == ":" and self._leads) and _MARKER.fullmatch(marker):
            self._sentence()
            self._found.append((marker, *self._said))
        else:
            first = self._at - len(marker)
            self._word(first)
            self._end = first + len(marker.rstrip())

    def _word(self, at: int) -> None:
        if self._start < 0:
            self._start = at
        self._end = at + 1

    def _sentence(self) -> None:
        if self._start >= 0:
            self._said = (self._start, self._end)
            self._start = -1
