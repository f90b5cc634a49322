"""The step that keeps a conversation within a model's budget of tokens, and an answer within what its question asks for."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Final

import msgspec

from tidewire.context.intent import Shares, intent_of
from tidewire.context.tokenizer import Tokenizers
from tidewire.context.turns import fit
from tidewire.core.events import Notice
from tidewire.core.ports import Sink
from tidewire.core.request import Intent, Request
from tidewire.core.tokens import of_message, of_text, of_tools

PRUNED: Final = "context_pruned"
OVER: Final = "context_over"
LIMITED: Final = "answer_limited"
_ALL: Final[Mapping[Intent, Shares]] = MappingProxyType({})
_NONE: Final = Tokenizers({})


class Budget(msgspec.Struct, frozen=True):
    """tokens: that the model takes, question and answer; 0 for no bound. answer: of these, kept for the answer where the
    request names no max_tokens. recent: turns that are never left out. passages: turns with files in them are not either.
    found: of these, kept for passages that are found for the question, at the expense of turns that may be left out and of no others.
    """

    tokens: int = 0
    answer: int = 1024
    recent: int = 2
    passages: bool = True
    found: int = 0


class Context:
    """`core.ports.Step`. models: tokens of models that have a budget of their own, by the name that the host is asked with.

    shares: what questions of a kind may take, where that is less. tokenizers: count for their models, in a thread, for they take
    milliseconds; for other models tokens are estimated.
    """

    def __init__(
        self,
        budget: Budget,
        models: Mapping[str, int],
        shares: Mapping[Intent, Shares] = _ALL,
        tokenizers: Tokenizers = _NONE,
    ) -> None:
        self._tokenizers = tokenizers
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
        if not tokens and not share.context:
            return request
        tokenizer = self._tokenizers.find(request.model)
        if tokenizer is None:
            request, notices = self._fitted(request, tokens, share.context, of_text)
        else:
            request, notices = await asyncio.to_thread(self._fitted, request, tokens, share.context, tokenizer.of_text)
        if notices:
            sink.feed(notices)
        return request

    def _fitted(
        self, request: Request, tokens: int, share: int, of_text: Callable[[str], int]
    ) -> tuple[Request, list[Notice]]:
        """tokens: that the model takes, 0 for no bound. share: of the conversation, for a question of this kind, 0 for no bound."""
        given = self._budget
        answer = given.answer if request.max_tokens is None else request.max_tokens
        free = max(0, tokens - answer - of_tools(request.tools, of_text))
        kept = given.found if request.retrieval is None or request.retrieval.on else 0
        by_share = share > 0 and not (tokens and free - kept < share)
        room = share if by_share else max(0, free - kept)
        fitted = fit(
            request.messages, room, lambda m: of_message(m, of_text), recent=given.recent, passages=given.passages
        )
        notices: list[Notice] = []
        if fitted.left_out:
            notices.append(Notice(code=PRUNED, message=_said(fitted.left_out, share if by_share else tokens)))
            request = msgspec.structs.replace(request, messages=fitted.messages)
        if tokens and fitted.tokens > free:
            message = (
                f"the rest of the conversation is about {fitted.tokens} tokens, and {free} of {tokens} are free for it; "
                "it is sent as it is"
            )
            notices.append(Notice(code=OVER, message=message))
        if tokens:
            request = msgspec.structs.replace(request, room=max(0, free - fitted.tokens))
        return request, notices


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
