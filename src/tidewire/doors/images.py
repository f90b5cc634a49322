"""Image generation, as OpenAI's clients ask for it."""

from __future__ import annotations

from tidewire.core.ports import Dialect
from tidewire.doors.call import Call
from tidewire.doors.streaming import Streaming


class ImageRoutes:
    def __init__(self, streaming: Streaming, dialect: Dialect) -> None:
        self._streaming = streaming
        self._dialect = dialect

    async def generations(self, call: Call) -> None:
        """POST /v1/images/generations"""
        await self._streaming.start(call, self._dialect)
