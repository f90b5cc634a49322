"""What each term of an answer's time may take, by class of use, and which took more. Pure; milliseconds where nothing else is said."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final

import msgspec

from tidewire.core.errors import BadRequest, TimedOut
from tidewire.core.events import Closed, Notice, Span
from tidewire.core.request import Request

OVER: Final = "over_budget"
FIRST: Final = "first_token"
SEARCH: Final = "retrieval"
SHOWN: Final = frozenset({"render", "client"})  # the first words' way to a reader's connection, and on to the reader


class Plan(msgspec.Struct, frozen=True):
    """name: of the class, "" for requests of none. terms: milliseconds by term. models: whose requests are of this class.

    total: seconds for the whole answer, where the request says nothing. enforce: no first token in time ends the stream.
    """

    name: str = ""
    terms: Mapping[str, float] = {}
    models: Sequence[str] = ()
    total: float | None = None
    enforce: bool = False

    @property
    def patience(self) -> float | None:
        """Seconds that a stream may be silent from its opening on; None: as long as its time limit."""
        return self.terms[FIRST] / 1000 if self.enforce else None

    @property
    def search(self) -> float | None:
        """Seconds that finding passages may take; None: as long as the settings of the search say."""
        ms = self.terms.get(SEARCH)
        return None if ms is None else ms / 1000

    def late(self) -> TimedOut:
        """For a stream that has said nothing by then."""
        return TimedOut(
            f"no first token within {self.terms[FIRST]:g} ms, which the plan {self.name!r} allows (first_token_ms); try again, or name another plan",
            code="plan_first_token",
        )


class Plans:
    """plain: of requests of no class."""

    def __init__(self, plain: Plan | None = None, others: Sequence[Plan] = ()) -> None:
        self._plain = plain or Plan()
        self._named = {plan.name: plan for plan in others}
        self._of_model = {model: plan for plan in others for model in plan.models}

    def of(self, request: Request) -> Plan:
        """Raises BadRequest for a plan that is not there."""
        if request.plan is None:
            return self._of_model.get(request.model, self._plain)
        plan = self._named.get(request.plan)
        if plan is None:
            known = ", ".join(self._named) or "none"
            raise BadRequest(
                f"there is no plan {request.plan[:80]!r} in [plans]; there are: {known}",
                param="plan",
                code="unknown_plan",
            )
        return plan


def waited(plan: Plan, edge: float, queue: float) -> list[Span]:
    """What was before the stream's opening, where the plan bounds it: seconds in, spans with a start below 0 out."""
    spans = [("edge", -(queue + edge), edge), ("queue", -queue, queue)]
    return [
        Span(name, round(start * 1000, 3), round(took * 1000, 3)) for name, start, took in spans if name in plan.terms
    ]


def shown(
    spans: list[Span], terms: Mapping[str, float], began: float, first: float | None, now: float, *, way: float | None
) -> None:
    """Adds what the first words still took to their reader, where the plan bounds it: seconds in. Once, for the first reader."""
    if first is None or any(span.name in SHOWN for span in spans):
        return
    for name, start, took in (("render", first, now - first), ("client", now, way)):
        if name in terms and took is not None:
            spans.append(Span(name, round((start - began) * 1000, 3), round(took * 1000, 3)))


def over(budget: Mapping[str, float], closed: Closed) -> dict[str, float]:
    """The terms over budget, and what they took: the measured spans of that name together; first_token is all the time to it."""
    took: dict[str, float] = {}
    for span in closed.spans:
        if span.source == "measured" and span.name != FIRST:
            took[span.name] = took.get(span.name, 0.0) + span.ms
    if closed.ttft is not None:
        took[FIRST] = closed.ttft
    return {term: took[term] for term, limit in budget.items() if took.get(term, 0.0) > limit}


def notice(budget: Mapping[str, float], terms: Mapping[str, float], spans: Sequence[Span] = ()) -> Notice:
    """The terms in words, for the end of the stream; where parts of one were measured, the longest is named."""
    said = ", ".join(
        f"{term} took {took:.0f} of {budget[term]:g} ms{_longest(term, spans)}" for term, took in terms.items()
    )
    return Notice(code=OVER, message=said)


def _longest(term: str, spans: Sequence[Span]) -> str:
    parts = [span for span in spans if span.source == "measured" and span.name.startswith(f"{term}.")]
    if not parts:
        return ""
    most = max(parts, key=lambda span: span.ms)
    return f" (most of it {most.name.partition('.')[2]}, {most.ms:.0f} ms)"
