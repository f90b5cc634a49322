"""Who may come in: one optional API key. The tenant is the default one; tenants of their own are for the room `tenancy`."""

from __future__ import annotations

import hmac
from collections.abc import Mapping

from tidewire.core.errors import Unauthorized

TENANT = "default"


class Access:
    """key: None lets everybody in."""

    def __init__(self, key: str | None = None) -> None:
        self._key = None if key is None else key.encode()

    def check(self, headers: Mapping[str, str], query_key: str | None = None) -> str:
        """The tenant of the caller. query_key: where a client cannot set headers, or by its protocol does not. Raises Unauthorized."""
        if self._key is None:
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
