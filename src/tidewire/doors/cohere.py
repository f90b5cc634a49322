"""Cohere's Chat API, version 2, as Cohere's clients ask for it."""

from __future__ import annotations

from tidewire.core.ports import Dialect
from tidewire.doors.call import Call
from tidewire.doors.streaming import Streaming


class CohereRoutes:
    def __init__(self, streaming: Streaming, chat: Dialect) -> None:
        self._streaming = streaming
        self._chat = chat

    async def chat(self, call: Call) -> None:
        """POST /v2/chat"""
        await self._streaming.start(call, self._chat)
