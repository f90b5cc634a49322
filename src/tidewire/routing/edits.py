"""A text that becomes another one by few edits, found while the other one is still being written. Pure.

Both are cut into sentences alike. A sentence of the new text that stands in the old one, or resembles one there, is taken for that
one: only its words that differ are edited, and what the old text has before it is deleted. One that resembles nothing is inserted.
Edits come in reading order: what lies before an edit is as the new text has it, what lies behind it is still the old text, and an
edit never comes back to what another has passed.
"""

from __future__ import annotations

import difflib
import re
from collections import defaultdict
from collections.abc import Iterator
from typing import Final, NamedTuple

LONGEST: Final = 400  # characters of a sentence; one that is longer is cut
NEAR: Final = 8  # sentences among which one that resembles is looked for
TELLING: Final = 24  # characters from which a sentence found far away is no chance
ALIKE: Final = 0.4  # share of their words that two sentences have in common, from which one is the other's new wording
FARTHER: Final = 0.1  # so much more for each sentence between that would have to go

_CJK: Final = r"\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff\uac00-\ud7af\uf900-\ufaff"
_JOINED: Final = r"[\u0300-\u036f\u200d\ufe00-\ufe0f\U0001f3fb-\U0001f3ff]*"  # belongs to the character before it
_UNIT: Final = re.compile(rf"(?:[^\W{_CJK}]+|\s+|.){_JOINED}", re.DOTALL)
_END: Final = re.compile(
    r"[.!?\u2026]+[\"'\u201d\u2019)\]*_`]*\s+|[\u3002\uff01\uff1f]+[\u300d\u300f\u201d]*\s*|\s*\n\s*"
)


class Change(NamedTuple):
    """Characters start to end of the text, as it stands then, become `text`."""

    start: int
    end: int
    text: str


class Sentences:
    """Cuts a text into sentences while it grows, white space behind each included; the same cuts however it comes."""

    def __init__(self) -> None:
        self._rest = ""  # no longer than a sentence may be

    def feed(self, text: str) -> list[str]:
        """The sentences that are over for certain: something stands behind each."""
        self._rest += text
        out: list[str] = []
        at = 0
        while True:
            found = _END.search(self._rest, at, at + LONGEST)
            if found is not None and found.end() < min(len(self._rest), at + LONGEST):
                end = found.end()
            elif len(self._rest) - at > LONGEST:
                end = self._cut(at)
            else:
                break
            out.append(self._rest[at:end])
            at = end
        self._rest = self._rest[at:]
        return out

    def end(self) -> list[str]:
        rest, self._rest = self._rest, ""
        return [rest] if rest else []

    def _cut(self, at: int) -> int:
        """Behind the last white space of what is too long, or where it is too long."""
        space = max(self._rest.rfind(mark, at, at + LONGEST) for mark in " \n\t")
        return at + LONGEST if space < 0 else space + 1


class Revision:
    """From `old` to a new text: `feed` it as it comes, `end` at its end; both give the changes that are certain by then.

    text: the new text so far, as far as it has been worked in. changed: characters deleted and inserted so far.
    """

    def __init__(self, old: str) -> None:
        cutter = Sentences()
        self._old = old
        self._sentences = [*cutter.feed(old), *cutter.end()]
        self._begins = [0]
        self._places: dict[str, list[int]] = defaultdict(list)
        for n, sentence in enumerate(self._sentences):
            self._begins.append(self._begins[-1] + len(sentence))
            self._places[sentence].append(n)
        for places in self._places.values():
            places.reverse()  # the next one last, so that those passed are popped
        self._words: dict[int, frozenset[str]] = {}
        self._next = 0  # the first sentence of the old text that has not been passed
        self._at = 0  # characters of the new text worked in
        self._new: list[str] = []
        self._cutter = Sentences()
        self.changed = 0

    @property
    def text(self) -> str:
        return "".join(self._new)

    def feed(self, text: str) -> list[Change]:
        return [change for sentence in self._cutter.feed(text) for change in self._take(sentence)]

    def end(self) -> list[Change]:
        """What the new text has no more of is deleted."""
        out = [change for sentence in self._cutter.end() for change in self._take(sentence)]
        return [*out, *self._drop(len(self._sentences))]

    def back(self) -> list[Change]:
        """The one change that makes it the old text again, or none."""
        new, old = self.text, self._old[: self._begins[self._next]]
        same = _common(new, old)
        tail = _common(new[same:][::-1], old[same:][::-1])
        start, end, text = same, len(new) - tail, old[same : len(old) - tail]
        return [Change(start, end, text)] if start != end or text else []

    def _take(self, sentence: str) -> Iterator[Change]:
        n = self._place(sentence)
        if n is None:
            yield self._change(self._at, self._at, sentence)
        else:
            yield from self._drop(n)
            yield from self._reword(self._sentences[n], sentence)
            self._next = n + 1
        self._at += len(sentence)
        self._new.append(sentence)

    def _place(self, sentence: str) -> int | None:
        """Which sentence of the old text it is: itself, or else the one near by that resembles it most."""
        places = self._places.get(sentence, [])
        while places and places[-1] < self._next:
            places.pop()
        if places and (places[-1] < self._next + NEAR or len(sentence) >= TELLING):
            return places[-1]
        words = _words(sentence)
        best, found = ALIKE, None
        for n in range(self._next, min(self._next + NEAR, len(self._sentences))):
            farther = FARTHER * (n - self._next)
            theirs = self._words.get(n)
            if theirs is None:
                theirs = self._words[n] = _words(self._sentences[n])
            alike = len(words & theirs) / max(1, len(words | theirs)) - farther
            if alike >= best and (found is None or alike > best):
                best, found = alike, n
        return found

    def _drop(self, n: int) -> list[Change]:
        """Sentences of the old text before the n-th go."""
        size = self._begins[n] - self._begins[self._next]
        self._next = n
        return [self._change(self._at, self._at + size, "")] if size else []

    def _reword(self, old: str, new: str) -> Iterator[Change]:
        if old == new:
            return
        ours, theirs = _UNIT.findall(old), _UNIT.findall(new)
        at = self._at
        for what, i, j, k, m in difflib.SequenceMatcher(None, ours, theirs, autojunk=False).get_opcodes():
            before, after = "".join(ours[i:j]), "".join(theirs[k:m])
            if what != "equal":
                yield self._change(at, at + len(before), after)
            at += len(after)

    def _change(self, start: int, end: int, text: str) -> Change:
        self.changed += end - start + len(text)
        return Change(start, end, text)


def apply(text: str, change: Change) -> str:
    """The text with this change made."""
    return text[: change.start] + change.text + text[change.end :]


def _words(sentence: str) -> frozenset[str]:
    return frozenset(unit for unit in _UNIT.findall(sentence) if not unit.isspace())


def _common(one: str, other: str) -> int:
    """How many characters both begin with."""
    low, high = 0, min(len(one), len(other))
    while low < high:  # by halves: comparing two slices is quick, comparing characters is not
        middle = (low + high + 1) // 2
        if one[low:middle] == other[low:middle]:
            low = middle
        else:
            high = middle - 1
    return low
