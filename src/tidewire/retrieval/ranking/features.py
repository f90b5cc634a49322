"""What lifts a passage besides its score, where no model ranks it: it asks the very question, the question asks for its heading, or it
opens its document. The last of these counts only beside words alone: beside meaning it takes more than it gives (CACM, 3 % of nDCG@10).
"""

from __future__ import annotations

from functools import lru_cache
from typing import Final, NamedTuple

from tidewire.core import prose
from tidewire.retrieval.ports import Row

ASKED: Final = 1.5  # the question stands in it, word for word: a list of questions and answers
EXACT: Final = 1.4  # the question's words are the heading's or the title's
WITHIN: Final = 1.2  # the heading or the title is made of words of the question
OPENS: Final = 1.15
BEGINNING: Final = 50  # characters into a document that still count as its beginning: it says what the thing is


class Asked(NamedTuple):
    """stems: of the words that mean something. whole: the question as it stands, folded; "" for a single word."""

    stems: frozenset[str]
    whole: str


def asked(question: str) -> Asked:
    whole = question.partition("\n")[0].strip(" \t?!.\u2026").casefold()
    return Asked(_stems(question), whole if " " in whole else "")


def lift(question: Asked, row: Row, *, opens: bool) -> float:
    """1 and more, for a score to be multiplied by. opens: whether to lift what opens its document."""
    names = (row.heading.rpartition(" > ")[2], row.title)
    own = [_named(name) for name in names]
    if question.whole and question.whole in row.text.casefold():
        named = ASKED
    elif question.stems and question.stems in own:
        named = EXACT
    elif any(stems and stems <= question.stems for stems in own):
        named = WITHIN
    else:
        named = 1.0
    return named * (OPENS if opens and row.start < BEGINNING else 1.0)


def _stems(text: str) -> frozenset[str]:
    return frozenset(prose.stem(word) for word in prose.content_words(text))


_named: Final = lru_cache(maxsize=8192)(_stems)  # headings and titles come again; a question may be long
