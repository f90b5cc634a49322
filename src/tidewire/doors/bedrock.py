"""Bedrock's Converse, as AWS's clients ask for it: the model stands in the address."""

from __future__ import annotations

from typing import Protocol, Self

from tidewire.core.ports import Dialect
from tidewire.doors.call import Call
from tidewire.doors.streaming import Streaming


class Addressed(Dialect, Protocol):
    """A dialect whose requests name the model, and whether they want a stream, in their address."""

    def at(self, model: str, *, streamed: bool) -> Self: ...


class BedrockRoutes:
    def __init__(self, streaming: Streaming, dialect: Addressed) -> None:
        self._streaming = streaming
        self._dialect = dialect

    async def converse(self, call: Call) -> None:
        """POST /model/{model}/converse"""
        await self._streaming.start(call, self._dialect.at(call.path["model"], streamed=False))

    async def converse_stream(self, call: Call) -> None:
        """POST /model/{model}/converse-stream. Bedrock fills no silence, so neither do we."""
        await self._streaming.start(call, self._dialect.at(call.path["model"], streamed=True))
