"""What searches by meaning, as the index knows it."""

from __future__ import annotations

from typing import Protocol

from tidewire.retrieval.engines.place import Place
from tidewire.retrieval.ports import Filter, Scored, Vector


class Dense(Protocol):
    """The vectors of one namespace and encoder."""

    def put(self, chunk: int, vector: Vector, place: Place) -> None: ...

    def remove(self, chunk: int) -> None: ...

    def search(
        self, vector: bytes, limit: int, which: Filter, readers: set[int], sources: set[int] | None
    ) -> list[Scored]: ...

    @property
    def size(self) -> int:
        """Bytes of memory."""


class Elsewhere(Protocol):
    """Searches some namespaces by meaning outside of this process."""

    def holds(self, namespace: str, encoder: str) -> bool: ...

    async def search(self, namespace: str, encoder: str, vector: bytes, limit: int, which: Filter) -> list[Scored]: ...
