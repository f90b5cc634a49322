"""What travels as base64: the content of data: URLs, and signatures of hosts in protocols that decode them on the way."""

from __future__ import annotations

import base64
import binascii
from typing import Final
from urllib.parse import unquote_to_bytes

from tidewire.core.errors import BadRequest

_WRAPPED: Final = b"\0tidewire:"


def data_url(url: str, at: str) -> tuple[str, str]:
    """The type and the data, in base64. Raises BadRequest."""
    head, comma, data = url[5:].partition(",")
    mime, *more = [word.strip() for word in head.split(";")]
    if not comma:
        raise BadRequest(f"{at} holds a data: URL without data", param=at, code="invalid_value")
    if "base64" not in more:
        data = base64.b64encode(unquote_to_bytes(data)).decode()
    return mime or "text/plain", data


def wrapped(signature: str) -> str:
    """A signature as base64, which Google's clients decode and write again in the other alphabet: what is none is put into some."""
    try:
        if base64.b64encode(base64.b64decode(signature, validate=True)).decode() == signature:
            return signature
    except (binascii.Error, ValueError):
        pass
    return base64.b64encode(_WRAPPED + signature.encode()).decode()


def unwrapped(signature: str) -> str:
    """What `wrapped` was given, whichever alphabet a client wrote it in; what is no base64 stays as it is."""
    text = standard(signature)
    try:
        data = base64.b64decode(text, validate=True)
        return data.removeprefix(_WRAPPED).decode() if data.startswith(_WRAPPED) else text
    except (binascii.Error, ValueError):
        return signature


def standard(text: str) -> str:
    """Base64 in the usual alphabet, padded."""
    text = text.replace("-", "+").replace("_", "/")
    return text + "=" * (-len(text) % 4)
