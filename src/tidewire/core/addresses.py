"""Addresses as they may be shown: in errors, logs and answers stands neither who logs in there nor what is asked."""

from __future__ import annotations

import re
from typing import Final

LONGEST: Final = 300  # characters that are shown
_USER: Final = re.compile(r"(?<=//)[^/?#\s]*@")
_SCHEME: Final = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*://")
_PLACE: Final = re.compile(r"(?:\[[0-9A-Fa-f:.%]+\]|[^\[\]:@\s]*)(?::\d*)?")


def shown(url: str) -> str:
    """Scheme, host, port and path. Of what is no address, only what cannot be a password; it never raises."""
    before = re.split("[?#]", url, maxsplit=1)[0]
    begins = _SCHEME.match(before)
    scheme = begins[0] if begins else ""
    place, slash, path = before.removeprefix(scheme).partition("/")
    place = place.rpartition("@")[2]
    if not _PLACE.fullmatch(place):  # a password may hold the very characters that part an address
        return f"{scheme}***"
    return f"{scheme}{place}{slash}{path}"[:LONGEST]


def without_user(text: str, instead: str = "") -> str:
    """As it is, but for the user part of each address in it, for which `instead` stands."""
    return _USER.sub(instead, text)
