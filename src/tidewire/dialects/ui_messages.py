"""The AI SDK's UI message stream, version 1: what `useChat` speaks, sans-I/O.

A cursor counts chunks: the client's startIndex n is after = n. A negative one counts from the tail; the door resolves it.
"""

from __future__ import annotations

from typing import Final

import msgspec

from tidewire.core.events import ErrorInfo
from tidewire.core.ports import Meta
from tidewire.core.request import GRACE, DisconnectPolicy, Request
from tidewire.dialects import ui_messages_request
from tidewire.dialects.ui_messages_chunks import Answer, Chunks

_encode: Final = msgspec.json.Encoder().encode


class UIMessages:
    """The dialect. model: what answers a request that names none; None makes that an error of the request.

    on_disconnect: what a lost connection means, unless a header of the request says otherwise.
    """

    name = "ui_messages"
    projection = "ui_messages/1"
    resumes = True
    media_type = "text/event-stream; charset=utf-8"

    def __init__(self, model: str | None = None, on_disconnect: DisconnectPolicy = GRACE) -> None:
        self.model = model
        self._on_disconnect = on_disconnect

    def parse(self, raw: bytes, headers: dict[str, str]) -> tuple[Request, bool]:
        return ui_messages_request.parse(raw, headers, self.model, self._on_disconnect), True

    def headers(self, meta: Meta) -> list[tuple[str, str]]:
        return [("x-vercel-ai-ui-message-stream", "v1"), ("x-workflow-run-id", meta.stream)]

    def origin(self, after: int) -> int:
        """Always from the first entry: what comes later is made of what came before."""
        return 0

    def stream(self, meta: Meta, after: int = 0) -> Chunks:
        return Chunks(meta, after)

    def whole(self, meta: Meta) -> Answer:
        return Answer(meta)

    def error(self, info: ErrorInfo) -> bytes:
        """The SDK shows the whole body of an error as its message."""
        return _encode({"error": info})
