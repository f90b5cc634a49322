"""A cascade: a fast model answers at once; where a judge finds the draft wanting, a stronger one betters it.

What it keeps: the draft's tokens pass as they come, and nothing is added to its end but the judge's time. A refinement comes as edits,
in reading order; one that fails is taken back, so that at its end the text is one model's or the other's. A client that cannot take
back text has the draft alone, or waits. Nothing runs on when `answer` is left.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import Final

import msgspec

from tidewire.core.errors import TidewireError
from tidewire.core.events import Notice, Progress, Span, Timing
from tidewire.core.meter import CascadeMeter
from tidewire.core.ports import ModelInfo, Provider, Sink
from tidewire.core.request import Message, Request, Text
from tidewire.core.tokens import of_text
from tidewire.routing import judge
from tidewire.routing.cascade_plan import CascadePlan, Member
from tidewire.routing.costs import Alone, Costs, Role
from tidewire.routing.drafting import Draft
from tidewire.routing.due import deadline
from tidewire.routing.hedge import Hedges
from tidewire.routing.judge import Verdict, asks_json
from tidewire.routing.refining import Better, Heard, Other
from tidewire.routing.table import needs
from tidewire.routing.tally import Tally
from tidewire.routing.trying import Numbered

Find = Callable[[str], Awaitable[tuple[Provider, str]]]

JUDGE_FAILED: Final = "judge_failed"
REFINEMENT_FAILED: Final = "refinement_failed"
ROLLING_BACK: Final = 0.05  # seconds before the deadline that a refinement ends by


class Cascade:
    """A `Provider`. find: the provider behind a model's name, and the name by which it knows it; raises UnknownModel.

    share: how many answers may be refined. limit: seconds for an answer whose request sets no time limit.
    """

    def __init__(
        self,
        name: str,
        plan: CascadePlan,
        *,
        find: Find,
        share: Hedges,
        meter: CascadeMeter,
        clock: Callable[[], float],
        limit: float = 1800.0,
    ) -> None:
        self.name = name
        self.plan = plan
        self.find = find
        self.share = share
        self.meter = meter
        self.clock = clock
        self.limit = limit

    async def answer(self, request: Request, sink: Sink) -> None:
        edits = editable(request)
        if request.n > 1 or (not edits and self.plan.without_edits == "draft"):
            await self._draft_only(request, sink)
            return
        await _Answering(self, request, sink, edits=edits).run()

    async def _draft_only(self, request: Request, sink: Sink) -> None:
        self.meter.cascaded(self.name, "draft_only")
        costs, tally = Costs(self.name, self.meter), Tally()
        costs.begin("draft", self.plan.draft, request, tally)
        try:
            provider, name = await self.find(self.plan.draft.model)
            await provider.answer(msgspec.structs.replace(request, model=name), Alone(sink, costs, tally))
        finally:
            if costs.settle():
                sink.feed(costs.told())

    async def models(self) -> Sequence[ModelInfo]:
        note = f"{self.plan.draft.model}, bettered by {self.plan.refine.model}"
        return [ModelInfo(id=self.name, provider="cascade", note=note)]

    async def close(self) -> None:
        """The providers behind it belong to others."""


def editable(request: Request) -> bool:
    """Whether text that was shown may be edited: not for clients that cannot, and not where something else was made of it on its way:
    JSON its fields, stop strings an end, log probabilities a place each.
    """
    return request.edits and not asks_json(request) and not request.stop and request.logprobs is None


class _Answering:
    """One answer. edits: it is edited on the screen; else it is held back until it is judged."""

    def __init__(self, cascade: Cascade, request: Request, sink: Sink, *, edits: bool) -> None:
        self._cascade = cascade
        self._plan = cascade.plan
        self._request = request
        self._sink = Numbered(sink)
        self._edits = edits
        self._now = cascade.clock
        self._began = self._now()
        self._deadline = deadline(request, cascade.limit, self._began) - ROLLING_BACK
        self._draft = Draft(self._sink, hold=not edits, grown=self._grown)
        self._judging: asyncio.Task[bool | None] | None = None
        self._judged = Heard()
        self._costs = Costs(cascade.name, cascade.meter)

    async def run(self) -> None:
        self._cascade.share.request()
        try:
            result = await self._run()
        finally:
            try:
                await self._dismiss()
            finally:
                if self._costs.settle():
                    self._sink.feed(self._costs.told())
            self._draft.forget()
        self._cascade.meter.cascaded(self._cascade.name, result)

    async def _run(self) -> str:
        """How it came out, in a word for the metrics."""
        draft = self._draft
        if not self._edits:
            self._sink.feed([Progress(stage="drafting")])
        try:
            await self._ask("draft", self._plan.draft, self._request, draft)
        except TidewireError:
            draft.release()
            raise
        self._costs.book("draft")
        verdict = await self._verdict() if draft.complete else None
        await self._dismiss()
        self._costs.book("judge")
        if verdict is None or not verdict.refine:
            draft.release(self._costs.told())
            return "unfit" if verdict is None else "kept"
        if (why := self._barred()) is not None:
            draft.release(self._costs.told())
            return why
        return await (self._edit(verdict.why) if self._edits else self._replace(verdict.why))

    # The judge

    def _grown(self, size: int) -> None:
        """The draft has so many characters: once there are enough, the judge model looks at them while the rest is written."""
        if self._judging is None and self._plan.judge.model and 0 < self._plan.judge_after <= size:
            self._judging = asyncio.get_running_loop().create_task(self._judge(whole=False))

    async def _verdict(self) -> Verdict:
        verdict = judge.by_rule(self._plan.rules, self._request, self._draft.text)
        if verdict.certain or not self._plan.judge.model:
            return verdict
        if self._judging is None:
            self._judging = asyncio.get_running_loop().create_task(self._judge(whole=True))
        refine = await self._judging
        if refine is None:
            told = "it is written again" if verdict.refine else "the answer stays as it is"
            self._sink.feed([Notice(code=JUDGE_FAILED, message=f"the judge gave no verdict; by rule, {told}")])
            return verdict
        return Verdict(refine=refine, why="the judge finds it wanting" if refine else "the judge finds it good")

    async def _judge(self, *, whole: bool) -> bool | None:
        """None: no verdict, or not in time."""
        try:
            async with asyncio.timeout(min(self._plan.judge_s, max(0.0, self._deadline - self._now()))):
                asked = judge.put(self._request, self._draft.text, whole=whole)
                await self._ask("judge", self._plan.judge, asked, self._judged)
        except (TidewireError, TimeoutError):
            return None
        return judge.read(self._judged.text)

    async def _dismiss(self) -> None:
        """The judge is not waited for any longer."""
        if (judging := self._judging) is not None:
            if not judging.done() and not judging.cancelling():
                judging.cancel()
            await asyncio.gather(judging, return_exceptions=True)

    def _barred(self) -> str | None:
        """Why there is no refinement although there should be one."""
        plan = self._plan
        answer = of_text(self._draft.text)
        if plan.max_cost and plan.refine.price(needs(self._request).tokens + answer, answer) > plan.max_cost:
            return "cost"
        if self._now() >= self._deadline:
            return "late"
        return None if self._cascade.share.take() else "share"

    # The refinement

    async def _edit(self, why: str) -> str:
        """On the screen."""
        draft = self._draft
        self._sink.reason = "refinement"
        self._sink.feed([Progress(stage="refining", detail=why)])
        began = self._now()
        better = Better(self._sink, draft.text, draft.part)
        problem = ""
        try:
            async with asyncio.timeout(self._left()):
                await self._ask("refine", self._plan.refine, self._better(), better)
            problem = better.problem or self._too_long(better)
        except TimeoutError:
            problem = "it took too long"
        except TidewireError as error:
            problem = error.message
        self._costs.book("refine")
        changes = better.back() if problem else better.end()
        span = Span("refinement", round((began - self._began) * 1000, 3), round((self._now() - began) * 1000, 3))
        told = self._failed(problem) if problem else Progress(stage="refining", detail=self._refined(better.changes))
        draft.release(Timing(span=span), told, self._costs.told(), before=changes)
        if problem:
            return "failed"
        return "refined" if better.changes else "unchanged"

    async def _replace(self, why: str) -> str:
        """Before anything was shown. Once its text flows, a failure ends the stream as any host's does."""
        draft = self._draft
        self._sink.reason = "refinement"
        self._sink.feed([Progress(stage="refining", detail=why)])
        other = Other(self._sink, late=(self._now() - self._began) * 1000, before=self._costs.total)
        problem = ""
        try:
            async with asyncio.timeout(self._left()) as limit:
                other.begins = lambda: _unbound(limit)
                await self._ask("refine", self._plan.refine, self._better(), other)
        except TimeoutError:
            problem = "it took too long"
        except TidewireError as error:
            if other.begun:
                self._cascade.meter.cascaded(self._cascade.name, "failed")
                raise
            problem = error.message
        self._costs.book("refine")
        if not problem and not other.begun:
            problem = "it said nothing"
        if problem:
            draft.release(self._failed(problem), self._costs.told())
            return "failed"
        self._sink.feed([*self._costs.told(), *([other.finish] if other.finish is not None else [])])
        return "refined"

    def _better(self) -> Request:
        """What the stronger model is asked: the question, the draft as its own answer, and what to do with it."""
        request, asked = self._request, self._plan.instruction
        return msgspec.structs.replace(
            request,
            messages=[
                *request.messages,
                Message(role="assistant", content=[Text(self._draft.text)]),
                Message(role="user", content=[Text(asked)]),
            ],
            tool_choice="none" if request.tools else request.tool_choice,
            first_by=None if self._edits else request.first_by,
        )

    def _too_long(self, better: Heard) -> str:
        """A host that does not keep the token limit itself: a stage would keep it for a text that is no edit."""
        most = self._request.max_tokens
        return f"it took more than {most} tokens" if most is not None and better.tally.deltas > most else ""

    def _left(self) -> float:
        return max(0.0, min(self._plan.refine_s, self._deadline - self._now()))

    def _failed(self, problem: str) -> Notice:
        said = f"{self._plan.refine.model} could not better the answer ({problem}); it stays as it was"
        return Notice(code=REFINEMENT_FAILED, message=said)

    def _refined(self, changes: int) -> str:
        """What came of it, for people."""
        cost = f", for {self._costs.usd:.6f} USD in all" if self._costs.usd else ""
        places = f"in {changes} place{'s' * (changes > 1)}" if changes else "nowhere"
        return f"{self._plan.refine.model} changed the answer {places}{cost}"

    async def _ask(self, role: Role, member: Member, request: Request, heard: Draft | Heard) -> None:
        self._costs.begin(role, member, request, heard.tally)
        provider, name = await self._cascade.find(member.model)
        await provider.answer(msgspec.structs.replace(request, model=name), heard)


def _unbound(limit: asyncio.Timeout) -> bool:
    """Lift the limit; False where it has been met."""
    if limit.expired():
        return False
    limit.reschedule(None)
    return True
