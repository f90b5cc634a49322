"""The first event of a stream, and the last: what became of it, and where the time went."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from typing import Final

from tidewire.core.errors import InternalError, TidewireError, TimedOut
from tidewire.core.events import (
    PROTOCOL,
    Citation,
    Closed,
    ErrorInfo,
    Event,
    Finish,
    Opened,
    Reason,
    Retrieved,
    Span,
    Status,
    Superseded,
    Usage,
)
from tidewire.core.ports import Meta, Stage
from tidewire.core.sources import Rested

log = logging.getLogger("tidewire.run")

STATUS: Final[dict[Reason, Status]] = {
    "stop": "completed",
    "stop_string": "completed",
    "tool_calls": "completed",
    "length": "incomplete",
    "content_filter": "incomplete",
    "time_limit": "incomplete",
    "size_limit": "incomplete",
    "client": "cancelled",
    "disconnect": "cancelled",
    "shutdown": "failed",
    "error": "failed",
}

SHUTDOWN: Final = ErrorInfo(
    code="shutting_down",
    message="the server shut down before the answer was complete; what it said is kept: ask again",
    status=503,
    retryable=True,
)


def opened(meta: Meta) -> Opened:
    return Opened(
        stream=meta.stream,
        model=meta.model,
        created=meta.created,
        durability=meta.durability,
        on_disconnect=meta.on_disconnect,
        protocol=PROTOCOL,
        epoch=meta.epoch,
        chat=meta.chat,
    )


class Sums:
    """What adds up on the way to `Closed`: the last usage, and what the answer rests on."""

    def __init__(self) -> None:
        self.usage: Usage | None = None
        self._late = False
        self._searched = False
        self._ms = 0.0
        self._given: dict[int, bool] = {}  # by chunk: whether it was cited
        self._old: set[int] = set()

    def note(self, event: Event) -> None:
        if isinstance(event, Usage):
            self.usage = event
        elif isinstance(event, Citation):
            if event.chunk is not None:
                self._given[event.chunk] = True
        elif isinstance(event, Retrieved):
            self._searched = True
            self._ms += event.ms
            for source in event.passages:
                self._given.setdefault(source.chunk, False)
        elif isinstance(event, Superseded):
            self._old.update(event.chunks)

    def late(self, events: Sequence[Event]) -> None:
        """Told after the answer was stopped: what it had used by then is paid for all the same."""
        for event in events:
            if isinstance(event, Usage):
                self.usage, self._late = event, True

    def unsaid(self, tokens: int) -> Usage | None:
        """The usage that no reader has been told of yet. tokens: of the output, as they passed, where nobody has said any."""
        if self.usage is None:
            self.usage, self._late = Usage(counted_by="server", output=tokens), True
        return self.usage if self._late else None

    def rested(self) -> Rested | None:
        if not self._searched:
            return None
        return Rested(
            passages=len(self._given),
            cited=sum(self._given.values()),
            superseded=len(self._old),
            ms=round(self._ms, 3),
        )


def held_back(stages: Sequence[Stage]) -> list[Event]:
    """What the stages still hold of an answer that is over."""
    out: list[Event] = []
    for n, stage in enumerate(stages):
        tail = stage.end()
        for later in stages[n + 1 :]:
            tail = [x for e in tail for x in later.feed(e)]
        out.extend(e for e in tail if not isinstance(e, Finish))
    return out


def closing(
    reason: Reason,
    error: TidewireError | None,
    *,
    sums: Sums,
    tokens: int,
    spans: Sequence[Span],
    first: float | None,
    latest: float,
) -> Closed:
    """First and latest: seconds from the stream's opening to its first and its last token; first is None where none came."""
    seconds = 0.0 if first is None else latest - first
    usage = sums.usage or Usage(counted_by="server")
    return Closed(
        status=STATUS[reason],
        reason=reason,
        error=_info(reason, error),
        input_tokens=usage.input,
        output_tokens=usage.output,
        cached_tokens=usage.cached,
        reasoning_tokens=usage.reasoning,
        cache_write_tokens=usage.cache_write,
        reused=usage.reused,
        cost=usage.cost,
        ttft=None if first is None else _ms(first),
        tokens_per_second=round((tokens - 1) / seconds, 1) if seconds > 0 and tokens > 1 else None,
        spans=_waterfall(spans, first, latest),
        rested=sums.rested(),
    )


def _info(reason: Reason, error: TidewireError | None) -> ErrorInfo | None:
    if reason == "shutdown":
        return SHUTDOWN
    return error.info() if reason == "error" and error is not None else None


def _waterfall(spans: Sequence[Span], first: float | None, latest: float) -> list[Span]:
    """What the provider measured, then the wait for the first token, then the answer. Milliseconds."""
    if first is None:
        return list(spans)
    known = max((s.start + s.ms for s in spans if s.source == "measured" and s.start < _ms(first)), default=0.0)
    out = list(spans)
    if _ms(first) > known:
        out.append(Span("first_token", known, round(_ms(first) - known, 3)))
    out.append(Span("answer", _ms(first), _ms(latest - first)))
    return out


def _ms(seconds: float) -> float:
    return round(seconds * 1000, 3)


def wordless(seconds: float) -> TimedOut:
    """For a stream that had said nothing when its time limit was over."""
    message = f"no first word within the time limit of {seconds:g} s; try again, or raise time_limit"
    return TimedOut(message, code="time_limit")


def defect(error: BaseException, meta: Meta) -> InternalError:
    """What the client is told of an error that is ours; the log has the rest."""
    log.error("a defect ended a stream", extra={"stream": meta.stream, "model": meta.model}, exc_info=error)
    return InternalError("something went wrong in the server; the log of the server says what, under this stream's id")
