"""A run: one answer on its way from a provider into its log. `Run.feed` is the only loop over tokens.

Rules it keeps:
1. Opened is in the log before the task exists; Closed is written by the task's done-callback, so that a task cancelled
   before its first step, or at any await, still ends its stream exactly once.
2. Stages come before numbering; nothing is fed after the end.
3. A defect anywhere in a run ends that run's stream and nobody else's.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Sequence
from typing import Final

from tidewire.core import events as ev
from tidewire.core.errors import TidewireError, TimedOut, UpstreamError
from tidewire.core.events import Delta, Entry, Event, NewEntry, Reason, Span, encode
from tidewire.core.meter import Meter
from tidewire.core.ports import Meta, Provider, Stage, Step, Writer
from tidewire.core.request import Request
from tidewire.engine.closing import Sums, closing, defect, held_back, opened, wordless
from tidewire.engine.following import Audience
from tidewire.engine.gate import Gate
from tidewire.engine.plan import Plan, notice, over, shown

log = logging.getLogger("tidewire.run")

STUBBORN: Final = 5.0  # seconds that a provider may take to let go; then the stream ends without it

UNLOGGED: Final = frozenset({ev.Finish, ev.Timing})
CHECK_EVERY: Final = 64  # events between two looks at an answer's size
LARGE: Final = 64 * 1024  # bytes of an event after which one looks at once


class Run:
    """One answer. Is the `Sink` of its provider; `ended` is set once Closed is in the log."""

    __slots__ = (  # noqa: RUF023 - what every token touches stands together
        "_why",
        "_stages",
        "_clock",
        "_began",
        "last",
        "_first",
        "_latest",
        "_writer",
        "_others",
        "_check_at",
        "_meter",
        "_part",
        "_waits",
        "_audience",
        "plan",
        "_guarded",
        "_event_limit",
        "_size_limit",
        "_done",
        "_error",
        "_finish",
        "_loop",
        "_parts",
        "_provider",
        "_spans",
        "_steps",
        "_stopped_at",
        "_sums",
        "_task",
        "_time_limit",
        "_timers",
        "closed",
        "ended",
        "meta",
        "request",
    )

    def __init__(
        self,
        request: Request,
        meta: Meta,
        *,
        provider: Provider,
        steps: Sequence[Step],
        stages: Sequence[Stage],
        time_limit: float,
        size_limit: int,
        event_limit: int,
        meter: Meter,
        loop: asyncio.AbstractEventLoop,
        clock: Callable[[], float],
        done: Callable[[Run], None],
        plan: Plan = Plan(),  # noqa: B008 - frozen
        spans: Sequence[Span] = (),
    ) -> None:
        """spans: what was measured before its beginning."""
        self.request = request
        self.meta = meta
        self.ended = Gate()  # Closed is in the log
        self.closed = Gate()  # and the log has put the stream away
        self.last = 0
        self._provider = provider
        self._steps = steps
        self._stages = stages
        self._time_limit = time_limit
        self._size_limit = size_limit
        self._check_at = CHECK_EVERY
        self._others = 0  # events that are no tokens
        self._event_limit = event_limit
        self._meter = meter
        self._loop = loop
        self._done = done
        self.plan = plan
        self._guarded = 0.0  # seconds in stages
        self._clock = clock
        self._began = clock()
        self._writer: Writer
        self._audience: Audience
        self._task: asyncio.Task[None] | None = None
        self._timers: list[asyncio.TimerHandle] = []
        self._why: Reason | None = None  # why we stopped it
        self._stopped_at = 0.0
        self._finish: Reason | None = None  # the provider's own last word
        self._error: TidewireError | None = None
        self._parts: dict[int, bool] = {}  # open parts
        self._part = -1  # the one that text came for last
        self._first: float | None = None
        self._latest = 0.0
        self._sums = Sums()
        self._spans = list(spans)

    def begin(self, writer: Writer, audience: Audience) -> None:
        """Write Opened and set off."""
        self._writer = writer
        self._audience = audience
        self._waits = audience.ahead > 0
        self._append([opened(self.meta)])
        self._meter.opened(self.meta.model)
        self._timers.append(self._loop.call_later(self._time_limit, self.stop, "time_limit"))
        if self.plan.patience is not None:
            self._timers.append(self._loop.call_later(self.plan.patience, self._silent))
        self._task = self._loop.create_task(self._work())
        self._task.add_done_callback(self._over)
        if self._why is not None:  # stopped while its log was being opened
            self._let_go(self._task)

    def stop(self, reason: Reason) -> None:
        """Let go of the host and end the stream; the first reason given counts."""
        if self._why is not None or self.ended.is_set():
            return
        self._why = reason
        self._stopped_at = self._clock()
        if self._task is not None:  # else `begin` will find out
            self._let_go(self._task)

    def fail(self, error: Exception) -> None:
        """The log cannot store this stream, or a defect showed: end it with this error."""
        self._error = error if isinstance(error, TidewireError) else defect(error, self.meta)
        self.stop("error")

    def shown(self, way: float | None) -> None:
        """A reader's connection has the first words. way: seconds from there to the reader, where that is known."""
        shown(self._spans, self.plan.terms, self._began, self._first, self._clock(), way=way)

    def _let_go(self, task: asyncio.Task[None]) -> None:
        """Whoever does not follow in time is not waited for."""
        self._timers.append(self._loop.call_later(STUBBORN, self._give_up))
        task.cancel()

    async def store(self, expires: int) -> None:
        """Let the log put the ended stream away. expires: Unix milliseconds."""
        self.meta.ended = time.time_ns() // 1_000_000
        self.meta.expires = expires
        self.meta.last = self.last
        await self._writer.close(self.meta)

    async def _work(self) -> None:
        request = self.request
        for step in self._steps:
            request = await step.prepare(request, self)
        await self._provider.answer(request, self)

    def _over(self, task: asyncio.Task[None]) -> None:
        """The task is over, however it came to that."""
        error = None if task.cancelled() else task.exception()
        self._end(error)
        # The frames of an error hold this run: what is over is freed now, by its count. The collector would stop everybody.
        self._task = self._error = None
        if error is not None:
            error.__traceback__ = None

    def _silent(self) -> None:
        if self._first is None:
            self.fail(self.plan.late())

    def _give_up(self) -> None:
        log.error("provider did not let go", extra={"stream": self.meta.stream, "provider": self._provider.name})
        self._end(None)

    def _end(self, error: BaseException | None) -> None:
        """The one place where a stream ends."""
        if self.ended.is_set():
            return
        for timer in self._timers:
            timer.cancel()
        reason = self._judge(error)
        try:
            self._append(held_back(self._stages))
        except Exception as broken:  # noqa: BLE001 - supervisor boundary: a stage broke while ending
            self._error = defect(broken, self.meta)
            reason = "error"
        last_words = self._last_words(reason)
        self.ended.set()
        self._append(last_words)
        self._report(last_words[-1], reason)
        self._done(self)

    def _report(self, closed: Event, reason: Reason) -> None:
        assert isinstance(closed, ev.Closed)
        now = self._clock()
        if self._stopped_at:
            self._meter.cancelled(now - self._stopped_at)
        told = self._tokens if closed.output_tokens is None else closed.output_tokens
        self._meter.closed(self.meta.model, closed.status, reason, now - self._began, 0 if closed.reused else told)
        if closed.error is not None:
            self._meter.failed(self._provider.name, closed.error.code)

    def _judge(self, error: BaseException | None) -> Reason:
        if self._error is not None:
            return "error"
        if self._why is not None and self._why != "time_limit":
            return self._why
        if self._finish is not None:
            return self._finish
        late = self._why == "time_limit" or (isinstance(error, TimedOut) and error.kind == "time_limit")
        if late and self._first is not None:
            return "time_limit"
        if late:
            error = wordless(self._time_limit)
        elif error is None and (self._task is None or self._task.cancelled()):
            return "shutdown"  # nobody here asked for it: the event loop is going down
        elif error is None:
            error = UpstreamError(
                f"{self._provider.name} ended its answer without saying why", code="upstream_unfinished"
            )
        self._error = error if isinstance(error, TidewireError) else defect(error, self.meta)
        return "error"

    def _last_words(self, reason: Reason) -> list[Event]:
        out: list[Event] = [ev.PartEnded(part=part) for part in self._parts]
        if (unsaid := self._sums.unsaid(self._tokens)) is not None:
            out.append(unsaid)
        closed = closing(
            reason,
            self._error,
            sums=self._sums,
            tokens=self._tokens,
            spans=self._spans,
            first=None if self._first is None else self._first - self._began,
            latest=self._latest - self._began,
        )
        if self._guarded:
            closed.spans.append(Span("guard", 0.0, round(self._guarded * 1000, 3)))
        if terms := over(self.plan.terms, closed):
            out.append(notice(self.plan.terms, terms, closed.spans))
            for term in terms:
                self._meter.over_budget(term, self.plan.name)
        out.append(closed)
        return out

    def feed(self, events: Sequence[Event]) -> None:
        if self._why is not None:
            self._sums.late(events)
            return
        try:
            if self._stages:
                began = self._clock()
                for stage in self._stages:
                    events = (
                        stage.feed(events[0]) if len(events) == 1 else [out for e in events for out in stage.feed(e)]
                    )
                self._guarded += self._clock() - began
            if len(events) == 1 and type(event := events[0]) is Delta and event.part == self._part:
                self._token(event)
            else:
                self._append(events)
        except Exception as error:  # noqa: BLE001 - supervisor boundary: it ends this stream, not its neighbours
            self.fail(error)

    @property
    def full(self) -> bool:
        return self._writer.full or (self._waits and self._audience.behind(self.last))

    async def room(self) -> None:
        while self._audience.behind(self.last):
            await self._audience.caught_up()
        await self._writer.room()

    def _token(self, event: Delta) -> None:
        """`_append`, straight, for the usual batch: one more piece of the part that text came for last."""
        now = self._clock()
        event.seq = seq = self.last + 1
        event.at = int((now - self._began) * 1000)
        raw = encode(event)
        self.last = seq
        self._meter.gap(now - self._latest)
        self._latest = now
        self._writer.append([NewEntry(seq, raw, event)])
        if seq >= self._check_at or len(raw) > LARGE:
            self._check_size()

    def _append(self, events: Sequence[Event]) -> None:
        now = self._clock()
        at = int((now - self._began) * 1000)
        seq = self.last
        tokens = 0
        entries: list[Entry] = []
        wrong: Exception | None = None
        for event in events:
            event.seq = seq + 1
            event.at = at
            if type(event) is Delta:
                tokens += 1
                if event.part != self._part:
                    self._turn_to(event.part)
            elif type(event) in UNLOGGED:
                self._hear(event)
                continue
            try:
                raw = encode(event)
            except (ValueError, TypeError) as error:  # half a character, say: what came before it is kept
                tokens -= type(event) is Delta
                wrong = error
                break
            if type(event) is not Delta and not self._note(event):
                continue
            if len(raw) > LARGE:
                self._check_at = 0
            seq += 1
            entries.append(NewEntry(seq, raw, event))
        if entries:
            self._put(entries, tokens, now)
        if wrong is not None:
            raise wrong

    def _put(self, entries: list[Entry], tokens: int, now: float) -> None:
        seq = self.last = entries[-1].seq
        if tokens:
            if self._first is None:
                self._first = now
                self._meter.first_token(self.meta.model, now - self._began)
            else:
                self._meter.gap(now - self._latest)
            self._latest = now
        self._others += len(entries) - tokens
        self._writer.append(entries)
        if seq >= self._check_at:
            self._check_size()

    @property
    def _tokens(self) -> int:
        return self.last - self._others

    def _check_size(self) -> None:
        """Now and then: an answer without an end ends here."""
        self._check_at = self.last + CHECK_EVERY
        if (self._writer.size > self._size_limit or self.last > self._event_limit) and not self.ended.is_set():
            self.stop("size_limit")

    def _turn_to(self, part: int) -> None:
        if part not in self._parts:
            raise ValueError(f"{self._provider.name} fed text for part {part}, which is not open")
        self._part = part

    def _note(self, event: Event) -> bool:
        """Keep what Closed will say; False for the end of a part that is not open."""
        if isinstance(event, ev.PartStarted):
            self._parts[event.part] = True
        elif isinstance(event, ev.PartEnded):
            self._part = -1
            return self._parts.pop(event.part, False)
        else:
            self._sums.note(event)
        return True

    def _hear(self, event: Event) -> None:
        """What a provider tells the run, and nobody else."""
        if isinstance(event, ev.Timing):
            self._spans.append(event.span)
        elif isinstance(event, ev.Finish):
            if self._finish is None:
                self._finish = event.reason
            if event.early:
                self.stop(event.reason)
