"""What a document is in the index of today, and what says that it must be made again."""

from __future__ import annotations

import hashlib
from typing import Final

import msgspec

# Anything that is made from a document's bytes (reading, cutting) is made again when this changes.
PIPELINE: Final = "2"


class Document(msgspec.Struct, frozen=True):
    """A text to be found again. location: what it is known by within its namespace; putting it again replaces it.

    uri: what a reader is shown, relative to what was ingested. changed: Unix seconds. digest: of bytes and pipeline.
    """

    location: str
    title: str
    text: str
    uri: str
    changed: float
    digest: str


def digest(raw: bytes) -> str:
    """Says whether a document must be made again: of its bytes and of the way it is read and cut."""
    return hashlib.blake2b(raw, digest_size=16, person=b"tidewire " + PIPELINE.encode()).hexdigest()
