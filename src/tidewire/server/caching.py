"""What [cache] comes to: wrappers around whatever answers, and what a tenant may see and do of it."""

from __future__ import annotations

import asyncio
import hashlib
import time
from collections.abc import Callable
from typing import Final

import msgspec

import tidewire
from tidewire.cache.answers import Cache, Cached, Rules
from tidewire.cache.disk import DiskShelf
from tidewire.cache.flight import Flights, Shared
from tidewire.cache.identity import Basis, key
from tidewire.cache.kept import Pace
from tidewire.cache.shelf import MemoryShelf, Shelf
from tidewire.core.errors import SettingsError
from tidewire.core.events import Attempt, Usage
from tidewire.core.meter import CacheMeter
from tidewire.core.ports import Encoder, Provider
from tidewire.core.request import Request
from tidewire.retrieval.ports import Change
from tidewire.routing.table import Candidate
from tidewire.server.cache_settings import Cache as Given
from tidewire.server.routebook import Tables
from tidewire.server.settings import Settings
from tidewire.toolbox.runner import Runner

SWEEP_EVERY: Final = 30.0  # seconds
# Tables of settings that shape no answer. All others, those of later versions too, are part of what answers are kept under.
SHAPELESS: Final = frozenset(
    {
        "data",
        "server",
        "limits",
        "budget",
        "streams",
        "log",
        "logging",
        "cache",
        "routes",
        "cascades",
        "ingest",
        "sessions",
        "sources",
    }
)


class Caching:
    """tables: the routes and cascades in force. Raises SettingsError for a semantic cache without an encoder."""

    def __init__(
        self,
        settings: Settings,
        *,
        tables: Callable[[], Tables],
        meter: CacheMeter,
        encoder: Encoder | None = None,
        now: Callable[[], float] = time.time,
    ) -> None:
        given = settings.cache
        self._tables = tables
        self._seen: Tables | None = None
        self._version = ""
        self._prices: dict[str, Candidate] = {}
        groups = {name: getattr(settings, name) for name in settings.__struct_fields__ if name not in SHAPELESS}
        self._base = tidewire.__version__.encode() + msgspec.json.encode(groups, order="deterministic")
        self._rules = Rules(
            answers="deterministic" if given.answers == "off" else given.answers,
            scope=given.scope,
            entry_bytes=given.entry_bytes,
            pace=_pace(given),
        )
        self.shelf = _shelf(given, settings, now)
        self._flights = Flights(meter, self._price) if given.coalesce else None
        self.cache: Cache | None = None
        if given.semantic and (encoder is None or given.answers == "off"):
            lacks = "embedding.kind is none" if encoder is None else "cache.answers is off"
            raise SettingsError(f"cache.semantic is true, and {lacks}; it needs both", param="cache.semantic")
        if given.answers != "off":
            self.cache = Cache(
                self.shelf,
                self._rules,
                basis=self._basis,
                meter=meter,
                now=now,
                clock=time.monotonic,
                price=self._price,
                encoder=encoder if given.semantic else None,
                similarity=given.similarity,
            )

    def around(self, provider: Provider, model: str) -> Provider:
        """The provider in its wrappers. model: as it was asked for.

        Where this server runs tools, what they do may not be done once for two who asked, and they may differ from name to name.
        """
        tools = isinstance(provider, Runner)
        answerer = f"{provider.name}/{model}" if tools else provider.name
        if self._flights is not None and not tools:
            provider = Shared(provider, self._flights, lambda request: self._shared_key(answerer, request))
        return provider if self.cache is None else Cached(provider, self.cache, answerer)

    async def count(self, tenant: str) -> tuple[int, int]:
        """Answers that are kept for this tenant, and their bytes."""
        return await self.cache.count(tenant) if self.cache else (0, 0)

    async def clear(self, tenant: str) -> int:
        """Forget all of a tenant's; returns how many answers."""
        return await self.cache.clear(tenant) if self.cache else 0

    def follow(self, change: Change) -> None:
        """Documents were deleted or have expired: what was made from them is not found any more, and is deleted here, too.

        Where one was replaced, answers from passages that are the same in both versions are still good.
        """
        if self.cache is not None and change.documents and not change.added:
            self.cache.forget(change.namespace, change.documents)

    async def sweep(self) -> None:
        """Never returns."""
        while True:
            await asyncio.sleep(SWEEP_EVERY)
            self.shelf.sweep()

    async def close(self) -> None:
        await self.shelf.close()

    def _shared_key(self, answerer: str, request: Request) -> bytes | None:
        user = self._rules.user(request)
        return None if user is None else key(request, self._basis(answerer, request), user=user, timed=True)

    def _basis(self, answerer: str, request: Request) -> Basis:
        self._look()
        return Basis(answerer, self._version)

    def _price(self, attempt: Attempt | None, usage: Usage) -> float:
        """USD, where a route says what its candidate costs."""
        self._look()
        if attempt is None:
            return 0.0
        found = self._prices.get(attempt.model) or self._prices.get(f"{attempt.provider}/{attempt.model}")
        return found.price(usage.input or 0, usage.output or 0) if found is not None else 0.0

    def _look(self) -> None:
        """They are replaced whole when their file changes."""
        plans, cascades = tables = self._tables()
        if self._seen is not None and plans is self._seen[0] and cascades is self._seen[1]:
            return
        self._seen = tables
        self._prices = {c.model: c for plan in plans.values() for c in plan.candidates}
        digest = hashlib.blake2b(self._base, digest_size=16)
        digest.update(msgspec.json.encode(tables, order="deterministic"))
        self._version = digest.hexdigest()


def _pace(given: Given) -> Pace:
    if given.replay == "original":
        return "original"
    return given.pace if given.replay == "paced" else 0.0


def _shelf(given: Given, settings: Settings, now: Callable[[], float]) -> Shelf:
    if given.store == "disk" and given.answers != "off":
        return DiskShelf(settings.cache_path, given.bytes, given.ttl_s, now)
    return MemoryShelf(given.bytes, given.ttl_s, now)
