"""The AI SDK's UI message stream, version 1: what `useChat` speaks, sans-I/O.

A cursor counts chunks: the client's startIndex n is after = n. A negative one counts from the tail; the door resolves it.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import msgspec

from tidewire.core.events import Entry, ErrorInfo
from tidewire.core.ports import Meta
from tidewire.core.request import Request
from tidewire.dialects import ui_messages_request
from tidewire.dialects.ui_messages_chunks import Answer, Chunks

_encode: Final = msgspec.json.Encoder().encode


class UIMessages:
    """The dialect. model: what answers a request that names none; None makes that an error of the request."""

    name = "ui_messages"
    projection = "ui_messages/1"
    resumes = True
    media_type = "text/event-stream; charset=utf-8"

    def __init__(self, model: str | None = None) -> None:
        self.model = model

    def parse(self, raw: bytes, headers: dict[str, str]) -> tuple[Request, bool]:
        return ui_messages_request.parse(raw, headers, self.model), True

    def headers(self, meta: Meta) -> list[tuple[str, str]]:
        return [("x-vercel-ai-ui-message-stream", "v1"), ("x-workflow-run-id", meta.stream)]

    def origin(self, after: int) -> int:
        """Always from the first entry: what comes later is made of what came before."""
        return 0

    def stream(self, meta: Meta, after: int = 0) -> Chunks:
        return Chunks(meta, after)

    def whole(self, meta: Meta) -> Answer:
        return Answer(meta)

    def count(self, meta: Meta, entries: Sequence[Entry]) -> int:
        """How many chunks these entries, the log's first, make; the client's "tail index" is one less."""
        chunks = Chunks(meta, after=1 << 62)
        chunks.feed(entries)
        return chunks.count

    def error(self, info: ErrorInfo) -> bytes:
        """The SDK shows the whole body of an error as its message."""
        return _encode({"error": info})
