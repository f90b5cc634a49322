"""Images as protocols carry them: base64, and a MIME type that not every host names."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Sequence
from typing import Any, Final

import msgspec

from tidewire.core.errors import UpstreamError
from tidewire.core.request import Content, Message, Text, ToolResult

_BEGINNINGS: Final = (
    (b"\x89PNG", "image/png"),
    (b"\xff\xd8\xff", "image/jpeg"),
    (b"GIF8", "image/gif"),
    (b"<svg", "image/svg+xml"),
)


def picture(text: str) -> bytes:
    """The bytes of an image that a host sent. Raises UpstreamError for what is not base64."""
    try:
        return base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        raise UpstreamError("the host sent an image that is not base64", code="upstream_bad_event") from None


def media(data: bytes, form: Any = None) -> str:
    """The MIME type: form is what the host calls it (png, jpeg, webp), else its first bytes tell."""
    if isinstance(form, str) and form.isalnum():
        return "image/svg+xml" if form == "svg" else f"image/{form.lower()}"
    if data[:4] == b"RIFF" and data[8:12] == b"WEBP":
        return "image/webp"
    return next((name for beginning, name in _BEGINNINGS if data.startswith(beginning)), "image/png")


def extension(name: str | None) -> str:
    """What OpenAI's protocols call the MIME type of an image: png, jpeg, webp."""
    return (name or "image/png").removeprefix("image/").partition("+")[0]


def behind_results(messages: Sequence[Message]) -> list[Message]:
    """The images of tools' results in a message of the user behind them, for protocols whose results are texts alone.

    Results of one turn stay together: the message comes when the last of them has been said. Other messages are the same objects.
    """
    out: list[Message] = []
    waiting: list[Content] = []
    for message in messages:
        shown = [c for c in message.content if isinstance(c, ToolResult) and c.images]
        results = [c for c in message.content if isinstance(c, ToolResult)]
        others = [c for c in message.content if not isinstance(c, ToolResult)]
        if waiting and not results:
            if message.role == "user":
                message, waiting = msgspec.structs.replace(message, content=[*waiting, *others]), []
            else:
                out.append(Message("user", waiting))
                waiting = []
        for result in shown:
            waiting += [Text(f"What the call {result.call} showed:"), *result.images]
        if shown:
            message = msgspec.structs.replace(message, content=[*map(_text_alone, results), *others])
        if waiting and others:  # a turn of the user that begins with results
            message, waiting = msgspec.structs.replace(message, content=[*message.content, *waiting]), []
        out.append(message)
    return [*out, Message("user", waiting)] if waiting else out


def _text_alone(result: ToolResult) -> ToolResult:
    if not result.images:
        return result
    return msgspec.structs.replace(result, text=result.text or "an image, which is shown below", images=[])
