"""What a cascade is made of, as tidewire.toml says it. Pure data."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Final, Literal

import msgspec
from msgspec import Meta

from tidewire.routing.judge import Rules
from tidewire.routing.table import Plan, Price, Seconds

INSTRUCTION: Final = (
    "Check your answer above. Then write it again, all of it: keep every sentence that is right word for word, in its place, and "
    "change only what is wrong, missing or unclear. Write the answer alone, and say nothing of what you changed."
)


class Member(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A model of a cascade. Where both prices are 0, those of a route's candidate of this name are taken."""

    model: Annotated[str, Meta(description="A model on offer, or a route.")] = ""
    price_in: Annotated[Price, Meta(description="USD a million tokens of the question.")] = 0.0
    price_out: Annotated[Price, Meta(description="USD a million tokens of the answer.")] = 0.0

    def price(self, tokens_in: int, tokens_out: int) -> float:
        """USD for so many tokens."""
        return (self.price_in * tokens_in + self.price_out * tokens_out) / 1e6


class CascadePlan(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A name that clients ask for; one model answers at once, another one betters the answer: [cascades.NAME]."""

    draft: Member = Member()
    refine: Member = Member()
    judge: Member = Member()
    rules: Rules = Rules()
    judge_s: Annotated[Seconds, Meta(description="The judge model's time; after it the rules decide.")] = 2.0
    judge_after: Annotated[
        int,
        Meta(
            ge=0,
            le=10_000_000,
            extra={"unit": "characters"},
            description="The judge model is asked once the draft is so long, or at its end; 0: at its end.",
        ),
    ] = 400
    without_edits: Annotated[
        Literal["draft", "wait"],
        Meta(description="Clients that cannot take back text get the draft at once, or wait for the better answer."),
    ] = "draft"
    refine_share: Annotated[
        float, Meta(ge=0, le=1, description="Answers that may be refined, as a share of the requests.")
    ] = 1.0
    refine_s: Annotated[Seconds, Meta(description="Time for a refinement; one that takes longer is taken back.")] = 60.0
    max_cost: Annotated[
        float,
        Meta(
            ge=0, le=1_000_000, extra={"unit": "USD"}, description="No refinement that is likely to cost more; 0: any."
        ),
    ] = 0.0
    instruction: Annotated[
        str, Meta(min_length=1, description="What the stronger model is told, behind the question and the draft.")
    ] = INSTRUCTION

    @property
    def names(self) -> list[str]:
        """Every model that it may ask."""
        return [member.model for member in (self.draft, self.refine, self.judge) if member.model]


def priced(plan: CascadePlan, routes: Mapping[str, Plan]) -> CascadePlan:
    """The plan with the prices that its members leave out, as the candidates of routes have them: of a route, its dearest."""

    def filled(member: Member) -> Member:
        if member.price_in or member.price_out:
            return member
        route = routes.get(member.model)
        if route is not None:
            candidates = route.candidates
        else:
            candidates = [c for plan in routes.values() for c in plan.candidates if c.model == member.model]
        return msgspec.structs.replace(
            member,
            price_in=max((c.price_in for c in candidates), default=0.0),
            price_out=max((c.price_out for c in candidates), default=0.0),
        )

    return msgspec.structs.replace(plan, draft=filled(plan.draft), refine=filled(plan.refine), judge=filled(plan.judge))


def fault(cascades: Mapping[str, CascadePlan], routes: Mapping[str, Plan]) -> tuple[str, str] | None:
    """The setting that cannot work, and why, to be said behind its name; None where all can."""
    for name, plan in cascades.items():
        at = f"cascades.{name}"
        if name in routes:
            return at, " has the name of a route; give one of them another name"
        for role in ("draft", "refine", "judge"):
            model = getattr(plan, role).model
            if not model and role != "judge":
                return f"{at}.{role}.model", " is empty; name a model or a route"
            if model in cascades:
                told = "itself" if model == name else "another cascade"
                return f"{at}.{role}.model", f" is {model!r}, which is {told}; name a model or a route"
        if plan.draft.model == plan.refine.model:
            return f"{at}.refine.model", f" is {plan.refine.model!r}, which writes the draft; name a stronger one"
    for name, route in routes.items():
        for model in route.names:
            if model in cascades:
                return (
                    f"routes.{name}",
                    f" names {model!r}, which is a cascade; a cascade may ask routes, a route no cascade",
                )
    return None
