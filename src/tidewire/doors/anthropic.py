"""The routes of Anthropic Messages."""

from __future__ import annotations

from typing import Protocol

from tidewire.core.ports import Dialect
from tidewire.doors.call import Call
from tidewire.doors.streaming import Streaming

ESTIMATED = ("x-tidewire-estimate", "characters/4")


class Estimating(Dialect, Protocol):
    def estimated(self, raw: bytes, headers: dict[str, str]) -> int:
        """Roughly how many tokens the prompt of a body has. Raises BadRequest."""


class AnthropicRoutes:
    def __init__(self, streaming: Streaming, dialect: Estimating) -> None:
        self._streaming = streaming
        self._dialect = dialect

    async def messages(self, call: Call) -> None:
        """POST /v1/messages"""
        await self._streaming.start(call, self._dialect)

    async def count_tokens(self, call: Call) -> None:
        """POST /v1/messages/count_tokens: an estimate, and a header that says so. No host is asked."""
        count = self._dialect.estimated(await call.body(), call.headers)
        await call.json({"input_tokens": count}, headers=[ESTIMATED])
