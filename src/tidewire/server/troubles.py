"""Documents that were sent and not taken: what was answered to their sender, kept for whoever looks later. In memory, the newest few."""

from __future__ import annotations

import time
from collections import OrderedDict, defaultdict
from collections.abc import Callable
from typing import Final

import msgspec

from tidewire.retrieval.remedies import remedy
from tidewire.retrieval.sources.supervisor import State

KEPT: Final = 50  # of a namespace


class Trouble(msgspec.Struct, frozen=True):
    """source: "" for what was put by hand. remedy: what to do, where something is known that helps. at: Unix seconds."""

    source: str
    document: str
    why: str
    remedy: str
    at: float | None


class Troubles:
    def __init__(self, clock: Callable[[], float] = time.time) -> None:
        self._clock = clock
        self._kept: defaultdict[str, OrderedDict[str, Trouble]] = defaultdict(OrderedDict)

    def note(self, namespace: str, source: str, document: str, why: str) -> None:
        kept = self._kept[namespace]
        kept[document] = Trouble(source, document, why, remedy(why), self._clock())
        kept.move_to_end(document)
        while len(kept) > KEPT:
            kept.popitem(last=False)

    def settle(self, namespace: str, document: str) -> None:
        """It was taken after all, or is no longer wanted."""
        self._kept[namespace].pop(document, None)

    def all(self, namespace: str) -> list[Trouble]:
        """The newest first."""
        return list(reversed(self._kept[namespace].values()))


def of_source(state: State) -> list[Trouble]:
    """What the last pass of a source did not take."""
    return [Trouble(state.name, shown, why, remedy(why), state.last) for shown, why in state.report.skipped]
