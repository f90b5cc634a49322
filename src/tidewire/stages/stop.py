"""Stop strings: the answer ends before the first of them, however the text was cut into deltas."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from tidewire.core.events import Delta, Event, Finish, PartEnded, PartStarted


class Stop:
    """Holds back only what could still grow into a stop string, and whatever comes after it, so that order is kept.

    After a match: the text before it, then Finish("stop_string"); everything later is dropped.
    """

    def __init__(self, strings: Sequence[str]) -> None:
        self._strings = [s for s in strings if s]
        self._longest = max(map(len, self._strings), default=0)
        self._texts: set[int] = set()
        self._held = ""
        self._part = -1
        self._queue: list[Event] = []
        self._met = False

    def feed(self, event: Event) -> Iterable[Event]:
        if self._met:
            return ()
        if type(event) is Delta and event.part in self._texts:
            return self._text(event)
        if type(event) is PartStarted and event.kind == "text":
            self._texts.add(event.part)
        if not self._held:
            return (event,)
        if (type(event) is PartEnded and event.part == self._part) or type(event) is Finish:
            return (*self._release(), event)
        self._queue.append(event)
        return ()

    def end(self) -> Iterable[Event]:
        return () if self._met else self._release()

    def _text(self, delta: Delta) -> Iterable[Event]:
        out: list[Event] = []
        if self._held and delta.part != self._part:
            out.extend(self._release())
        old = len(self._held)
        text = self._held + delta.text
        self._part = delta.part
        cut = min((i for s in self._strings if (i := text.find(s)) >= 0), default=-1)
        free = cut if cut >= 0 else len(text) - self._growing(text)
        if self._queue and free >= old:  # what was queued stood behind the old text, before the new
            out.append(Delta(part=delta.part, text=text[:old]))
            out.extend(self._queue)
            self._queue.clear()
        else:
            old = 0
        if free > old:
            out.append(Delta(part=delta.part, text=text[old:free]))
        if cut >= 0:
            self._met = True
            out += PartEnded(part=delta.part), Finish(reason="stop_string", early=True)
        self._held = text[free:]
        return out

    def _growing(self, text: str) -> int:
        """Length of the longest end of text that a stop string begins with."""
        for size in range(min(self._longest - 1, len(text)), 0, -1):
            end = text[-size:]
            if any(len(s) > size and s.startswith(end) for s in self._strings):
                return size
        return 0

    def _release(self) -> list[Event]:
        out: list[Event] = [Delta(part=self._part, text=self._held)] if self._held else []
        out.extend(self._queue)
        self._held = ""
        self._queue.clear()
        return out
