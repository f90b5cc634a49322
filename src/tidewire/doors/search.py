"""A search over the caller's documents, without a model: passages, each with how it came to its place."""

from __future__ import annotations

from typing import Annotated, Any, Literal, Protocol

import msgspec
from msgspec import Meta

from tidewire.doors.call import Call, decoded

Preset = Literal["balanced", "news", "reference"]


class Asked(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The body. groups: of the person who asks, as the caller vouches for. since, until: Unix seconds of publication.

    recency: how much what is new counts; None: as the settings say. deadline_ms: what is not found by then is done without.
    """

    query: Annotated[str, Meta(min_length=1, max_length=20_000)]
    limit: Annotated[int, Meta(ge=1, le=50)] = 8
    groups: Annotated[list[str], Meta(max_length=256)] = []
    sources: Annotated[list[str], Meta(max_length=256)] = []
    since: float | None = None
    until: float | None = None
    recency: Preset | None = None
    deadline_ms: Annotated[float, Meta(gt=0, le=60_000)] | None = None


class Searching(Protocol):
    """What the route needs of retrieval. namespace: the caller's tenant."""

    async def find(self, namespace: str, asked: Asked) -> Any:
        """What is put into the answer as JSON."""


class SearchRoutes:
    def __init__(self, searching: Searching) -> None:
        self._searching = searching

    async def search(self, call: Call) -> None:
        """POST /v1/search. A client that leaves takes its search along."""
        asked = decoded(await call.body(), Asked)
        await call.json(await call.unless_gone(self._searching.find(call.tenant, asked)))
