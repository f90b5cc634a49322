"""What [cache] comes to: wrappers around whatever answers, and what a tenant may see and do of it."""

from __future__ import annotations

import asyncio
import hashlib
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Final

import msgspec

import tidewire
from tidewire.cache.answers import Cache, Cached, Rules
from tidewire.cache.disk import DiskShelf
from tidewire.cache.flight import Flights, Shared
from tidewire.cache.identity import Basis, key
from tidewire.cache.kept import Pace
from tidewire.cache.shelf import MemoryShelf, Shelf
from tidewire.core.events import Attempt, Usage
from tidewire.core.meter import CacheMeter
from tidewire.core.ports import Provider
from tidewire.core.request import Request
from tidewire.routing.table import Candidate, Plan
from tidewire.server.arrangement import Wrapper
from tidewire.server.cache_settings import Cache as Given
from tidewire.server.settings import Settings

SWEEP_EVERY: Final = 30.0  # seconds
# Tables of settings that shape no answer. All others, those of later versions too, are part of what answers are kept under.
SHAPELESS: Final = frozenset({"data", "server", "limits", "budget", "streams", "log", "logging", "cache", "routes"})


class Caching:
    """plans: the routes in force. knowledge: of a tenant, a word that changes whenever the documents it is answered from do."""

    def __init__(
        self,
        settings: Settings,
        *,
        plans: Callable[[], Mapping[str, Plan]],
        knowledge: Callable[[str], str],
        meter: CacheMeter,
        now: Callable[[], float] = time.time,
    ) -> None:
        given = settings.cache
        self._plans = plans
        self._knowledge = knowledge
        self._seen: Mapping[str, Plan] | None = None
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
        self.wrappers: list[Wrapper] = []
        if given.coalesce:
            flights = Flights(meter, self._price)
            self.wrappers.append(lambda provider: Shared(provider, flights, self._shared_key(provider)))
        if given.answers != "off":
            cache = Cache(
                self.shelf,
                self._rules,
                basis=self._basis,
                meter=meter,
                now=now,
                clock=time.monotonic,
                price=self._price,
            )
            self.wrappers.append(lambda provider: Cached(provider, cache))

    async def sweep(self) -> None:
        """Never returns."""
        while True:
            await asyncio.sleep(SWEEP_EVERY)
            self.shelf.sweep()

    async def close(self) -> None:
        await self.shelf.close()

    def _shared_key(self, provider: Provider) -> Callable[[Request], bytes | None]:
        def of(request: Request) -> bytes | None:
            user = self._rules.user(request)
            return None if user is None else key(request, self._basis(provider, request), user=user, timed=True)

        return of

    def _basis(self, provider: Provider, request: Request) -> Basis:
        self._look()
        return Basis(provider.name, self._version, self._knowledge(request.tenant))

    def _price(self, attempt: Attempt | None, usage: Usage) -> float:
        """USD, where a route says what its candidate costs."""
        self._look()
        if attempt is None:
            return 0.0
        found = self._prices.get(attempt.model) or self._prices.get(f"{attempt.provider}/{attempt.model}")
        return found.price(usage.input or 0, usage.output or 0) if found is not None else 0.0

    def _look(self) -> None:
        """The routes are replaced whole when their file changes."""
        plans = self._plans()
        if plans is self._seen:
            return
        self._seen = plans
        self._prices = {c.model: c for plan in plans.values() for c in plan.candidates}
        digest = hashlib.blake2b(self._base, digest_size=16)
        digest.update(msgspec.json.encode(plans, order="deterministic"))
        self._version = digest.hexdigest()


def written(path: Path) -> str:
    """When an SQLite file was written to last, by whichever process; "" while it is not there."""
    out = ""
    for file in (path, path.with_name(path.name + "-wal")):
        try:
            found = file.stat()
        except OSError:
            continue
        if found.st_size:  # an empty write-ahead log says only that somebody reads
            out += f"{found.st_mtime_ns}.{found.st_size} "
    return out


def _pace(given: Given) -> Pace:
    if given.replay == "original":
        return "original"
    return given.pace if given.replay == "paced" else 0.0


def _shelf(given: Given, settings: Settings, now: Callable[[], float]) -> Shelf:
    if given.store == "disk" and given.answers != "off":
        return DiskShelf(settings.cache_path, given.bytes, given.ttl_s, now)
    return MemoryShelf(given.bytes, given.ttl_s, now)
