"""Stop strings: the answer ends before the first of them, however the text was cut into deltas."""

from __future__ import annotations

from collections.abc import Sequence

from tidewire.core.events import Delta, Event, Finish, PartEnded, PartStarted


class Stop:
    """Holds back only what could still grow into a stop string, and what comes between and behind it, so that order is kept.

    The first stop string is the one that is complete first; of those complete at the same character, the longest. After it: the text
    before it, then Finish("stop_string"); everything later is dropped.
    """

    def __init__(self, strings: Sequence[str]) -> None:
        self._strings = [s for s in strings if s]
        self._longest = max(map(len, self._strings), default=0)
        self._texts: set[int] = set()
        self._held = ""
        self._part = -1
        self._queue: list[tuple[int, Event]] = []  # other events, each behind so many characters of what is held
        self._met = False

    def feed(self, event: Event) -> Sequence[Event]:
        if self._met:
            return ()
        if type(event) is Delta and event.part in self._texts:
            return self._text(event)
        if type(event) is PartStarted and event.kind == "text":
            self._texts.add(event.part)
        if not self._held:
            return (event,)
        if (type(event) is PartEnded and event.part == self._part) or type(event) is Finish:
            return (*self._release(len(self._held)), event)
        self._queue.append((len(self._held), event))
        return ()

    def end(self) -> Sequence[Event]:
        return () if self._met else self._release(len(self._held))

    def _text(self, delta: Delta) -> Sequence[Event]:
        before: list[Event] = []
        if self._held and delta.part != self._part:
            before = self._release(len(self._held))
        self._part = delta.part
        self._held += delta.text
        cut = self._match(self._held)
        if cut < 0:
            return [*before, *self._release(len(self._held) - self._growing(self._held))]
        self._met = True
        return [*before, *self._release(cut), PartEnded(part=delta.part), Finish(reason="stop_string", early=True)]

    def _match(self, text: str) -> int:
        """Where the first stop string begins, or -1."""
        found = [(at + len(s), at) for s in self._strings if (at := text.find(s)) >= 0]
        return min(found)[1] if found else -1

    def _growing(self, text: str) -> int:
        """Length of the longest end of text that a stop string begins with."""
        for size in range(min(self._longest - 1, len(text)), 0, -1):
            end = text[-size:]
            if any(len(s) > size and s.startswith(end) for s in self._strings):
                return size
        return 0

    def _release(self, size: int) -> list[Event]:
        """The first `size` characters of what is held, each event that was queued among them in its place."""
        out: list[Event] = []
        queue = self._queue
        done = taken = 0
        for place, event in queue:
            if place > size:
                break
            if place > done:
                out.append(Delta(part=self._part, text=self._held[done:place]))
                done = place
            out.append(event)
            taken += 1
        if size > done:
            out.append(Delta(part=self._part, text=self._held[done:size]))
        self._held = self._held[size:]
        if queue:
            self._queue = [(place - size, event) for place, event in queue[taken:]]
        return out
