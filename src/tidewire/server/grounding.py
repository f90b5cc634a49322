"""What [retrieval] comes to for models of other hosts: which of them are given passages, and how many."""

from __future__ import annotations

import secrets
from collections.abc import Awaitable, Callable
from functools import partial
from typing import Final

from tidewire.core.meter import SearchMeter
from tidewire.core.ports import Provider
from tidewire.retrieval.grounding import Grounded, Terms
from tidewire.retrieval.ports import Store
from tidewire.retrieval.search import Finder
from tidewire.retrieval.watch import Watch
from tidewire.server.settings import Retrieval

SECRET: Final = "grounding secret"  # noqa: S105 - the name of a note


class Grounding:
    """secret: what the marks around passages are made with. reach: opens a connection to the host of a model, where it keeps none."""

    def __init__(
        self,
        given: Retrieval,
        finder: Finder,
        watch: Watch,
        *,
        secret: bytes,
        meter: SearchMeter,
        reach: Callable[[str], Awaitable[None]],
    ) -> None:
        self._models = frozenset(given.models)
        self._terms = Terms(
            given.given,
            given.deadline_ms / 1000,
            given.characters,
            frozenset(given.groups),
            given.when == "always",
            secret,
        )
        self._finder = finder
        self._watch = watch
        self._meter = meter
        self._reach = reach

    def around(self, provider: Provider, model: str) -> Provider:
        """model: as the client asks for it."""
        if model not in self._models:
            return provider
        reach = partial(self._reach, model)
        return Grounded(provider, self._finder, self._watch, self._terms, meter=self._meter, reach=reach)


async def mark_secret(store: Store) -> bytes:
    """Kept beside the documents, so that an answer on disk is found again after a restart: the marks are part of what was asked."""
    while (kept := await store.note(SECRET)) is None:
        await store.set_note(SECRET, secrets.token_hex(32))
    return bytes.fromhex(kept)  # read again: of two servers that begin at once, one has the last word
