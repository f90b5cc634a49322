"""Who may come in: one optional API key; without one, whoever asks this server by a name of its own.

The tenant is the default one; tenants of their own are for the room `tenancy`.
"""

from __future__ import annotations

import hmac
import ipaddress
from collections.abc import Mapping
from urllib.parse import urlsplit

from tidewire.core.errors import TidewireError, Unauthorized

TENANT = "default"


class Access:
    """key: None lets everybody in. hosts: names by which a server without a key may be asked, besides those that lead nowhere else
    (`own_name`); None, or "*" among them: any.
    """

    def __init__(self, key: str | None = None, hosts: frozenset[str] | None = None) -> None:
        self._key = None if key is None else key.encode()
        self._hosts = None if hosts is None or "*" in hosts else frozenset(host.lower() for host in hosts)

    def check(self, headers: Mapping[str, str], query_key: str | None = None) -> str:
        """The tenant of the caller. query_key: where a client cannot set headers, or by its protocol does not. Raises TidewireError."""
        if self._key is None:
            host = headers.get("host", "")
            if not self.asked_by(host):
                raise foreign_host(host)
            return TENANT
        given = headers.get("x-api-key") or headers.get("x-goog-api-key") or query_key
        authorization = headers.get("authorization", "")
        if authorization[:7].lower() == "bearer ":
            given = authorization[7:].strip()
        if given is None:
            raise Unauthorized("this server asks for an API key; send it as 'Authorization: Bearer <key>'")
        if not hmac.compare_digest(given.encode(), self._key):
            raise Unauthorized("the API key is not the one of this server")
        return TENANT

    def asked_by(self, host: str) -> bool:
        """Whether a request with this Host header may come in without a key.

        A page on the internet can have its own name lead to this machine once it is loaded (DNS rebinding): a browser then takes this
        server for the page's own, and only the name that it asks by tells them apart.
        """
        if self._key is not None or self._hosts is None or not host:
            return True
        try:
            name = urlsplit(f"//{host}").hostname or ""
        except ValueError:
            return False
        return name in self._hosts or own_name(name)


def own_name(name: str) -> bool:
    """Whether a name cannot be had in the public DNS: localhost, an IP address, what ends in .localhost (RFC 6761) or .internal
    (ICANN, 2024: by such a name containers reach their host).
    """
    if name == "localhost" or name.endswith((".localhost", ".internal")):
        return True
    try:
        ipaddress.ip_address(name)
    except ValueError:
        return False
    return True


def foreign_host(host: str) -> TidewireError:
    """What is told to whoever asks by a name that this server does not know as its own."""
    error = TidewireError(
        f"this server has no key and does not know itself as {host[:200]!r}; server.hosts names what it is called, or set an API key",
        code="foreign_host",
    )
    error.status = 403
    return error
