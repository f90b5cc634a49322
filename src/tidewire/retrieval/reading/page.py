"""What reading a document gives, and what says that it gives none."""

from __future__ import annotations

import msgspec

from tidewire.retrieval.ports import Chunk


class Page(msgspec.Struct, frozen=True, omit_defaults=True):
    """A document's title and its text as Markdown. published: Unix seconds, where the document itself says when. kind: its media type.

    chunks: of the text, where it was cut already.
    """

    title: str
    text: str
    kind: str = "text/plain"
    published: float | None = None
    chunks: tuple[Chunk, ...] = ()


class NotRead(Exception):
    """A document that cannot be read; the message says why, in words that may be shown."""


class NoDocument(NotRead):
    """Nothing went wrong: it is of a kind that is not read here, holds no text, or its time is over."""


def printable(text: str) -> str:
    """Without the halves of characters that a file name or a broken escape may hold, and a database may not."""
    return text.encode("utf-8", "backslashreplace").decode("utf-8")
