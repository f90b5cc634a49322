"""The documents for one program that reads them, without a server: what `tidewire mcp` offers."""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any, Final

from tidewire.doors.mcp_documents import Shelf
from tidewire.doors.mcp_protocol import Protocol
from tidewire.doors.search import Asked
from tidewire.retrieval.engines.memory import MemoryIndex
from tidewire.server.encoders import build as encoders_of
from tidewire.server.library import library_of
from tidewire.server.rerankers import reranker_of
from tidewire.server.searching import Searching
from tidewire.server.settings import Settings
from tidewire.server.stored import Stored
from tidewire.telemetry.metrics import Metrics

log = logging.getLogger("tidewire.server")

FILLED: Final = 30.0  # seconds that a search waits for the index; after them it looks at what is there, and says so


class _Patient:
    """A search that waits for the index: a program that was just started has nobody else to ask."""

    def __init__(self, searching: Searching, index: MemoryIndex) -> None:
        self._searching = searching
        self._index = index

    async def find(self, namespace: str, asked: Asked) -> dict[str, Any]:
        await self._index.filled(FILLED)
        return await self._searching.find(namespace, asked)


@asynccontextmanager
async def reading_room(settings: Settings) -> AsyncIterator[Protocol]:
    """The store of the settings is opened and its index filled in the background; a server may use the same store meanwhile."""
    async with AsyncExitStack() as stack:
        metrics = Metrics()
        encoders = encoders_of(settings, metrics.encoders)
        stack.push_async_callback(encoders.close)
        library = library_of(settings, encoders, reranker_of(settings.rerank, metrics.rerankers))
        await library.run(stack, encoders, metrics.encoders)
        if not await library.store.seq():
            log.warning("there are no documents yet; `tidewire ingest` brings them in", extra={"path": settings.data})
        searching = _Patient(Searching(library), library.index)
        yield Protocol(Shelf(Stored(library.store), searching, settings.retrieval.groups, metrics.mcp_called))
