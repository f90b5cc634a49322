"""An index for a `Watch`, of which a test says what is in it and what changes."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, cast

from tidewire.retrieval.ports import Change, Index
from tidewire.retrieval.watch import Watch


class Listed:
    """gone: chunks that are not there any more. behind: seconds."""

    def __init__(self) -> None:
        self.gone: set[int] = set()
        self.behind = 0.0
        self._heard: Callable[[Change], None] = lambda change: None
        self._seq = 0

    def listen(self, heard: Callable[[Change], None]) -> Callable[[], None]:
        self._heard = heard
        return lambda: None

    def live(self, namespace: str, chunk: int, now: float) -> bool:
        return chunk not in self.gone

    def lag(self) -> tuple[int, float]:
        return int(self.behind > 0), self.behind

    def change(self, namespace: str, *documents: str, **more: Any) -> None:
        self._seq += 1
        self._heard(Change(self._seq, namespace, self._seq, documents=documents, **more))


def watch(listed: Listed | None = None) -> Watch:
    return Watch(cast(Index, listed or Listed()), lambda: 0.0)
