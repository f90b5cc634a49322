"""An answer as it is kept: what is worth keeping, how it is written down, and how it is given again."""

from __future__ import annotations

import asyncio
import copy
from collections.abc import Callable, Sequence
from typing import Final, Literal, cast

import msgspec

from tidewire.core.events import (
    AnyEvent,
    Attempt,
    Blob,
    Citation,
    Delta,
    Event,
    Finish,
    Notice,
    PartStarted,
    Progress,
    Retrieved,
    Timing,
    Usage,
)
from tidewire.core.passing import Passing
from tidewire.core.ports import Sink

PROVIDER: Final = "cache"
BATCH: Final = 256  # events fed before a look at whether the log keeps up
UNKEPT: Final = (Attempt, Progress, Timing)  # of the one occasion; Attempt is remembered for its price
GOOD: Final = frozenset({"stop", "stop_string"})
CALLS: Final = frozenset({"tool_call", "server_call", "tool_result", "refusal"})

Pace = float | Literal["original"]


class Beat(msgspec.Struct, array_like=True):
    """Events that came together. ms: since the answer's first."""

    ms: int
    events: list[AnyEvent | Finish]


class Answer(msgspec.Struct, array_like=True):
    """made: Unix seconds. provider, model: who gave it. seconds: what it took. tokens_in, tokens_out: of its usage."""

    made: float
    provider: str
    model: str
    seconds: float
    tokens_in: int | None
    tokens_out: int
    beats: list[Beat]

    @property
    def usage(self) -> Usage:
        return Usage(counted_by="server", input=self.tokens_in, output=self.tokens_out)

    @property
    def attempt(self) -> Attempt:
        return Attempt(n=1, provider=self.provider, model=self.model, reason="start")


encode: Final[Callable[[Answer], bytes]] = msgspec.msgpack.Encoder().encode
_decoder = msgspec.msgpack.Decoder(Answer)


def decode(raw: bytes) -> Answer | None:
    """None for bytes of another version of Tidewire."""
    try:
        return _decoder.decode(raw)
    except (msgspec.MsgspecError, UnicodeDecodeError):
        return None


class Recorder(Passing):
    """A sink that passes on and remembers, up to `limit` bytes, about. clock: seconds, for what it took."""

    __slots__ = (
        "_attempt",
        "_beats",
        "_began",
        "_clock",
        "_finish",
        "_first",
        "_limit",
        "_said",
        "_sink",
        "_size",
        "_tokens",
        "_usage",
    )

    def __init__(self, sink: Sink, limit: int, clock: Callable[[], float]) -> None:
        self._sink = sink
        self._limit = limit
        self._clock = clock
        self._began = clock()
        self._first: float | None = None
        self._beats: list[Beat] | None = []  # None: not worth keeping
        self._size = 0
        self._said = False  # anything that a reader could see
        self._tokens = 0
        self._attempt: Attempt | None = None
        self._usage: Usage | None = None
        self._finish: Finish | None = None

    def feed(self, events: Sequence[Event]) -> None:
        if self._beats is not None:
            self._note(events)
        self._sink.feed(events)

    def answer(self, made: float) -> Answer | None:
        """What was said, if it came to a good end and asks for nothing to be done. made: Unix seconds."""
        finish, usage = self._finish, self._usage
        if self._beats is None or finish is None or finish.early or finish.reason not in GOOD or not self._said:
            return None
        return Answer(
            made=made,
            provider=self._attempt.provider if self._attempt else "",
            model=self._attempt.model if self._attempt else "",
            seconds=round(self._clock() - self._began, 3),
            tokens_in=usage.input if usage else None,
            tokens_out=self._tokens if usage is None or usage.output is None else usage.output,
            beats=self._beats,
        )

    def _note(self, events: Sequence[Event]) -> None:
        assert self._beats is not None
        kept: list[AnyEvent | Finish] = []
        for event in events:
            if type(event) is Delta:
                self._tokens += 1
                self._said = True
                self._size += 32 + len(event.text)
                kept.append(Delta(part=event.part, text=event.text))
                continue
            if searches(event):
                self._beats = None  # made of documents that this room knows nothing of
                return
            if isinstance(event, UNKEPT):
                if isinstance(event, Attempt):
                    self._attempt = event
                    if event.reason == "continuation":
                        self._beats = None  # put together from answers that broke off
                        return
                continue
            if isinstance(event, Notice) or (isinstance(event, PartStarted) and event.kind in CALLS):
                self._beats = None  # something was the matter with it, or it is not done with words alone
                return
            if isinstance(event, Usage):
                self._usage = event
            elif isinstance(event, Finish):
                self._finish = event
            self._said |= isinstance(event, Blob)
            self._size += 64 + (len(event.data) if isinstance(event, Blob) else len(repr(event)))
            kept.append(cast(AnyEvent | Finish, copy.copy(event)))  # the run numbers the one that is passed on
        if self._size > self._limit:
            self._beats = None
        elif kept:
            now = self._clock()
            if self._first is None:
                self._first = now
            self._beats.append(Beat(round((now - self._first) * 1000), kept))


def searches(event: Event) -> bool:
    """Whether the answer looks into documents by itself, or has: what it finds may be gone or out of date a moment later."""
    return isinstance(event, Retrieved) or (isinstance(event, Progress) and event.stage == "retrieving")


async def replay(answer: Answer, sink: Sink, *, pace: Pace, age: float) -> None:
    """The original events, with an attempt of the cache in place of the host's. pace: tokens a second, 0: at once.

    age: seconds since it was made, by which its sources are older now.
    """
    sink.feed([Attempt(n=1, provider=PROVIDER, model=answer.model, reason="start")])
    loop = asyncio.get_running_loop()
    began, tokens, told = loop.time(), 0, False
    waiting: list[Event] = []
    for beat in answer.beats:
        if pace == "original":
            await _until(began + beat.ms / 1000, sink, waiting)
        for event in beat.events:
            if type(event) is Delta:
                if pace != "original" and pace > 0:
                    await _until(began + tokens / pace, sink, waiting)
                tokens += 1
            elif isinstance(event, Usage):
                event.reused, event.cost = "cache", None
                told = True
            elif isinstance(event, Citation) and event.age is not None:
                event.age = round(event.age + age, 3)
            elif isinstance(event, Finish) and not told:
                waiting.append(Usage(counted_by="server", output=tokens, reused="cache"))
            waiting.append(event)
            if len(waiting) >= BATCH:
                await _until(0.0, sink, waiting)
    await _until(0.0, sink, waiting)


async def _until(when: float, sink: Sink, waiting: list[Event]) -> None:
    """Feed what is due, then wait until `when`, in seconds of the loop."""
    loop = asyncio.get_running_loop()
    if waiting and (when > loop.time() or when == 0.0):
        sink.feed(waiting[:])
        waiting.clear()
        if sink.full:
            await sink.room()
    if (wait := when - loop.time()) > 0:
        await asyncio.sleep(wait)
