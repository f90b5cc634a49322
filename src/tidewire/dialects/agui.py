"""AG-UI 1.0, the protocol between agents and the pages that show them, sans-I/O: the dialect.

Source: the schemas of the npm package @ag-ui/core 1.0.0. A cursor counts events, the numbers of their `id:` lines.
"""

from __future__ import annotations

from typing import Final

import msgspec

from tidewire.core.events import ErrorInfo
from tidewire.core.ports import Meta
from tidewire.core.request import GRACE, DisconnectPolicy, Request
from tidewire.dialects import agui_request
from tidewire.dialects.agui_events import Events, Run, failed

_encode: Final = msgspec.json.Encoder().encode


class AGUI:
    """The dialect. model: what answers a run that names none; None makes that an error of the request."""

    name = "agui"
    projection = "agui/1"
    resumes = True
    media_type = "text/event-stream; charset=utf-8"

    def __init__(self, model: str | None = None, on_disconnect: DisconnectPolicy = GRACE) -> None:
        self.model = model
        self._on_disconnect = on_disconnect

    def parse(self, raw: bytes, headers: dict[str, str]) -> tuple[Request, bool]:
        accept = headers.get("accept", "")
        streamed = "application/json" not in accept or "text/event-stream" in accept
        return agui_request.parse(raw, headers, self.model, self._on_disconnect), streamed

    def headers(self, meta: Meta) -> list[tuple[str, str]]:
        return []

    def origin(self, after: int) -> int:
        """Always from the first entry: what comes later is made of what came before."""
        return 0

    def stream(self, meta: Meta, after: int = 0) -> Events:
        return Events(meta, after)

    def whole(self, meta: Meta) -> Run:
        return Run(meta)

    def error(self, info: ErrorInfo) -> bytes:
        """The event that would have said so in a stream; HttpAgent shows the whole body as its message."""
        return _encode(failed(info))
