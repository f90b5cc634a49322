"""What becomes of an answer: `Streamed` decodes it into a sink as it comes, `Whole` collects a small one.

One answer, one future, one timer at a time. The idle deadline is a flag that a coarse timer looks at: nothing is reset per token.
"""

from __future__ import annotations

import asyncio
import math
from collections.abc import Callable, Sequence
from typing import Final

import msgspec

from tidewire.core.errors import TidewireError, TimedOut, UpstreamError
from tidewire.core.events import Delta, Event, Finish, PartStarted, Span, Timing
from tidewire.core.ports import Decoder, Sink
from tidewire.providers.address import Address
from tidewire.providers.connection import Connection
from tidewire.providers.refusals import MAX_BODY, encoded, refusal

LINGER: Final = 1.0  # seconds that a host may hold an answer open after its last word
REFUSED: Final = 5.0  # seconds that the text of a refusal is waited for


class Timeouts(msgspec.Struct, frozen=True):
    """Seconds. header: from the request to the answer's head; first_token: from there to the first content; idle: between bytes."""

    connect: float = 5.0
    header: float = 60.0
    first_token: float = 60.0
    idle: float = 60.0


class Answer:
    """What both have in common: the one future that the caller waits on, and the one timer."""

    __slots__ = ("_address", "_error", "_loop", "_over", "_timer", "_turn")

    def __init__(self, address: Address, loop: asyncio.AbstractEventLoop) -> None:
        self._address = address
        self._loop = loop
        self._turn: asyncio.Future[None] = loop.create_future()
        self._timer: asyncio.TimerHandle | None = None
        self._error: Exception | None = None
        self._over = False

    def broken(self, error: Exception) -> None:
        self._end(error)

    def _end(self, error: Exception | None = None) -> None:
        if self._over:
            return
        self._over = True
        self._error = error
        self.disarm()
        self._wake()

    def _wake(self) -> None:
        if not self._turn.done():
            self._turn.set_result(None)

    def arm(self, seconds: float, then: Callable[[], None]) -> None:
        self.disarm()
        self._timer = self._loop.call_later(seconds, then)

    def disarm(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None


class Streamed(Answer):
    """Pushes what each read completes into the sink in one call, from within data_received."""

    __slots__ = (  # noqa: RUF023 - what every token touches stands together
        "_flowing",
        "_moved",
        "_decoder",
        "_sink",
        "_connection",
        "_timeouts",
        "_began",
        "_clock",
        "_asked",
        "_deadline",
        "_pending",
        "_secrets",
        "_status",
        "_headers",
        "_document",
        "_doubtful",
        "_finished",
        "_quiet",
        "_tick",
        "_held",
    )

    def __init__(
        self,
        connection: Connection,
        decoder: Decoder,
        sink: Sink,
        timeouts: Timeouts,
        loop: asyncio.AbstractEventLoop,
        *,
        clock: Callable[[], float],
        began: float,
        connected: tuple[float, float],
        secrets: Sequence[str],
        deadline: float | None = None,
    ) -> None:
        """clock: seconds. began: its time when the call began; connected: when connecting began and ended; deadline: until when a first
        word is waited for at most.
        """
        super().__init__(connection.address, loop)
        self._connection = connection
        self._decoder = decoder
        self._sink = sink
        self._timeouts = timeouts
        self._clock = clock
        self._began = began
        self._asked = connected[1]
        self._deadline = math.inf if deadline is None else deadline
        self._pending: list[Event] = [_span("connect", began, *connected)]
        self._secrets = secrets
        self._status = 0
        self._headers: dict[str, str] = {}
        self._document: bytearray | None = None  # an answer that is no stream
        self._doubtful = False
        self._finished = False
        self._flowing = False  # content has come, and more is on its way: nothing is left to doubt
        self._moved = False
        self._quiet = 0.0
        self._tick = min(1.0, timeouts.idle / 4)
        self._held = False

    async def finish(self) -> None:
        """Returns at the answer's end; raises what broke it. The caller aborts the connection if this is left early."""
        self._await(self._timeouts.header, self._no_header)
        try:
            while True:
                await self._turn
                if self._error is not None:
                    raise self._error
                if self._over:
                    return
                self._turn = self._loop.create_future()
                await self._sink.room()
                self._held = False
                self._connection.resume()
        finally:
            self._over = True
            self._flowing = False
            self.disarm()

    # Taker: called from the connection

    def head(self, status: int, headers: dict[str, str]) -> None:
        now = self._clock()
        self._status, self._headers = status, headers
        self._pending.append(_span("headers", self._began, self._asked, now))
        reported = headers.get("openai-processing-ms", "")
        if reported.isdigit():
            start = (self._asked - self._began) * 1000
            self._pending.append(Timing(span=Span("host_processing", round(start, 3), float(reported), "reported")))
        kind = headers.get("content-type", "")
        if headers.get("content-encoding", "identity") not in ("identity", ""):
            self._end(encoded(self._address, headers["content-encoding"]))
            return
        if status >= 300 or "text/html" in kind:
            self._document = bytearray()
        # a document, or a stream whose host mislabels it: its first byte tells. Some decoders read documents
        self._doubtful = "application/json" in kind and not getattr(self._decoder, "documents", False)
        if self._document is None:
            self._await(self._timeouts.first_token, self._no_token)
        else:
            self.arm(min(self._timeouts.first_token, REFUSED), self._enough)

    def body(self, data: bytes, last: bool) -> None:  # noqa: FBT001 - called per read, positionally
        self._moved = True
        if not self._flowing:
            if self._document is not None or self._doubtful:
                self._doubt(data)
                if self._document is not None:
                    self._collect(data, last)
                    return
            if self._over:
                return
        error: Exception | None = None
        events: Sequence[Event] = ()
        try:
            events = self._decoder.feed(data)
            if last:
                events = [*events, *self._decoder.end()]
        except Exception as problem:  # noqa: BLE001 - supervisor boundary: a decoder's defect ends its own answer
            error = problem
            if isinstance(problem, UpstreamError):
                events = [*events, *problem.before]
        if not self._flowing:
            events = self._begin(events)
        if events:
            sink = self._sink
            sink.feed(events)
            if type(events[-1]) is Finish and not last:
                self._finished = True
                self.arm(LINGER, self._end)
            if sink.full:
                self._hold()
        if error is not None:
            self._end(_placed(error, self._address))
        elif last:
            self._end()

    def broken(self, error: Exception) -> None:
        if self._finished:  # the host's last word had come; how it hangs up does not matter
            self._end()
        elif self._document is not None and self._document:
            self._collect(b"", last=True)
        else:
            self._end(error)

    def _end(self, error: Exception | None = None) -> None:
        if isinstance(error, TidewireError):
            error.begun = self._flowing
        self._flowing = False
        super()._end(error)

    # Backpressure

    def _hold(self) -> None:
        if not self._held:
            self._held = True
            self._connection.pause()
            self._wake()

    # Deadlines

    def _await(self, seconds: float, then: Callable[[], None]) -> None:
        """A time of the host's, within what is left of the request's."""
        left = self._deadline - self._clock()
        if seconds <= left:
            self.arm(seconds, then)
        else:
            self.arm(max(0.0, left), self._no_time)

    def _no_time(self) -> None:
        self._end(out_of_time(self._address))

    def _begin(self, events: Sequence[Event]) -> Sequence[Event]:
        """Before the content: what was measured goes first. From the first content on, the deadline is the one between bytes."""
        for event in events:
            if type(event) is Delta or type(event) is PartStarted:
                self._flowing = True
                self.arm(self._tick, self._still)
                break
        pending, self._pending = self._pending, []
        return [*pending, *events] if pending else events

    def _still(self) -> None:
        if self._moved or self._held:
            self._moved = False
            self._quiet = 0.0
        else:
            self._quiet += self._tick
            if self._quiet >= self._timeouts.idle:
                self._late(f"sent nothing for {self._timeouts.idle:g} s in the middle of its answer", "idle")
                return
        self.arm(self._tick, self._still)

    def _no_header(self) -> None:
        self._late(f"took the request and sent no answer for {self._timeouts.header:g} s", "header")

    def _no_token(self) -> None:
        if self._held:
            self.arm(self._tick, self._no_token)
            return
        self._late(f"began its answer and sent no token for {self._timeouts.first_token:g} s", "first_token")

    def _late(self, what: str, setting: str) -> None:
        self._end(
            TimedOut(
                f"{self._address} {what}; raise {setting}_s of this host if it needs longer",
                code=f"upstream_{setting}_timeout",
            )
        )

    # Answers that are no stream

    def _doubt(self, data: bytes) -> None:
        if self._doubtful and data.strip():
            self._doubtful = False
            if data.lstrip()[:1] in (b"{", b"["):
                self._document = bytearray()

    def _enough(self) -> None:
        self._collect(b"", last=True)

    def _collect(self, data: bytes, last: bool) -> None:  # noqa: FBT001
        assert self._document is not None
        self._document += data
        if last or len(self._document) >= MAX_BODY:
            body = bytes(self._document[:MAX_BODY])
            self._end(refusal(self._address, self._status, self._headers, body, self._secrets))


def out_of_time(address: Address) -> TimedOut:
    """The request's own limit was over first, which says nothing of the host."""
    return TimedOut(f"{address} had said nothing when the time limit was over; raise time_limit", code="time_limit")


class Whole(Answer):
    """A small answer in one piece, at most `limit` bytes."""

    def __init__(self, address: Address, limit: int, loop: asyncio.AbstractEventLoop) -> None:
        super().__init__(address, loop)
        self._limit = limit
        self._body = bytearray()
        self._status = 0
        self._headers: dict[str, str] = {}

    async def finish(self) -> tuple[int, dict[str, str], bytes]:
        await self._turn
        if self._error is not None:
            raise self._error
        return self._status, self._headers, bytes(self._body)

    def head(self, status: int, headers: dict[str, str]) -> None:
        self._status, self._headers = status, headers
        if headers.get("content-encoding", "identity") not in ("identity", ""):
            self._end(encoded(self._address, headers["content-encoding"]))

    def body(self, data: bytes, last: bool) -> None:  # noqa: FBT001 - called per read, positionally
        self._body += data
        if len(self._body) > self._limit:
            self._end(
                UpstreamError(f"{self._address} answered with more than {self._limit} bytes", code="upstream_too_large")
            )
        elif last:
            self._end()


def _placed(error: Exception, address: Address) -> Exception:
    """A decoder does not know which host it listens to: say so in its errors."""
    if isinstance(error, TidewireError) and str(address) not in error.message:
        error.message = f"{address}: {error.message}"
        error.args = (error.message,)
    return error


def _span(name: str, began: float, start: float, end: float) -> Timing:
    return Timing(span=Span(name, round((start - began) * 1000, 3), round((end - start) * 1000, 3)))
