"""What says the same is shown once: the newest of it. And no document fills the page alone.

Near-duplicates are proposed by SimHash (at most 10 of 64 bits apart) and settled by the words themselves: the Jaccard
similarity of their shingles of four words, 0.8 or more. SimHash alone is right for every third proposal at that distance.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, Protocol, TypeVar

from tidewire.core import prose
from tidewire.retrieval.ports import Row
from tidewire.retrieval.simhash import SHINGLE, distance

NEAR: Final = 10  # bits
SAME: Final = 0.8  # Jaccard similarity
LOOKED: Final = 4  # texts, the nearest, whose words one is held against
PER_DOCUMENT: Final = 2


class Ranked(Protocol):
    @property
    def row(self) -> Row: ...


T = TypeVar("T", bound=Ranked)


def collapsed(ranked: Sequence[T], *, per_document: int = PER_DOCUMENT) -> tuple[list[T], dict[int, list[int]]]:
    """In the same order, each text once, at the place of the best of its copies; and, by chunk, the chunks it stands for.

    Of copies the newest is shown: a text that was published again is cited as it is now.
    """
    groups: list[list[T]] = []  # of each text, the copy that is shown and those it stands for
    shingles: dict[int, frozenset[int]] = {}
    for one in ranked:
        row, bits = one.row, one.row.simhash
        near = [group for group in groups if distance(group[0].row.simhash, bits) <= NEAR]
        if len(near) > LOOKED:
            near = sorted(near, key=lambda group: distance(group[0].row.simhash, bits))[:LOOKED]
        same = next((group for group in near if _same(row, group[0].row, shingles)), None)
        if same is None:
            groups.append([one])
        else:
            same.insert(0 if one.row.published > same[0].row.published else len(same), one)
    # Counted only now: a newer copy may belong to a document that has its share already.
    shown: list[T] = []
    copies: dict[int, list[int]] = {}
    of_document: dict[str, int] = {}
    for first, *others in groups:
        taken = of_document[first.row.document] = of_document.get(first.row.document, 0) + 1
        if taken <= per_document:
            shown.append(first)
            if others:
                copies[first.row.chunk] = [other.row.chunk for other in others]
    return shown, copies


def _same(one: Row, other: Row, shingles: dict[int, frozenset[int]]) -> bool:
    return bool(one.digest and one.digest == other.digest) or likeness(one, other, shingles) >= SAME


def likeness(one: Row, other: Row, known: dict[int, frozenset[int]] | None = None) -> float:
    """The Jaccard similarity of two texts, 0 to 1. known: shingles by chunk, filled as they are made."""
    known = {} if known is None else known
    first, second = (_shingles(row, known) for row in (one, other))
    common = len(first & second)
    return common / (len(first) + len(second) - common)


def _shingles(row: Row, known: dict[int, frozenset[int]]) -> frozenset[int]:
    """Their hashes: numbers are compared in a third of the time that words take."""
    found = known.get(row.chunk)
    if found is None:
        words = prose.spaced(row.text.casefold()).split()  # a fifth of the time that finding words takes
        some = zip(*(words[n:] for n in range(SHINGLE)), strict=False)
        found = known[row.chunk] = frozenset(map(hash, some)) or frozenset([hash(tuple(words))])
    return found
