"""What an answer rests on, as events tell it: passages of the tenant's documents, and what became of them. Pure data."""

from __future__ import annotations

import msgspec


class Source(msgspec.Struct, omit_defaults=True, frozen=True, gc=False):
    """A passage that a model was given. document: its id, as citations and fetch tools name it. chunk: never given twice.

    published, indexed, expires: Unix seconds. age: seconds since it was published, when it was searched. score: of the parts behind it:
    lexical and dense None where that list did not hold it, recency a factor of at most 1, lift one of at least 1, rerank None where no
    model has read it.
    """

    document: str
    version: int
    chunk: int
    title: str
    published: float
    indexed: float
    age: float
    score: float
    uri: str | None = None
    expires: float | None = None
    lexical: float | None = None
    dense: float | None = None
    recency: float = 1.0
    lift: float = 1.0
    rerank: float | None = None


class Rested(msgspec.Struct, omit_defaults=True, frozen=True, gc=False):
    """What an answer came to rest on. passages: that it was given. cited, superseded: of these. ms: of all its searches."""

    passages: int
    cited: int = 0
    superseded: int = 0
    ms: float = 0.0
