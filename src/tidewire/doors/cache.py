"""The routes of a tenant's kept answers: how many there are, and forgetting them."""

from __future__ import annotations

from typing import Protocol

from tidewire.doors.call import Call


class Shelf(Protocol):
    async def count(self, tenant: str) -> tuple[int, int]:
        """Answers, and their bytes."""

    async def clear(self, tenant: str) -> int: ...


class CacheRoutes:
    def __init__(self, shelf: Shelf) -> None:
        self._shelf = shelf

    async def count(self, call: Call) -> None:
        """GET /v1/cache"""
        answers, held = await self._shelf.count(call.tenant)
        await call.json({"answers": answers, "bytes": held})

    async def clear(self, call: Call) -> None:
        """DELETE /v1/cache"""
        await call.json({"deleted": await self._shelf.clear(call.tenant)})
