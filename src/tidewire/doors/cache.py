"""The routes of a tenant's kept answers: how many there are, and forgetting them."""

from __future__ import annotations

from typing import Protocol

from tidewire.doors.call import Call


class Kept(Protocol):
    async def count(self, tenant: str) -> tuple[int, int]:
        """Answers, and their bytes."""

    async def clear(self, tenant: str) -> int: ...


class CacheRoutes:
    def __init__(self, kept: Kept) -> None:
        self._kept = kept

    async def count(self, call: Call) -> None:
        """GET /v1/cache"""
        answers, held = await self._kept.count(call.tenant)
        await call.json({"answers": answers, "bytes": held})

    async def clear(self, call: Call) -> None:
        """DELETE /v1/cache"""
        await call.json({"deleted": await self._kept.clear(call.tenant)})
