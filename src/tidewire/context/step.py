"""The step that keeps a conversation within a model's budget of tokens, and an answer within what its question asks for."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Final

import msgspec

from tidewire.context.intent import Shares, intent_of
from tidewire.context.turns import fit
from tidewire.core.events import Notice
from tidewire.core.ports import Sink
from tidewire.core.request import Intent, Request
from tidewire.core.tokens import of_message, of_tools

PRUNED: Final = "context_pruned"
OVER: Final = "context_over"
LIMITED: Final = "answer_limited"
_ALL: Final[Mapping[Intent, Shares]] = MappingProxyType({})


class Budget(msgspec.Struct, frozen=True):
    """tokens: that the model takes, question and answer; 0 for no bound. answer: of these, kept for the answer where the
    request names no max_tokens. recent: turns that are never left out. passages: turns with files in them are not either.
    """

    tokens: int = 0
    answer: int = 1024
    recent: int = 2
    passages: bool = True


class Context:
    """`core.ports.Step`. models: tokens of models that have a budget of their own, by the name that the host is asked with.

    shares: what questions of a kind may take, where that is less.
    """

    def __init__(self, budget: Budget, models: Mapping[str, int], shares: Mapping[Intent, Shares] = _ALL) -> None:
        self._budget = budget
        self._models = models
        self._shares = shares

    async def prepare(self, request: Request, sink: Sink) -> Request:
        intent = request.intent or intent_of(request.question) if self._shares else "normal"
        share = self._shares.get(intent, Shares())
        if share.answer and _free(request):
            request = msgspec.structs.replace(request, max_tokens=share.answer)
            sink.feed([Notice(code=LIMITED, message=_limited(intent, share.answer))])
        tokens = self._models.get(request.model, self._budget.tokens)
        if tokens == 0:
            return self._fitted(request, share.context, share.context, sink) if share.context else request
        answer = self._budget.answer if request.max_tokens is None else request.max_tokens
        free = max(0, tokens - answer - of_tools(request.tools))
        room = min(free, share.context) if share.context else free
        return self._fitted(request, room, tokens if room == free else room, sink, (free, tokens))

    def _fitted(
        self, request: Request, room: int, named: int, sink: Sink, over: tuple[int, int] | None = None
    ) -> Request:
        """named: the figure that the client is told. over: tokens that are free for the question, of how many, where there is such a bound."""
        given = self._budget
        fitted = fit(request.messages, room, of_message, recent=given.recent, passages=given.passages)
        if fitted.left_out:
            sink.feed([Notice(code=PRUNED, message=_said(fitted.left_out, named))])
        if over is not None and fitted.tokens > over[0]:
            message = (
                f"the rest of the conversation is about {fitted.tokens} tokens, and {over[0]} of {over[1]} are free for it; "
                "it is sent as it is"
            )
            sink.feed([Notice(code=OVER, message=message)])
        return msgspec.structs.replace(request, messages=fitted.messages) if fitted.left_out else request


def _free(request: Request) -> bool:
    """Whether a limit does no harm: half of a JSON text or of a call is worth nothing, and thoughts count as an answer does."""
    return (
        request.max_tokens is None
        and not request.tools
        and request.thinking is None
        and (request.response_format or {}).get("type", "text") == "text"
    )


def _limited(intent: Intent, tokens: int) -> str:
    return f"the answer may take {tokens} tokens, since the question was taken for a {intent} one; max_tokens or intent say otherwise"


def _said(count: int, tokens: int) -> str:
    which = "the oldest message was" if count == 1 else f"the {count} oldest messages were"
    return f"{which} left out, so that the conversation fits into {tokens} tokens"
