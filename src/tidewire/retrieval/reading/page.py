"""What reading a document gives, and what says that it gives none."""

from __future__ import annotations

import msgspec


class Page(msgspec.Struct, frozen=True, omit_defaults=True):
    """A document's title and its text as Markdown. published: Unix seconds, where the document itself says when. kind: its media type."""

    title: str
    text: str
    kind: str = "text/plain"
    published: float | None = None


class NotRead(Exception):
    """A document that cannot be read; the message says why, in words that may be shown."""
