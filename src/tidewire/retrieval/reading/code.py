"""Source code: kept as it is, in a fence, so that its comments are not taken for headings."""

from __future__ import annotations

from typing import Final

from tidewire.retrieval.reading.page import Page

FENCE: Final = "~" * 12


def read(text: str) -> Page:
    return Page("", f"{FENCE}\n{text}\n{FENCE}" if text.strip() else "", "text/x-source")
