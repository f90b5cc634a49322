"""What is new counts more: by how much depends on what is asked. A question for the latest is about time; one for a rule is not."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from typing import Final

import msgspec

DAY: Final = 86400.0
YEAR: Final = 365.25 * DAY
CUED: Final = 0.5  # weight where the question itself asks for what is new
FITS: Final = 0.5  # of the best score: what has as much is about the matter
_CUES: Final = re.compile(
    r"\b(?:latest|newest|most recent|recent|recently|currently|today|tonight|yesterday|right now|at the moment|these days|"
    r"this (?:morning|afternoon|evening|week|month|quarter|year)|last (?:night|week|month|quarter)|as of|up[- ]to[- ]date|"
    r"(?:the|our|your|my|its|their) current (?!in\b|of\b|through\b|from\b|to\b|flow|densit|gain|noise)\w+|"  # not that of a wire
    r"so far|just (?:released|announced|published)|news|breaking)\b",
    re.IGNORECASE,
)
_YEAR: Final = re.compile(r"\b(20\d\d)\b")


class Recency(msgspec.Struct, frozen=True):
    """weight: 0 to 1, what a document that is old beyond measure loses of its score. half: seconds after which half of that is lost."""

    weight: float = 0.2
    half: float = 30 * DAY


PRESETS: Final = {
    "balanced": Recency(),
    "news": Recency(0.5, 14 * DAY),
    "reference": Recency(0.0),
}


def cued(question: str, now: float) -> bool:
    """Whether it asks for what is new: by a word, or by a year that is not over for long."""
    this_year = 1970 + now / YEAR
    return any(int(year) >= int(this_year) - 1 for year in _YEAR.findall(question)) or bool(_CUES.search(question))


def raised(recency: Recency) -> Recency:
    """For a question that asks for what is new."""
    return recency if recency.weight >= CUED else msgspec.structs.replace(recency, weight=CUED)


def newest(scored: Sequence[tuple[float, float]], now: float) -> float:
    """scored: score and date of what was found. From when age counts for a question that asks for what is new: the date of the newest
    that fits, for the latest word on a matter may be a year old, and all before it many half-lives.
    """
    best = max((score for score, _ in scored), default=0.0)
    return min(now, max((published for score, published in scored if score >= FITS * best), default=now))


def factor(recency: Recency, published: float, now: float) -> float:
    """What a score is multiplied by: 1 for what is as new as `now` or newer, 1 - weight for what is very old."""
    if not recency.weight:
        return 1.0
    age = max(0.0, now - published)
    return (1.0 - recency.weight) + recency.weight * math.exp2(-age / recency.half)
