"""What each term of an answer's time may take, and which took more. Pure; milliseconds."""

from __future__ import annotations

from collections.abc import Mapping

from tidewire.core.events import Closed, Notice

OVER: str = "over_budget"


def over(budget: Mapping[str, float], closed: Closed) -> dict[str, float]:
    """The terms over budget, and what they took: the measured spans of that name together; first_token is all the time to it."""
    took: dict[str, float] = {}
    for span in closed.spans:
        if span.source == "measured" and span.name != "first_token":
            took[span.name] = took.get(span.name, 0.0) + span.ms
    if closed.ttft is not None:
        took["first_token"] = closed.ttft
    return {term: took[term] for term, limit in budget.items() if took.get(term, 0.0) > limit}


def notice(budget: Mapping[str, float], terms: Mapping[str, float]) -> Notice:
    """The terms in words, for the end of the stream."""
    said = ", ".join(f"{term} took {took:.0f} of {budget[term]:g} ms" for term, took in terms.items())
    return Notice(code=OVER, message=said)
