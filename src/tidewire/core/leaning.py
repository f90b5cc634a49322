"""Whether a question says by itself what it asks for, or leans on the one before it; and what is looked for, hence. Pure."""

from __future__ import annotations

import re
from typing import Final

from tidewire.core.prose import content_words
from tidewire.core.request import Request

SHORT: Final = 2  # a question of fewer content words than this, or one that points back, leans on the one before
LONG: Final = 200  # characters: a question that is longer says enough
LONGEST: Final = 4000  # characters that documents are searched for; a question may fill the body of a request
_POINTS_BACK: Final = re.compile(
    r"\b(?:it|its|that|this|they|them|those|these|there|one|ones|he|she)\b|^\W*(?:and|but|what about|how about|why)\b",
    re.IGNORECASE,
)


def leans_on(request: Request) -> str:
    """The question before, where this one says too little by itself; else ""."""
    question = request.question
    if len(question) > LONG:
        return ""
    asked = [m.text for m in request.messages if m.role == "user"]
    words = len(content_words(question))
    if len(asked) > 1 and (words < SHORT or (_POINTS_BACK.search(question) and words < 6)):
        return asked[-2]
    return ""


def looked_for(request: Request) -> str:
    """What documents are searched for: the question, and the one before where this one leans on it, as far as anybody looks."""
    return "\n".join(filter(None, (request.question[:LONGEST], leans_on(request))))[:LONGEST]
