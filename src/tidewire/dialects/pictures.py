"""Images as protocols carry them: base64, and a MIME type that not every host names."""

from __future__ import annotations

import base64
import binascii
from typing import Any, Final

from tidewire.core.errors import UpstreamError

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
