"""What a tool server is given of the environment: variables by name, a key as a header."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol

from tidewire.core.addresses import shown
from tidewire.core.errors import SettingsError


class Keyed(Protocol):
    """The fields of [tools.NAME] that are read here."""

    @property
    def headers(self) -> Mapping[str, str]: ...
    @property
    def api_key_env(self) -> str: ...
    @property
    def api_key_header(self) -> str: ...


def value(key: str, environ: Mapping[str, str], param: str) -> str:
    """Raises SettingsError for a variable that is not set."""
    if not environ.get(key):
        raise SettingsError(f"{param} names {key}, which is not set in the environment", param=param)
    return environ[key]


def headers(where: str, given: Keyed, environ: Mapping[str, str]) -> dict[str, str]:
    """Sent with every request. Raises SettingsError for what no header can hold."""
    out = dict(given.headers)
    if given.api_key_env:
        key = value(given.api_key_env, environ, f"{where}.api_key_env")
        bearer = not given.api_key_header
        out["Authorization" if bearer else given.api_key_header] = f"Bearer {key}" if bearer else key
    for name, text in out.items():
        if not (f"{name}{text}".isascii() and f"{name}{text}".isprintable()) or not name or " " in name or ":" in name:
            raise SettingsError(
                f"{where}.headers: {name[:80]!r} or its value is none of a header", param=f"{where}.headers"
            )
    return out


def address(url: str, param: str) -> str:
    """Raises SettingsError for what is no address of HTTP."""
    if not url.startswith(("http://", "https://")):
        raise SettingsError(f"{param} is {shown(url)!r}; it begins with http:// or https://", param=param)
    return url
