"""What lifts a passage besides its score, where no model ranks it: the question asks for its very heading, or it opens its document."""

from __future__ import annotations

from collections.abc import Set as AbstractSet
from typing import Final

from tidewire.core import prose
from tidewire.retrieval.ports import Row

EXACT: Final = 1.4  # the question's words are the heading's or the title's
WITHIN: Final = 1.2  # the heading or the title is made of words of the question
OPENS: Final = 1.15
BEGINNING: Final = 50  # characters into a document that still count as its beginning: it says what the thing is


def asked(question: str) -> frozenset[str]:
    """The stems of the words that mean something."""
    return frozenset(prose.stem(word) for word in prose.content_words(question))


def lift(words: AbstractSet[str], row: Row) -> float:
    """words: as `asked` gives them."""
    names = (row.heading.rpartition(" > ")[2], row.title)
    own = [asked(name) for name in names]
    named = EXACT if words in own else WITHIN if any(stems and stems <= words for stems in own) else 1.0
    return named * (OPENS if row.start < BEGINNING else 1.0)
