"""Identifiers: random, never from a clock, safe in a URL."""

from __future__ import annotations

import re
import secrets
from typing import Final

_ALLOWED: Final = re.compile(r"[A-Za-z0-9_-]{1,64}")


def new(prefix: str) -> str:
    """A new id, "<prefix>_<22 letters and digits and _ ->": 128 random bits."""
    return f"{prefix}_{secrets.token_urlsafe(16)}"


def valid(text: str) -> bool:
    """Whether a client may use it as an id."""
    return _ALLOWED.fullmatch(text) is not None
