"""The settings of latency plans: what each term of an answer's time may take, for a class of use."""

from __future__ import annotations

from typing import Annotated

from msgspec import Meta

from tidewire.engine.plan import Plan
from tidewire.server.group import Group, Ms


class Budget(Group, frozen=True):
    """How long each term of an answer's time may take; 0: as long as it does. A stream that took more says so at its end."""

    edge_ms: Annotated[Ms, Meta(description="From the request's head to a request that is understood.")] = 0.0
    queue_ms: Annotated[
        Ms, Meta(description="From there until the stream may open: admission, and finding its model.")
    ] = 0.0
    retrieval_ms: Annotated[Ms, Meta(description="Finding passages.")] = 0.0
    connect_ms: Annotated[Ms, Meta(description="Connecting to hosts, all tries together.")] = 0.0
    headers_ms: Annotated[Ms, Meta(description="From a host's question to its first header, all tries together.")] = 0.0
    first_token_ms: Annotated[Ms, Meta(description="From the stream's opening to its first token.")] = 0.0
    answer_ms: Annotated[Ms, Meta(description="From the first token to the last.")] = 0.0
    guard_ms: Annotated[
        Ms, Meta(description="What is done to events before they are stored, all of them together.")
    ] = 0.0

    render_ms: Annotated[
        Ms, Meta(description="From the first token in the log until its bytes are handed to the reader's connection.")
    ] = 0.0
    client_ms: Annotated[
        Ms, Meta(description="From there to the reader: half of the round trip that the kernel measures.")
    ] = 0.0

    def terms(self) -> dict[str, float]:
        """Milliseconds by term, those that are bounded."""
        given = ((name, getattr(self, name)) for name in Budget.__struct_fields__)
        return {name.removesuffix("_ms"): ms for name, ms in given if ms}


class UsePlan(Budget, frozen=True):
    """A class of use, with a budget of its own: [plans.NAME]. A request names it, or its model does."""

    models: Annotated[
        list[str], Meta(description="Models whose requests are of this class, where they name none.")
    ] = []
    total_s: Annotated[
        float,
        Meta(
            ge=0,
            le=604800,
            extra={"unit": "s"},
            description="Time limit of requests that set none; 0: that of the server.",
        ),
    ] = 0.0
    enforce: Annotated[
        bool,
        Meta(
            description="End a stream that has said nothing by first_token_ms, instead of only naming it. "
            "A route asks another candidate before, while it can be in time."
        ),
    ] = False

    def plan(self, name: str) -> Plan:
        return Plan(name, self.terms(), tuple(self.models), self.total_s or None, self.enforce)


def plans(budget: Budget, given: dict[str, UsePlan]) -> tuple[Plan, list[Plan]]:
    """That of requests of no class, and the others."""
    return Plan("", budget.terms()), [one.plan(name) for name, one in given.items()]


def fault(given: dict[str, UsePlan]) -> str:
    """What no single field can say: a model of two classes, or a deadline that is none. "" where all is well."""
    owner: dict[str, str] = {}
    for name, one in given.items():
        if one.enforce and not one.first_token_ms:
            return f"plans.{name}.enforce is true, and first_token_ms says no time; set it, or leave enforce out"
        for model in one.models:
            if model in owner:
                return f"plans.{name}.models and plans.{owner[model]}.models both name {model!r}; a model has one class"
            owner[model] = name
    return ""
