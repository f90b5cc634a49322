"""What brings documents in, made from the settings: the reader, the sources and who keeps them running, the sweeper."""

from __future__ import annotations

import asyncio
import logging
import os
import time
from collections.abc import Mapping
from typing import Final

from tidewire.core.addresses import shown
from tidewire.core.errors import SettingsError
from tidewire.core.meter import IntakeMeter
from tidewire.retrieval.intake import Intake
from tidewire.retrieval.lifetimes import Doubted, Lifetimes
from tidewire.retrieval.ports import Store
from tidewire.retrieval.reading.reader import Bounds, Reader
from tidewire.retrieval.sources.feed import Feed
from tidewire.retrieval.sources.folder import Choice, Folder
from tidewire.retrieval.sources.port import Source
from tidewire.retrieval.sources.signed import key_of
from tidewire.retrieval.sources.supervisor import Supervisor, Watched
from tidewire.retrieval.sources.web import Pages, Web
from tidewire.server.ingest_settings import Ingest, SourceSettings
from tidewire.server.settings import Settings

log = logging.getLogger("tidewire.server")

SWEEP_EVERY: Final = 5.0  # seconds
SWEPT: Final = 500  # documents in one transaction


def intake_of(settings: Ingest, store: Store, meter: IntakeMeter | None = None) -> Intake:
    bounds = Bounds(settings.file_bytes, settings.characters, settings.memory_bytes, settings.read_s)
    return Intake(store, Reader(bounds, settings.readers), Lifetimes(settings.ttl), meter)


class Sources:
    """The sources of the settings. keys: of the webhooks, by name. Raises SettingsError for a key that is not there."""

    def __init__(self, settings: Settings, intake: Intake, environ: Mapping[str, str] = os.environ) -> None:
        self.keys = {
            name: webhook_key(name, given, environ) for name, given in settings.sources.items() if given.key_env
        }
        self._web = Web(largest=settings.ingest.file_bytes, private=settings.ingest.private)
        self._intake = intake
        watched = {
            name: Watched(
                source,
                given.namespace,
                given.every_s,
                kind=given.kind,
                place=given.path or ", ".join(map(shown, given.urls)),
                readers=tuple(given.readers),
            )
            for name, given in settings.sources.items()
            if (source := _source(given, self._web)) is not None
        }
        self.supervisor = Supervisor(intake, watched)

    def start(self) -> None:
        self.supervisor.start()

    async def close(self) -> None:
        await self.supervisor.close()
        await self._web.close()

    async def sweep(self) -> None:
        """Documents over their time are deleted, some hundreds at a time; a search has left them out since they were. By a clock that
        leapt ahead nothing is deleted for an hour.
        """
        clock = Doubted()
        while True:
            await asyncio.sleep(SWEEP_EVERY)
            if clock.leapt(time.time(), time.monotonic()):
                continue
            try:
                while (gone := await self._intake.store.expire(time.time(), SWEPT)) > 0:
                    log.info("expired documents deleted", extra={"count": gone})
                    for _ in range(gone):
                        self._intake.counted("", "expired")
                    if gone < SWEPT:
                        break
            except Exception:  # supervisor boundary: the sweep tries again
                log.exception("expired documents could not be deleted; trying again")


def _source(given: SourceSettings, web: Web) -> Source | None:
    """None for a webhook: it comes by itself."""
    readers = tuple(given.readers)
    match given.kind:
        case "folder":
            return Folder(given.path, Choice(tuple(given.include), tuple(given.exclude), readers))
        case "url":
            return Pages(web, given.urls, readers)
        case "feed":
            return Feed(web, given.urls[0], readers)
    return None


def webhook_key(name: str, given: SourceSettings, environ: Mapping[str, str]) -> bytes:
    """What a webhook's messages are signed with. Raises SettingsError where it is not in the environment."""
    secret = environ.get(given.key_env, "")
    param = f"sources.{name}.key_env"
    if not secret:
        raise SettingsError(
            f"{param} is {given.key_env!r}, and that variable is empty; put the secret there", param=param
        )
    try:
        return key_of(secret)
    except ValueError as wrong:
        raise SettingsError(
            f"the variable {given.key_env!r} of {param} holds no secret: {wrong}", param=param
        ) from None
