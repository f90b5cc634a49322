"""Anthropic Messages, the side that faces clients: the dialect."""

from __future__ import annotations

import msgspec

from tidewire.core.events import ErrorInfo
from tidewire.core.ports import Meta
from tidewire.core.request import CANCEL, DisconnectPolicy, Request
from tidewire.dialects.anthropic_events import Blocks, Whole, error_object
from tidewire.dialects.anthropic_request import estimate, parse


class AnthropicMessages:
    name = "anthropic"
    projection = "anthropic/1"
    resumes = False
    media_type = "text/event-stream; charset=utf-8"

    def __init__(self, on_disconnect: DisconnectPolicy = CANCEL) -> None:
        self._on_disconnect = on_disconnect

    def parse(self, raw: bytes, headers: dict[str, str]) -> tuple[Request, bool]:
        return parse(raw, headers, self._on_disconnect)

    def estimated(self, raw: bytes, headers: dict[str, str]) -> int:
        """Roughly how many tokens the prompt of a body has. Raises BadRequest."""
        return estimate(self.parse(raw, headers)[0])

    def headers(self, meta: Meta) -> list[tuple[str, str]]:
        return [("request-id", meta.stream)]

    def origin(self, after: int) -> int:
        return 0

    def stream(self, meta: Meta, after: int = 0) -> Blocks:
        return Blocks(meta)

    def whole(self, meta: Meta) -> Whole:
        return Whole(meta)

    def error(self, info: ErrorInfo) -> bytes:
        return msgspec.json.encode(error_object(info))
