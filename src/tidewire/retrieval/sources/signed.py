"""Signatures of webhooks, as Standard Webhooks writes them (https://www.standardwebhooks.com): who sends, when, and that once."""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
from collections.abc import Mapping
from typing import Final

from tidewire.core.errors import BadRequest, Unauthorized

WINDOW: Final = 300.0  # seconds that a message's time may differ from ours
LONGEST: Final = 256  # characters of an id


def key_of(secret: str) -> bytes:
    """The key in a secret: base64 behind "whsec_", else the text itself."""
    if secret.startswith("whsec_"):
        try:
            return base64.b64decode(secret.removeprefix("whsec_"), validate=True)
        except binascii.Error:
            raise ValueError("behind whsec_ there must be base64") from None
    return secret.encode()


def sign(key: bytes, message: str, at: int, body: bytes) -> str:
    signed = hmac.new(key, f"{message}.{at}.".encode() + body, hashlib.sha256).digest()
    return "v1," + base64.b64encode(signed).decode()


def check(key: bytes, headers: Mapping[str, str], body: bytes, now: float) -> str:
    """The message's id. headers: lower-case names. Raises Unauthorized for a wrong signature or time, BadRequest for none."""
    message = headers.get("webhook-id", "")
    at = headers.get("webhook-timestamp", "")
    given = headers.get("webhook-signature", "")
    if not message or not given or not at.isascii() or not at.isdigit() or len(at) > 12 or len(message) > LONGEST:
        raise BadRequest("a webhook has the headers webhook-id, webhook-timestamp (Unix seconds) and webhook-signature")
    right = sign(key, message, int(at), body)
    if not any(hmac.compare_digest(one.encode("utf-8", "replace"), right.encode()) for one in given.split(" ")[:10]):
        raise Unauthorized("the webhook's signature is not that of its body under this source's key")
    if abs(now - int(at)) > WINDOW:
        raise Unauthorized(
            f"the webhook is {abs(now - int(at)):.0f} s away from this server's clock; {WINDOW:g} s is the limit"
        )
    return message
