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

    async def scores(self, question: str, texts: Sequence[str], until: float) -> Sequence[float]:
        """Higher is better, in the order of the texts; those of the first ones alone, where there is no time for more.

        until: on the event loop's clock. It is cancelled then, and lets go of all it can.

        Raises UpstreamError where it failed, Skipped where it is not ready.
        """

    async def close(self) -> None: ...
