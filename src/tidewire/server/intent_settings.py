"""The settings of [context.intents]: what questions of a kind may take."""

from __future__ import annotations

from typing import Annotated

from msgspec import Meta

from tidewire.context.intent import Shares
from tidewire.core.request import Intent
from tidewire.server.group import Group

Tokens = Annotated[int, Meta(ge=0, le=100_000_000, extra={"unit": "tokens"})]


class Intents(Group, frozen=True):
    """Tokens by what a question asks for; 0: no bound but the model's."""

    short_answer: Annotated[
        Tokens, Meta(description="Limit of an answer to a greeting or a yes-or-no question, where a request has none.")
    ] = 0
    short_context: Annotated[Tokens, Meta(description="What of the conversation goes with such a question.")] = 0
    normal_answer: Annotated[Tokens, Meta(description="Limit of an answer to a question that is neither.")] = 0
    normal_context: Annotated[Tokens, Meta(description="What of the conversation goes with it.")] = 0
    long_answer: Annotated[Tokens, Meta(description="Limit of a piece of work: a text, a list, code.")] = 0
    long_context: Annotated[Tokens, Meta(description="What of the conversation goes with it.")] = 0

    @property
    def shares(self) -> dict[Intent, Shares]:
        """Those that bound something."""
        given: dict[Intent, Shares] = {
            "short": Shares(self.short_answer, self.short_context),
            "normal": Shares(self.normal_answer, self.normal_context),
            "long": Shares(self.long_answer, self.long_context),
        }
        return {intent: share for intent, share in given.items() if share != Shares()}
