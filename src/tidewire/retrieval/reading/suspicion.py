"""Words in a document that speak to a model instead of its reader. Such a document is kept as it is, and reported: it is data,
and the prompt says so of every passage. A guess, for people to look at; nothing is decided by it.
"""

from __future__ import annotations

import re
from typing import Final

_PHRASES: Final = re.compile(
    r"\b(?:ignore|disregard|forget|override)\s+(?:all\s+|any\s+)?(?:of\s+)?(?:the\s+|your\s+|my\s+|these\s+)?"
    r"(?:previous|prior|above|earlier|preceding|system|original)?\s*(?:instructions?|prompts?|rules|directions|guidelines)\b"
    r"|\byou\s+are\s+(?:now|no\s+longer)\s+(?:a|an|the|in|bound)\b"
    r"|\b(?:reveal|print|repeat|output)\s+(?:me\s+)?(?:your|the)\s+(?:system|hidden|secret)\s+(?:prompt|instructions?)\b"
    r"|<\|(?:im_start|im_end|system|endoftext)\|>|\[/?INST\]",
    re.IGNORECASE,
)
SHOWN: Final = 80  # characters of what was found


def suspicious(text: str) -> str:
    """What was found, or "" where nothing was."""
    found = _PHRASES.search(text)
    return " ".join(found.group()[:SHOWN].split()) if found else ""
