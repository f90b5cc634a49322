"""Documents as they are read: `doors.documents.Stored` over the store."""

from __future__ import annotations

import time
from typing import Any

import msgspec

from tidewire.doors.documents import Only
from tidewire.retrieval.ports import Known, Store


class Stored:
    def __init__(self, store: Store) -> None:
        self._store = store

    async def page(
        self, namespace: str, *, after: str, limit: int, source: str | None, like: str, only: Only
    ) -> list[Known]:
        return await self._store.documents(namespace, after=after, limit=limit, source=source, like=like, only=only)

    async def one(self, namespace: str, name: str) -> dict[str, Any] | None:
        found = await self._store.document(namespace, name)
        if found is None:
            known = await self._store.known(namespace, [name])
            found = await self._store.document(namespace, known[name].id) if name in known else None
        if found is None or (found[0].expires is not None and found[0].expires <= time.time()):
            return None
        return {**msgspec.to_builtins(found[0]), "text": found[1]}
