"""What an index knows of a chunk besides its words and its meaning."""

from __future__ import annotations

import math


class Place:
    """What is known of a chunk. readers, source: numbers that stand for them; 0: everybody, no source."""

    __slots__ = ("expires", "namespace", "published", "readers", "source")

    def __init__(self, namespace: str, published: float, expires: float | None, readers: int, source: int) -> None:
        self.namespace = namespace
        self.published = published
        self.expires = math.inf if expires is None else expires
        self.readers = readers
        self.source = source
