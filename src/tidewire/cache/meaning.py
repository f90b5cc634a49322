"""Which questions may be taken for one another: the same words in the same order, but for what carries no meaning. Pure.

Vectors of meaning cannot tell "enable" from "disable" or 3 days from 30; the words can. So the words decide who may share an answer,
and a vector is only asked for a second opinion. Kept apart, at the price of hits: words in another order, another case within a
sentence (Polish, polish), other numbers, signs and function words.
"""

from __future__ import annotations

import hashlib
import re
import unicodedata
from typing import Final

LONGEST: Final = 500  # characters; longer ones are texts, and no question is asked twice in so many words
_WORD: Final = re.compile(r"\d+(?:[.,:/]\d+)*|[^\W\d_]+(?:'[^\W\d_]+)*|\S")
_QUIET: Final = frozenset(".,;:!?\"'()[]…")
_ENDS: Final = frozenset(".!?…")
_ARTICLES: Final = frozenset({"a", "an", "the"})
_LEADS: Final = tuple(
    tuple(lead.split())
    for lead in (
        "hi", "hello", "hey", "please", "ok", "okay", "could you please tell me", "can you please tell me", "could you tell me",
        "can you tell me", "please tell me", "tell me", "i want to know", "i would like to know",
    )
)  # fmt: skip
_TAILS: Final = (("thanks",), ("thank", "you"), ("please",))
_MOVABLE: Final = frozenset({"today", "now", "currently"})  # as long as there is one, and nothing for it to limit
_FIXING: Final = frozenset({"not", "no", "never", "only", "just", "except", "without", "or", "but", "until", "since"})
_JOINED: Final = {"can't": "can not", "cannot": "can not", "won't": "will not", "let's": "let us"}
_PARTS: Final = (("n't", " not"), ("'re", " are"), ("'m", " am"), ("'ve", " have"), ("'ll", " will"))
_SHORT_IS: Final = frozenset({"what", "where", "who", "how", "when", "why", "it", "that", "there", "here", "he", "she"})


def words(question: str) -> list[str]:
    """The words that count, in order. A capital at the beginning of a sentence says nothing; elsewhere it counts."""
    out: list[str] = []
    first = True
    found = _WORD.findall(unicodedata.normalize("NFKC", question).replace("\u2019", "'"))
    for n, word in enumerate(found):
        if word in _QUIET:
            first = first or word in _ENDS
            continue
        if word == "I" or (first and word[1:] == word[1:].lower()):
            word = word.lower()
        first = False
        if word in _ARTICLES and n + 1 < len(found) and found[n + 1][0].isalnum():
            continue
        out += _apart(word)
    return _plain(out)


def shape(question: str) -> bytes | None:
    """Equal for questions that may share an answer; None for one that shares with none."""
    if len(question) > LONGEST or "\n" in question.strip():
        return None
    said = words(question)
    if len(said) < 2:
        return None
    moving = [w for w in said if w in _MOVABLE]
    if len(moving) == 1 and not _FIXING.intersection(said):
        said = [*(w for w in said if w not in _MOVABLE), "", *moving]
    return hashlib.blake2b("\0".join(said).encode("utf-8", "surrogatepass"), digest_size=16).digest()


def _apart(word: str) -> list[str]:
    """A contraction as the words it is made of."""
    if word in _JOINED:
        return _JOINED[word].split()
    for ending, full in _PARTS:
        if word.endswith(ending) and len(word) > len(ending):
            return (word.removesuffix(ending) + full).split()
    stem = word.removesuffix("'s")
    return [stem, "is"] if stem != word and stem in _SHORT_IS else [word]


def _plain(said: list[str]) -> list[str]:
    """Without politeness before and after."""
    while lead := next((lead for lead in _LEADS if tuple(said[: len(lead)]) == lead and len(said) > len(lead)), None):
        said = said[len(lead) :]
        said[0] = said[0].lower() if said[0][1:] == said[0][1:].lower() else said[0]
    while tail := next((tail for tail in _TAILS if tuple(said[-len(tail) :]) == tail and len(said) > len(tail)), None):
        said = said[: -len(tail)]
    return said
