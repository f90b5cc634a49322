"""A sink that passes on what it hears and remembers it: what has been said when a provider fails, and when it began."""

from __future__ import annotations

from collections.abc import Sequence

from tidewire.core.events import Blob, Delta, Event, Finish, PartEnded, PartKind, PartStarted, Signature, Usage
from tidewire.core.passing import Passing
from tidewire.core.ports import Sink


class Heard:
    """One part as far as it was said."""

    __slots__ = ("call", "choice", "ended", "kind", "name", "pieces", "signature")

    def __init__(self, started: PartStarted) -> None:
        self.kind: PartKind = started.kind
        self.name = started.name
        self.call = started.call
        self.choice = started.choice
        self.pieces: list[str] = []
        self.signature: str | None = None
        self.ended = False

    @property
    def text(self) -> str:
        return "".join(self.pieces)


class Listening(Passing):
    """Around another sink. begun: content has been passed on. parts: by number, in order. usage: the last one told."""

    __slots__ = ("_sink", "begun", "finish", "parts", "usage")

    def __init__(self, sink: Sink) -> None:
        self._sink = sink
        self.begun = False
        self.parts: dict[int, Heard] = {}
        self.finish: Finish | None = None
        self.usage: Usage | None = None

    def feed(self, events: Sequence[Event]) -> None:
        for event in events:
            if type(event) is Delta:
                self.begun = True
                self.parts[event.part].pieces.append(event.text)
            elif isinstance(event, PartStarted):
                self.begun = True
                self.parts[event.part] = Heard(event)
            elif isinstance(event, PartEnded):
                self.parts[event.part].ended = True
            elif isinstance(event, Signature):
                self.parts[event.part].signature = event.value
            elif isinstance(event, Blob):
                self.begun = True
            elif isinstance(event, Usage):
                self.usage = event
            elif isinstance(event, Finish):
                self.finish = event
        self._sink.feed(events)
