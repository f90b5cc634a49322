"""The documents of a house, from the settings: the store, the index that is made from it, the search above both."""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from importlib.util import find_spec
from typing import TYPE_CHECKING, Final

import msgspec

from tidewire.core.meter import EncoderMeter, SearchMeter
from tidewire.core.ports import Passage, Sink
from tidewire.core.request import Request
from tidewire.retrieval.corpus import Corpus
from tidewire.retrieval.engines.dense import Dense
from tidewire.retrieval.engines.fts5_words import Fts5Words
from tidewire.retrieval.engines.lexical import Lexical
from tidewire.retrieval.engines.memory import MemoryIndex
from tidewire.retrieval.measured import Measured
from tidewire.retrieval.ports import Store
from tidewire.retrieval.recent import Recent
from tidewire.retrieval.reranking.bounded import Bounded
from tidewire.retrieval.search import Finder, Search
from tidewire.retrieval.vectors import Vectors
from tidewire.retrieval.watch import Watch
from tidewire.server.document_store import pgvector_of, store_of
from tidewire.server.encoders import Encoders
from tidewire.server.settings import Settings

if TYPE_CHECKING:
    from tidewire.retrieval.stores.pgvector import Pgvector

log = logging.getLogger("tidewire.retrieval")

EXTRA: Final = "pip install 'tidewire[search]'"
LOCAL_BATCH: Final = 8  # chunks that the local model is given at once: queries wait for no more
HOSTED_BATCH: Final = 128


class Library(msgspec.Struct, frozen=True):
    """store: the truth. index: made from it. search: over both. corpus: as the model that quotes sees them.

    pgvector: searches large namespaces by meaning, in place of the index. finder: what passages are asked of: the search, what remembers its last results, what counts both. watch: what answers were given of it.
    """

    store: Store
    index: MemoryIndex
    search: Search
    finder: Finder
    watch: Watch
    corpus: Corpus
    pgvector: Pgvector | None = None

    async def run(self, stack: AsyncExitStack, encoders: Encoders, meter: EncoderMeter) -> None:
        """Open the store, begin to fill the index and to make vectors; all of it ends with the stack."""
        await self.store.start()
        stack.push_async_callback(self.store.close)
        if self.pgvector is not None:
            await self.pgvector.start(self.index)
            stack.push_async_callback(self.pgvector.close)
        await self.index.start()
        stack.push_async_callback(self.index.close)
        if self.search.reranker is not None:
            self.search.reranker.warm()
            stack.push_async_callback(self.search.reranker.close)
        if encoders.encoder is None:
            return
        if await self.store.seq():
            encoders.warm()  # there are documents: the first question will need it
        batch = LOCAL_BATCH if encoders.local is not None else HOSTED_BATCH
        index, only = self.index, {encoders.encoder.name}
        vectors = Vectors(self.store, encoders.encoder, meter, batch=batch, through=lambda: index.forget(only))
        vectors.start()
        stack.push_async_callback(vectors.close)


def library_of(
    settings: Settings, encoders: Encoders, reranker: Bounded | None = None, meter: SearchMeter | None = None
) -> Library:
    """Nothing is opened yet."""
    store = store_of(settings)
    encoder = encoders.encoder
    names = [one.name for one in (encoder, encoders.former if encoder is not None else None) if one is not None]
    matrix = _matrix() if names else None
    pgvector = pgvector_of(settings, store, names if matrix else ())
    index = MemoryIndex(store, _words(), matrix, names, meter=meter, elsewhere=pgvector)
    search = Search(store, index, encoder=encoder, former=encoders.former, reranker=reranker)
    given = settings.retrieval
    finder: Finder = Recent(search, given.results_s, given.results_bytes) if given.results_s else search
    if meter is not None:
        finder = Measured(finder, meter)
    watch = Watch(index, meter=meter)
    corpus = Corpus(finder, index, watch, frozenset(given.groups))
    return Library(store, index, search, finder, watch, corpus, pgvector)


class NoDocuments:
    """A corpus for a look at what models are on offer: nothing is opened."""

    @asynccontextmanager
    async def search(self, request: Request, query: str, limit: int, sink: Sink) -> AsyncIterator[Sequence[Passage]]:
        yield []

    async def rarity(self, namespace: str, terms: Sequence[str]) -> dict[str, float]:
        return {}

    async def count(self, namespace: str) -> int:
        return 0


def missing() -> list[str]:
    """The packages of the extra `search` that are not installed."""
    return [name for name in ("tantivy", "numpy", "simsimd") if find_spec(name) is None]


def _words() -> Lexical:
    if find_spec("tantivy") is None:
        log.info("tantivy is not installed: words are searched by SQLite, which is slower", extra={"install": EXTRA})
        return Fts5Words()
    from tidewire.retrieval.engines.tantivy_words import TantivyWords  # noqa: PLC0415 - an extra

    return TantivyWords()


def _matrix() -> Callable[[int], Dense] | None:
    if find_spec("numpy") is None:
        log.warning("numpy is not installed: search is by words alone", extra={"install": EXTRA})
        return None
    from tidewire.retrieval.engines.matrix import Matrix  # noqa: PLC0415 - an extra

    return Matrix
