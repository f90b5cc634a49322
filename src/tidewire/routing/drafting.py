"""The sink of a draft: passes it on as it comes, and keeps its end back until somebody has judged it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Final

from tidewire.core.events import (
    Attempt,
    Blob,
    Citation,
    Delta,
    Event,
    Finish,
    PartEnded,
    PartStarted,
    Progress,
    Timing,
    Usage,
)
from tidewire.core.passing import Passing
from tidewire.core.ports import Sink
from tidewire.routing.tally import Tally

LARGEST: Final = (
    1 << 17
)  # characters of a draft; a longer one passes, and is not bettered: comparing it would hold others up


class Draft(Passing):
    """hold: nothing of it is shown before `release`. grown: told how many characters of text there are.

    A draft that calls tools, shows pictures, cites, or says more than one text passes by: it cannot be bettered by edits. Its Finish is kept
    back all the same.
    """

    def __init__(self, sink: Sink, *, hold: bool, grown: Callable[[int], None]) -> None:
        self.part = -1  # of its text
        self.finish: Finish | None = None
        self.tally = Tally()
        self._sink = sink
        self._hold = hold
        self._grown = grown
        self._fit = True
        self._pieces: list[str] = []
        self._size = 0
        self._held: list[Event] = []

    @property
    def text(self) -> str:
        return "".join(self._pieces)

    @property
    def complete(self) -> bool:
        """It is one text, as its model meant it, and its end has not been shown."""
        return self._fit and self._size > 0 and self.finish is not None and self.finish.reason == "stop"

    def feed(self, events: Sequence[Event]) -> None:
        self.tally.hear(events)
        out: list[Event] = []
        for event in events:
            if type(event) is Delta:
                if event.part == self.part:
                    self._grow(event.text)
            elif self._fit and self._unfit(event):
                self._fit = False
            elif isinstance(event, PartStarted) and event.kind == "text":
                self.part = event.part
            elif isinstance(event, Finish):
                self.finish = event
                continue
            if not self._fit:
                out += [*self._held, event]
                self._held.clear()
            elif self._keeps(event):
                self._held.append(event)
            else:
                out.append(event)
        if out:
            self._sink.feed(out)

    def release(self, *more: Event | Iterable[Event], before: Sequence[Event] = ()) -> None:
        """Show what was kept back, once: `before` it, what is told, and the end behind `more`."""
        told = [event for item in more for event in ([item] if isinstance(item, Event) else item)]
        held, self._held = self._held, []
        end = [self.finish] if self.finish is not None else []
        if events := [*before, *held, *told, *end]:
            self._sink.feed(events)

    def forget(self) -> None:
        """Nobody is told any more: who would be holds this, and both would stay until the collector looks."""
        self._grown = _nobody

    def _grow(self, text: str) -> None:
        self._pieces.append(text)
        self._size += len(text)
        if self._size > LARGEST:
            self._fit = False
        elif self._fit:
            self._grown(self._size)

    def _unfit(self, event: Event) -> bool:
        if isinstance(event, PartStarted):
            return event.kind not in ("text", "thinking") or (event.kind == "text" and self.part >= 0)
        return isinstance(event, Citation | Blob)

    def _keeps(self, event: Event) -> bool:
        if isinstance(event, Attempt | Progress | Usage | Timing):
            return False
        return self._hold or bool(self._held) or self._ends(event)

    def _ends(self, event: Event) -> bool:
        return isinstance(event, PartEnded) and event.part == self.part


def _nobody(size: int) -> None: ...
