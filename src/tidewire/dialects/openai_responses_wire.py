"""The events of a Responses host as they lie on the wire, each field as far as it is read."""

from __future__ import annotations

from typing import Any, Final

import msgspec

Key = int | str | None


class Said(msgspec.Struct, gc=False):
    type: str = ""
    delta: Any = None
    output_index: int | None = None
    content_index: int | None = None
    sequence_number: int | None = None
    logprobs: Any = None
    item_id: str | None = None
    summary_index: int | None = None
    item: Any = None
    part: Any = None
    text: Any = None
    refusal: Any = None
    name: Any = None
    arguments: Any = None
    annotation: Any = None
    partial_image_b64: Any = None
    output_format: Any = None
    error: Any = None
    code: Any = None
    message: Any = None
    response: msgspec.Raw = msgspec.Raw()


class Response(msgspec.Struct, gc=False):
    id: str | None = None
    status: str | None = None
    error: Any = None
    incomplete_details: Any = None
    usage: Any = None
    metrics: Any = None


decode: Final = msgspec.json.Decoder(Said).decode
decode_response: Final = msgspec.json.Decoder(Response).decode


def key_of(event: Said) -> Key:
    return event.item_id if event.output_index is None else event.output_index


def place_of(event: Said) -> tuple[str, int | None]:
    """Which of the texts of a thought."""
    channel = event.type.rpartition(".")[0]
    return channel, event.content_index if event.summary_index is None else event.summary_index


def string(value: Any) -> str:
    return value if isinstance(value, str) else ""


def number(value: Any) -> int:
    return value if isinstance(value, int) else 0
