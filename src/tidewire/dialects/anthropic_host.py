"""Anthropic Messages, the side that faces hosts: the question, and the list of models.

Source: the Messages reference and "Versions".
"""

from __future__ import annotations

from datetime import datetime
from typing import Final

import msgspec

from tidewire.core.errors import UpstreamError
from tidewire.core.ports import ModelInfo, Question
from tidewire.core.request import Request
from tidewire.dialects.anthropic_host_events import MessagesDecoder
from tidewire.dialects.anthropic_messages import betas, write_body

VERSION: Final = "2023-06-01"  # the later 2026-10-21 takes no temperature and no top_p

_json = msgspec.json.encode


class _Row(msgspec.Struct):
    id: str
    created_at: datetime | None = None


class _Listing(msgspec.Struct):
    data: list[_Row]


class MessagesHost:
    """`core.ports.Speaker`. Every request needs the header anthropic-version too, the listing's as well."""

    listing = "/v1/models?limit=1000"

    def ask(self, request: Request, model: str) -> Question:
        body = write_body(request, model) | {"model": model, "stream": True}
        names = betas(request)
        headers = {"anthropic-beta": ",".join(names)} if names else {}
        return Question(path="/v1/messages", body=_json(body), headers=headers)

    def decoder(self, request: Request) -> MessagesDecoder:
        return MessagesDecoder()

    def models(self, body: bytes) -> list[ModelInfo]:
        try:
            rows = msgspec.json.decode(body, type=_Listing).data
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            raise UpstreamError("the host's list of models is not one", code="upstream_not_json") from None
        return [
            ModelInfo(id=r.id, provider="", created=int(r.created_at.timestamp()) if r.created_at else 0) for r in rows
        ]
