"""What [sessions] comes to: the desk that doors ask, with the store of conversations behind it."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable
from typing import Final

from tidewire.core.meter import SessionMeter
from tidewire.core.ports import Desk, Provider
from tidewire.server.settings import Settings
from tidewire.sessions.desk import Bounds, SessionDesk
from tidewire.sessions.disk import DiskStore
from tidewire.sessions.store import MemoryStore, Store
from tidewire.sessions.summary import Plan, Summariser

log = logging.getLogger("tidewire.server")

SWEEP_EVERY: Final = 30.0  # seconds


async def session_desk(
    settings: Settings, desk: Desk, find: Callable[[str], Awaitable[tuple[Provider, str]]], meter: SessionMeter
) -> SessionDesk:
    """find: the provider for a model's name, and its own name. Raises SettingsError where the store cannot be used."""
    given = settings.sessions
    context = settings.context
    summariser = None
    if given.summary_model:
        summariser = Summariser(
            Plan(
                model=given.summary_model,
                at=given.summarise_at,
                recent=given.summary_recent,
                tokens=given.summary_tokens,
                seconds=given.summary_s,
            ),
            find=find,
            budget=lambda name: context.models.get(name, context.tokens),
            meter=meter,
            now=time.time,
        )
    return SessionDesk(
        desk,
        await _store(settings),
        bounds=Bounds(given.turns, given.session_bytes),
        now=time.time,
        meter=meter,
        summariser=summariser,
    )


async def sweep(desk: SessionDesk) -> None:
    """Never returns."""
    while True:
        await asyncio.sleep(SWEEP_EVERY)
        try:
            await desk.sweep()
        except OSError:
            log.exception("old sessions could not be removed; trying again")


async def _store(settings: Settings) -> Store | None:
    given = settings.sessions
    if given.store == "off":
        return None
    if given.store == "memory":
        return MemoryStore(given.bytes, given.ttl_s, time.time)
    store = DiskStore(settings.sessions_path, given.bytes, given.ttl_s, time.time)
    await store.start()
    return store
