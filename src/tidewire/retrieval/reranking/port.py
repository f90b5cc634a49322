"""What a reranker is."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol


class Skipped(Exception):
    """There are no scores. why: in a word, as results and metrics show it."""

    def __init__(self, why: str) -> None:
        super().__init__(why)
        self.why = why


class Reranker(Protocol):
    """name: as results and metrics show it."""

    name: str

    def warm(self) -> None:
        """Begin what must be done before the first question; returns at once."""

    async def scores(self, question: str, texts: Sequence[str]) -> Sequence[float]:
        """Higher is better, in the order of the texts. Cancelled when it is late, and then lets go of all it can.

        Raises UpstreamError where it failed, Skipped where it is not ready.
        """

    async def close(self) -> None: ...
