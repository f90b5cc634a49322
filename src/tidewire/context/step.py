"""The step that keeps a conversation within a model's budget of tokens."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

import msgspec

from tidewire.context.turns import fit
from tidewire.core.events import Notice
from tidewire.core.ports import Sink
from tidewire.core.request import Request
from tidewire.core.tokens import of_message, of_tools

PRUNED: Final = "context_pruned"
OVER: Final = "context_over"


class Budget(msgspec.Struct, frozen=True):
    """tokens: that the model takes, question and answer; 0 for no bound. answer: of these, kept for the answer where the
    request names no max_tokens. recent: turns that are never left out. passages: turns with files in them are not either.
    """

    tokens: int = 0
    answer: int = 1024
    recent: int = 2
    passages: bool = True


class Context:
    """`core.ports.Step`. models: tokens of models that have a budget of their own, by the name that the host is asked with."""

    def __init__(self, budget: Budget, models: Mapping[str, int]) -> None:
        self._budget = budget
        self._models = models

    async def prepare(self, request: Request, sink: Sink) -> Request:
        given = self._budget
        tokens = self._models.get(request.model, given.tokens)
        if tokens == 0:
            return request
        answer = given.answer if request.max_tokens is None else request.max_tokens
        room = max(0, tokens - answer - of_tools(request.tools))
        fitted = fit(request.messages, room, of_message, recent=given.recent, passages=given.passages)
        if fitted.left_out:
            sink.feed([Notice(code=PRUNED, message=_said(fitted.left_out, tokens))])
        if fitted.tokens > room:
            message = (
                f"the rest of the conversation is about {fitted.tokens} tokens, and {room} of {tokens} are free for it; "
                "it is sent as it is"
            )
            sink.feed([Notice(code=OVER, message=message)])
        return msgspec.structs.replace(request, messages=fitted.messages) if fitted.left_out else request


def _said(count: int, tokens: int) -> str:
    which = "the oldest message was" if count == 1 else f"the {count} oldest messages were"
    return f"{which} left out, so that the conversation fits into {tokens} tokens"
