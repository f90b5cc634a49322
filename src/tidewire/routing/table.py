"""What a route is made of, as tidewire.toml says it, and what a request asks of the model behind it. Pure data."""

from __future__ import annotations

from typing import Annotated, Final, Literal

import msgspec
from msgspec import Meta

from tidewire.core.request import Image, Request, ToolResult
from tidewire.core.tokens import of_request

DECIMALS: Final = 9  # of US dollars: a token of the cheapest models is some 0.00000002
Price = Annotated[float, Meta(ge=0, le=1_000_000)]
Seconds = Annotated[float, Meta(gt=0, le=604800, extra={"unit": "s"})]


class Candidate(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True):
    """One model that a route may ask. model: a name on offer, or another route's. Prices in USD a million tokens.

    vision, tools: false where it has none. context: tokens that it can hold, question and answer together; 0: not known.
    prefill: whether it goes on, letter for letter, from a last message of the assistant; auto: as its host's kind does. tenants: whom it may answer; none: everybody.
    """

    model: Annotated[str, Meta(min_length=1)]
    weight: Annotated[float, Meta(gt=0, le=1_000_000)] = 1.0
    price_in: Price = 0.0
    price_out: Price = 0.0
    region: str = ""
    vision: bool = True
    tools: bool = True
    context: Annotated[int, Meta(ge=0, le=100_000_000)] = 0
    prefill: Literal["auto", "assistant", "none"] = "auto"
    tenants: list[str] = []

    def price(self, tokens_in: int, tokens_out: int) -> float:
        """USD for so many tokens."""
        return (self.price_in * tokens_in + self.price_out * tokens_out) / 1e6


class Plan(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A name that clients ask for, and the models that answer to it: [routes.NAME]."""

    candidates: Annotated[
        list[Candidate],
        Meta(
            description="Models that may answer, as tables: model, weight, price_in and price_out (USD a million tokens), "
            "region, vision, tools, context (tokens), prefill, tenants."
        ),
    ] = []
    choose: Annotated[
        Literal["latency", "order", "weights", "price"],
        Meta(description="Who is asked first: the quickest of two drawn, the first, by weight, or the cheapest."),
    ] = "latency"
    sticky: Annotated[
        bool,
        Meta(description="Equal beginnings go to the same candidate, for hosts that cache prefixes."),
    ] = False
    regions: Annotated[list[str], Meta(description="Only candidates of these regions; none: all.")] = []
    retries: Annotated[
        int, Meta(ge=0, le=10, description="Tries at a candidate that failed before, once all were tried.")
    ] = 1
    fallbacks: Annotated[int, Meta(ge=0, le=100, description="Other candidates tried after the first.")] = 2
    retry_share: Annotated[
        float, Meta(ge=0, le=1, description="Tries beyond the first, as a share of the requests of the last minutes.")
    ] = 0.2
    continuations: Annotated[
        int,
        Meta(
            ge=0,
            le=10,
            description="Times that another candidate goes on with an answer that broke off; 0: such an answer fails.",
        ),
    ] = 0
    first_token_s: Annotated[
        Seconds, Meta(description="A try without its first token by then is given up, and the next begins.")
    ] = 30.0
    slow_s: Annotated[
        Seconds, Meta(description="A first token later than this counts as a failure for the breaker.")
    ] = 30.0
    break_share: Annotated[
        float, Meta(gt=0, le=1, description="Share of failures above which a candidate is not asked for a while.")
    ] = 0.5
    break_s: Annotated[
        Seconds, Meta(description="How long it is not asked; doubled with each probe that fails, up to 16 times.")
    ] = 5.0
    hedge_share: Annotated[
        float,
        Meta(
            ge=0,
            le=1,
            description="Share of requests of which a second candidate is asked too, when the first is later than its p95.",
        ),
    ] = 0.0
    degrade: Annotated[
        str, Meta(description='Answers when no candidate can: a smaller model, or "extractive"; none: the error does.')
    ] = ""
    warm: Annotated[
        bool, Meta(description="Keep a connection open to each candidate's host, and see that it answers there.")
    ] = False

    @property
    def names(self) -> list[str]:
        """Every model that it may ask."""
        return [c.model for c in self.candidates] + ([self.degrade] if self.degrade else [])


class Needs(msgspec.Struct, frozen=True):
    """What a request asks of a model. tokens: of the question, estimated. answer: tokens that the answer may take."""

    vision: bool
    tools: bool
    tokens: int
    answer: int


def needs(request: Request) -> Needs:
    """Pure, and no more than a walk over the messages."""
    pictures = any(
        isinstance(c, Image) or (isinstance(c, ToolResult) and c.images) for m in request.messages for c in m.content
    )
    return Needs(vision=pictures, tools=bool(request.tools), tokens=of_request(request), answer=request.max_tokens or 0)


def lacks(candidate: Candidate, need: Needs) -> str:
    """What the candidate cannot do that the request needs, in words, or ""."""
    if need.vision and not candidate.vision:
        return "images (vision)"
    if need.tools and not candidate.tools:
        return "tools"
    if candidate.context and need.tokens + need.answer > candidate.context:
        return f"a context of about {need.tokens + need.answer} tokens"
    return ""


def cycle(routes: dict[str, Plan]) -> list[str]:
    """Names of routes that lead back to the first of them, or []."""
    done: set[str] = set()

    def walk(name: str, path: list[str]) -> list[str]:
        if name in path:
            return [*path[path.index(name) :], name]
        if name in done or name not in routes:
            return []
        for to in routes[name].names:
            if found := walk(to, [*path, name]):
                return found
        done.add(name)
        return []

    return next((found for name in routes if (found := walk(name, []))), [])


def fault(routes: dict[str, Plan]) -> tuple[str, str] | None:
    """The name of a route that cannot work, and why, to be said behind its name; None where all can."""
    for name, plan in routes.items():
        models = [c.model for c in plan.candidates]
        if not models:
            return name, " has no candidates; give it at least one table with a model"
        if len(set(models)) < len(models):
            twice = next(m for m in models if models.count(m) > 1)
            return name, f" names the candidate {twice!r} twice; one table with a weight says more"
        if plan.regions and not any(c.region in plan.regions for c in plan.candidates):
            return name, f".regions is {plan.regions!r}, and no candidate is in one of them"
        if plan.sticky and plan.choose in ("order", "price"):
            return name, f'.sticky goes with choose = "latency" or "weights", not with {plan.choose!r}'
        if plan.degrade in models:
            return name, f".degrade is {plan.degrade!r}, which is a candidate already"
    if circle := cycle(routes):
        return circle[0], f" leads back to itself: {' -> '.join(circle)}; take one of them out"
    return None
