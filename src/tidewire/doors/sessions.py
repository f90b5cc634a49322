"""The routes of a tenant's sessions: which there are, what was said in one, and forgetting it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol

import msgspec

from tidewire.core.errors import BadRequest
from tidewire.doors.call import Call


class Sessions(Protocol):
    """Sessions are shown as they are kept: `sessions.session.Session`."""

    async def session(self, tenant: str, user: str, name: str) -> Any: ...

    async def sessions(
        self, tenant: str, user: str | None, limit: int
    ) -> Sequence[tuple[tuple[str, str, str], Any]]: ...

    async def forget(self, tenant: str, user: str, name: str) -> int: ...


class SessionRoutes:
    """?user= names the user of whom the session is; without it, those without a user are meant, and in the list all."""

    def __init__(self, kept: Sessions) -> None:
        self._kept = kept

    async def find(self, call: Call) -> None:
        """GET /v1/sessions"""
        limit = call.number("limit", 50)
        if not 1 <= limit <= 500:
            raise BadRequest(f"limit is {limit}; it may be 1 to 500", param="limit")
        found = await self._kept.sessions(call.tenant, call.query.get("user"), limit)
        await call.json({"sessions": [_head(key, session) for key, session in found]})

    async def read(self, call: Call) -> None:
        """GET /v1/sessions/{session}"""
        key = self._key(call)
        session = await self._kept.session(*key)
        more = {"summary": session.summary} if session.summary is not None else {}
        turns = msgspec.to_builtins(session.turns)
        await call.json(_head(key, session) | more | {"items": turns})

    async def delete(self, call: Call) -> None:
        """DELETE /v1/sessions/{session}: with the streams of its answers."""
        key = self._key(call)
        turns = await self._kept.forget(*key)
        await call.json({"session": key[2], "deleted": True, "turns": turns})

    def _key(self, call: Call) -> tuple[str, str, str]:
        return (call.tenant, call.query.get("user", ""), call.path["session"])


def _head(key: tuple[str, str, str], session: Any) -> dict[str, Any]:
    out: dict[str, Any] = {"session": key[2]}
    if key[1]:
        out["user"] = key[1]
    return out | {
        "created": int(session.created * 1000),
        "used": int(session.used * 1000),
        "turns": len(session.turns),
        "last": session.last,
    }
