"""What a model says each time it is asked: passed on with numbers that hold for the whole stream, and remembered."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Literal, TypeVar

import msgspec

from tidewire.core.events import Attempt, Delta, Edit, Event, Finish, PartEnded, PartStarted, Signature, Timing, Usage
from tidewire.core.ports import Sink
from tidewire.core.request import Content, Message, Text, Thought, ToolCall

N = TypeVar("N", int, float)


class Stream:
    """The one stream that all rounds and all calls of an answer write to: its parts, attempts and tokens are counted here.

    begun: content has been passed on. reason: of the next attempt that begins a round. shift: seconds from the answer's beginning to the round's.
    """

    def __init__(self, sink: Sink, taken: set[str]) -> None:
        """taken: call ids that the conversation has already."""
        self.sink = sink
        self.begun = False
        self.reason: Literal["start", "retry", "tools"] = "start"
        self.shift = 0.0
        self._taken = taken
        self._parts = 0
        self._attempts = 0
        self._before: Usage | None = None
        self._usage: Usage | None = None

    def part(self) -> int:
        """The number of a new part."""
        self._parts += 1
        return self._parts - 1

    def tell(self, events: list[Event]) -> None:
        self.sink.feed(events)

    def own(self, call: str) -> str:
        """The id, or one made of it that the conversation does not have: hosts that number their calls begin anew in each round."""
        name, n = call, 1
        while name in self._taken:
            n += 1
            name = f"{call}_{n}"
        self._taken.add(name)
        return name

    def next_round(self, shift: float) -> None:
        self.reason = "tools"
        self.shift = shift
        self._before = self._usage

    def attempt(self, event: Attempt) -> Attempt:
        self._attempts += 1
        reason = self.reason if event.reason == "start" else event.reason
        return msgspec.structs.replace(event, n=self._attempts, reason=reason)

    def usage(self, event: Usage) -> Usage:
        """The tokens of the rounds before with those of this one."""
        before = self._before
        if before is not None:
            by: Literal["host", "server"] = "host" if before.counted_by == event.counted_by == "host" else "server"
            event = Usage(
                counted_by=by,
                input=_sum(before.input, event.input),
                output=_sum(before.output, event.output),
                cached=_sum(before.cached, event.cached),
                reasoning=_sum(before.reasoning, event.reasoning),
                cache_write=_sum(before.cache_write, event.cache_write),
                reused=event.reused,
                cost=_sum(before.cost, event.cost),
            )
        self._usage = event
        return event

    def timing(self, event: Timing) -> Timing:
        span = event.span
        if not self.shift or span.source == "reported":
            return event
        return Timing(span=msgspec.structs.replace(span, start=round(span.start + self.shift * 1000, 3)))


class Piece:
    """One part as far as it was said. number: in the stream."""

    __slots__ = ("call", "ended", "kind", "name", "number", "proof", "texts", "twice")

    def __init__(self, number: int, started: PartStarted) -> None:
        self.number = number
        self.kind = started.kind
        self.name = started.name or ""
        self.call = started.call or ""
        self.texts: list[str] = []
        self.proof: Signature | None = None
        self.ended = False
        self.twice = False

    def content(self) -> Content | None:
        """As the next question says it; None for what no question can hold."""
        text = "".join(self.texts)
        proof = self.proof.value if self.proof is not None else None
        if self.kind == "text" and text:
            return Text(text)
        if self.kind == "thinking":
            return Thought(text=text, signature=proof, redacted=self.proof is not None and self.proof.redacted)
        if self.kind in ("tool_call", "server_call"):
            return ToolCall(call=self.call, name=self.name, arguments=_object(text), signature=proof)
        return None


class Round:
    """A `Sink`. begin: called with each call of the server's own, and whether its id came twice, as soon as it is whole.

    pieces: by the host's numbers, in order. finish: how the round ended; it is not passed on.
    """

    def __init__(self, stream: Stream, ours: Callable[[str], bool], begin: Callable[[Piece], None]) -> None:
        self._stream = stream
        self._ours = ours
        self._begin = begin
        self._calls: set[str] = set()
        self.pieces: dict[int, Piece] = {}
        self.finish: Finish | None = None

    def feed(self, events: Sequence[Event]) -> None:
        if len(events) == 1 and type(event := events[0]) is Delta and (piece := self.pieces.get(event.part)):
            piece.texts.append(event.text)  # the usual batch, straight
            told = events if piece.number == event.part else [Delta(part=piece.number, text=event.text)]
            self._stream.sink.feed(told)
            return
        out: list[Event] = []
        whole: list[Piece] = []
        for event in events:
            if (said := self._heard(event, whole)) is not None:
                out.append(said)
        if out:
            self._stream.sink.feed(out)
        for piece in whole:  # behind its own end in the log
            self._begin(piece)

    def _heard(self, event: Event, whole: list[Piece]) -> Event | None:
        match event:
            case PartStarted():
                return self._started(event)
            case Attempt():
                return self._stream.attempt(event)
            case Usage():
                return self._stream.usage(event)
            case Timing():
                return self._stream.timing(event)
            case Finish():
                self.finish = self.finish or event
                return None
        piece = self.pieces.get(getattr(event, "part", -1))
        if piece is None:
            return event
        match event:
            case Delta(text=text):
                piece.texts.append(text)
            case Edit(start=start, end=end, text=text):
                said = "".join(piece.texts)
                piece.texts = [said[:start] + text + said[end:]]
            case Signature():
                piece.proof = event
            case PartEnded():
                if piece.kind == "server_call" and not piece.ended:
                    whole.append(piece)
                piece.ended = True
        return event if piece.number == event.part else msgspec.structs.replace(event, part=piece.number)  # type: ignore[attr-defined]

    def _started(self, event: PartStarted) -> PartStarted:
        self._stream.begun = True
        piece = self.pieces[event.part] = Piece(self._stream.part(), event)
        if event.kind == "tool_call":
            piece.twice = piece.call in self._calls
            self._calls.add(piece.call)
            piece.call = self._stream.own(piece.call or f"call_{piece.number}")
            if self._ours(piece.name):
                piece.kind = "server_call"
        return msgspec.structs.replace(event, part=piece.number, kind=piece.kind, call=piece.call or None)

    def of(self, kind: str) -> list[Piece]:
        return [piece for piece in self.pieces.values() if piece.kind == kind]

    def message(self) -> Message:
        """What the model said, as a message of the assistant."""
        contents = (piece.content() for piece in self.pieces.values())
        return Message(role="assistant", content=[content for content in contents if content is not None])

    @property
    def full(self) -> bool:
        return self._stream.sink.full

    async def room(self) -> None:
        await self._stream.sink.room()


def _sum(a: N | None, b: N | None) -> N | None:
    return b if a is None else a if b is None else a + b


def _object(text: str) -> str:
    """Arguments as hosts take them back: some refuse a conversation in which they are no JSON object."""
    try:
        return text if isinstance(msgspec.json.decode(text), dict) else "{}"
    except (msgspec.DecodeError, UnicodeEncodeError, RecursionError):
        return "{}"
