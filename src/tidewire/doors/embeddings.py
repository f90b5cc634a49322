"""Embeddings: one question, one answer, no stream and no log."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Protocol

from tidewire.core.embeddings import Embedded, EmbeddingRequest
from tidewire.core.events import ErrorInfo
from tidewire.doors.call import Call


class Embeddings(Protocol):
    """The dialect."""

    def parse(self, raw: bytes) -> EmbeddingRequest: ...

    def answer(self, request: EmbeddingRequest, embedded: Embedded) -> bytes: ...

    def error(self, info: ErrorInfo) -> bytes: ...


class EmbeddingRoutes:
    """embed: asks whichever host the model's name means. Raises UnknownModel and what hosts raise."""

    def __init__(self, dialect: Embeddings, embed: Callable[[EmbeddingRequest], Awaitable[Embedded]]) -> None:
        self._dialect = dialect
        self._embed = embed

    async def create(self, call: Call) -> None:
        """POST /v1/embeddings. A client that leaves takes its question to the host along."""
        request = self._dialect.parse(await call.body())
        body = self._dialect.answer(request, await call.unless_gone(self._embed(request)))
        await call.reply(200, [("content-type", "application/json")], body)
