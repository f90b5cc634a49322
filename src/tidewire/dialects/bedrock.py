"""Bedrock's Converse and ConverseStream, the side that faces clients: the dialect."""

from __future__ import annotations

from typing import Final, Self

import msgspec

from tidewire.core.errors import BadRequest
from tidewire.core.events import ErrorInfo
from tidewire.core.ports import Meta
from tidewire.core.request import CANCEL, DisconnectPolicy, Request
from tidewire.dialects.aws_eventstream import MEDIA_TYPE
from tidewire.dialects.bedrock_events import Blocks, Whole, error_name
from tidewire.dialects.bedrock_request import parse

ERROR_TYPE: Final = "x-amzn-errortype"


class Refusal:
    """An error before the first byte: its name stands in a header, as AWS's clients look for it, and in the body."""

    def __call__(self, info: ErrorInfo) -> bytes:
        return msgspec.json.encode({"message": info.message, "__type": error_name(info.status)})

    def headers(self, info: ErrorInfo) -> list[tuple[str, str]]:
        return [(ERROR_TYPE, error_name(info.status))]


class Bedrock:
    """model and streamed: what the address says; `at` makes the dialect of an address."""

    name = "bedrock"
    projection = "bedrock/1"
    resumes = False
    media_type = MEDIA_TYPE
    error = Refusal()

    def __init__(self, on_disconnect: DisconnectPolicy = CANCEL, *, model: str = "", streamed: bool = True) -> None:
        self._on_disconnect = on_disconnect
        self._model = model
        self._streamed = streamed

    def at(self, model: str, *, streamed: bool) -> Self:
        return type(self)(self._on_disconnect, model=model, streamed=streamed)

    def parse(self, raw: bytes, headers: dict[str, str]) -> tuple[Request, bool]:
        if not self._model:
            raise BadRequest("the address names no model; ask at /model/{model}/converse-stream", param="modelId")
        return parse(raw, headers, self._model, self._on_disconnect), self._streamed

    def headers(self, meta: Meta) -> list[tuple[str, str]]:
        return [("x-amzn-requestid", meta.stream)]

    def origin(self, after: int) -> int:
        return 0

    def stream(self, meta: Meta, after: int = 0) -> Blocks:
        return Blocks(meta)

    def whole(self, meta: Meta) -> Whole:
        return Whole(meta)
