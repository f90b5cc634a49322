"""Sinks of what is asked beside a draft: a judge's word, a better text as edits, or one in the draft's place."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import msgspec

from tidewire.core.events import Attempt, Blob, Delta, Edit, Event, Finish, PartStarted, Progress, Timing, Usage
from tidewire.core.passing import Passing
from tidewire.core.ports import Sink
from tidewire.routing.edits import Change, Revision
from tidewire.routing.tally import Tally, added


class Heard:
    """Keeps the text and the tokens, and shows nothing."""

    def __init__(self) -> None:
        self.tally = Tally()
        self._texts: set[int] = set()
        self._pieces: list[str] = []

    @property
    def text(self) -> str:
        return "".join(self._pieces)

    def feed(self, events: Sequence[Event]) -> None:
        self.tally.hear(events)
        for event in events:
            if isinstance(event, PartStarted) and event.kind == "text":
                self._texts.add(event.part)
            elif type(event) is Delta and event.part in self._texts:
                self._pieces.append(event.text)

    @property
    def full(self) -> bool:
        return False

    async def room(self) -> None:
        """There is always some."""


class Better(Passing, Heard):
    """Turns a better text into edits of the draft, part `part` of the stream, as it comes. changes: how many so far."""

    def __init__(self, sink: Sink, draft: str, part: int) -> None:
        super().__init__()
        self.changes = 0
        self._sink = sink
        self._part = part
        self._revision = Revision(draft)
        self._size = 0
        self._finish: Finish | None = None
        self._called = False

    @property
    def problem(self) -> str:
        """Why this is no answer to put in the draft's place, in words, or ""."""
        if self._called:
            return "it called a tool"
        if not self._size:
            return "it said nothing"
        reason = "no end" if self._finish is None else self._finish.reason
        return "" if reason == "stop" else f"it ended with {reason}"

    def feed(self, events: Sequence[Event]) -> None:
        self.tally.hear(events)
        out: list[Event] = []
        for event in events:
            if type(event) is Delta:
                if event.part in self._texts:
                    self._size += len(event.text)
                    out += self._edits(self._revision.feed(event.text))
            elif isinstance(event, PartStarted):
                if event.kind == "text":
                    self._texts.add(event.part)
                self._called = self._called or event.kind == "tool_call"
            elif isinstance(event, Attempt) or (isinstance(event, Progress) and event.stage == "retrieving"):
                out.append(event)
            elif isinstance(event, Finish):
                self._finish = event
        if out:
            self._sink.feed(out)

    def end(self) -> list[Event]:
        """The last edits of a good end."""
        return self._edits(self._revision.end())

    def back(self) -> list[Event]:
        """The edit that brings the draft back."""
        return self._edits(self._revision.back())

    def _edits(self, changes: Sequence[Change]) -> list[Event]:
        self.changes += len(changes)
        return [Edit(part=self._part, start=c.start, end=c.end, text=c.text) for c in changes]


class Other(Passing, Heard):
    """Passes on another answer, but for its Finish. late: milliseconds after the stream's own beginning.

    before: tokens used up before it, to which its own are added. begun: it has content, and shows it; before that only what is going on
    passes. `begins` is called with the first content, and says whether it is not too late: else nothing passes from then on.
    """

    def __init__(self, sink: Sink, *, late: float, before: Usage) -> None:
        super().__init__()
        self.begun = False
        self.begins: Callable[[], bool] = lambda: True
        self.finish: Finish | None = None
        self._held: list[Event] = []
        self._over = False
        self._sink = sink
        self._late = late
        self._before = before

    def feed(self, events: Sequence[Event]) -> None:
        self.tally.hear(events)
        if not self.begun and not self._over and any(_content(e) for e in events):
            self.begun = self.begins()
            self._over = not self.begun
        if self._over:
            return
        out: list[Event] = []
        if self.begun and self._held:
            out, self._held = self._held, []
        for event in events:
            if isinstance(event, Finish):
                self.finish = event
            else:
                passes = self.begun or isinstance(event, Attempt | Progress | Usage)
                (out if passes else self._held).append(self._counted(event))
        if out:
            self._sink.feed(out)

    def _counted(self, event: Event) -> Event:
        if isinstance(event, Timing):
            span = event.span
            return Timing(span=msgspec.structs.replace(span, start=round(span.start + self._late, 3)))
        return added(self._before, event) if isinstance(event, Usage) else event


def _content(event: Event) -> bool:
    """What a reader could see."""
    if isinstance(event, PartStarted):
        return event.kind == "tool_call"
    return isinstance(event, Blob) or (isinstance(event, Delta) and bool(event.text))
