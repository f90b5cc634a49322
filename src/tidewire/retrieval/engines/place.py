"""What an index knows of a chunk besides its words and its meaning."""

from __future__ import annotations

import msgspec


class Place(msgspec.Struct, gc=False):
    """expires: infinity for what never does. readers, source: numbers that stand for them; 0: everybody, no source. document: its id."""

    namespace: str
    published: float
    expires: float
    readers: int
    source: int
    document: str = ""
