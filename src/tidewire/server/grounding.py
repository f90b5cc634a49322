"""What [retrieval] comes to for models of other hosts: which of them are given passages, and how many."""

from __future__ import annotations

from tidewire.core.ports import Provider
from tidewire.retrieval.grounding import Grounded, Terms
from tidewire.retrieval.search import Search
from tidewire.server.settings import Retrieval


class Grounding:
    def __init__(self, given: Retrieval, search: Search) -> None:
        self._models = frozenset(given.models)
        self._terms = Terms(given.given, given.deadline_ms / 1000, given.characters)
        self._search = search

    def around(self, provider: Provider, model: str) -> Provider:
        """model: as the client asks for it."""
        return Grounded(provider, self._search, self._terms) if model in self._models else provider
