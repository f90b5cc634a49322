"""What the parts of retrieval meet by: documents as they are stored, the store that is the truth, the index made from it.

The small ones (gc=False) hold nothing that could hold them: the collector need not look at a hundred thousand of them.

Times are Unix seconds. A namespace is the first argument of every call that touches documents: there is no call without one.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Sequence
from typing import Final, Literal, Protocol

import msgspec


class Chunk(msgspec.Struct, frozen=True, omit_defaults=True, gc=False):
    """A piece of a document: its text[start : start + len(text)]. heading: the path of headings above it, joined by " > ".

    digest: of the normalised text: chunks with the same one share their vector. simhash: 64 bits, near for near-duplicates.
    """

    start: int
    text: str
    heading: str = ""
    digest: bytes = b""
    simhash: int = 0


class Document(msgspec.Struct, frozen=True, omit_defaults=True):
    """What is put. location: what it is known by within its namespace; putting it again replaces it.

    uri: what a reader is shown. source: the name of the source that brought it ("" for one put by hand). kind: its media type.
    published: when its content was said, where that is known, else when it was last changed. expires: from then on it is never
    served; None: never. readers: groups of which one is needed to read it; empty: everybody of the namespace.
    digest: of its bytes and of the way they were read and cut: the same digest means that nothing need be done.
    """

    location: str
    title: str
    text: str
    uri: str
    digest: str
    published: float
    source: str = ""
    kind: str = "text/plain"
    expires: float | None = None
    readers: tuple[str, ...] = ()
    chunks: tuple[Chunk, ...] = ()


class Known(msgspec.Struct, frozen=True, omit_defaults=True, gc=False):
    """A document in the store. id: what citations and the fetch tool name it by. version: counts from 1 each time it is replaced.

    size: characters of text. pending: of its chunks, how many wait for a vector.
    """

    id: str
    location: str
    title: str
    uri: str
    source: str
    kind: str
    version: int
    published: float
    indexed: float
    digest: str
    size: int
    chunks: int
    pending: int = 0
    expires: float | None = None
    readers: tuple[str, ...] = ()


AGES: Final = (86400.0, 7 * 86400.0, 30 * 86400.0, 365 * 86400.0)  # seconds: a day, a week, a month, a year


class Shelf(msgspec.Struct, frozen=True):
    """The documents of one source, counted. size: characters. pending: chunks that wait for a vector.

    oldest, newest: of `published`; indexed: the last. expiring: documents whose time is over within `AGES[0]`. ages: documents that are
    no older than each of `AGES`, and all.
    """

    source: str
    documents: int
    chunks: int
    size: int
    oldest: float
    newest: float
    indexed: float
    expiring: int
    ages: tuple[int, ...]
    pending: int = 0


class Row(msgspec.Struct, frozen=True, omit_defaults=True, gc=False):
    """A chunk with what is known of its document. chunk: its number in the store, never given twice. document: the `Known.id`."""

    chunk: int
    document: str
    version: int
    title: str
    uri: str
    heading: str
    start: int
    text: str
    digest: bytes
    simhash: int
    published: float
    indexed: float
    expires: float | None = None
    readers: tuple[str, ...] = ()
    source: str = ""


class Receipt(msgspec.Struct, frozen=True, gc=False):
    """What a put or a delete did. seq: the change that made it so. kept: chunks that kept their vector. status: of the document;
    foreign: another source brought it, and it is left as it is.
    """

    location: str
    status: Literal["added", "replaced", "unchanged", "removed", "unknown", "foreign"]
    seq: int
    version: int = 0
    chunks: int = 0
    kept: int = 0


class Change(msgspec.Struct, frozen=True, gc=False):
    """What an index must do to follow the store. seq: without gaps in one store. epoch: the namespace's, after this change.

    added, removed: chunks. vectors: chunks that got a vector of `encoder`. documents: ids of those that say something else now, or to other
    readers, and of those removed: not of one that was only indexed again.
    """

    seq: int
    namespace: str
    epoch: int
    added: tuple[int, ...] = ()
    removed: tuple[int, ...] = ()
    vectors: tuple[int, ...] = ()
    encoder: str = ""
    documents: tuple[str, ...] = ()


class Vector(msgspec.Struct, frozen=True, gc=False):
    """A unit vector in int8: the component is data[i] * scale. len(data) is its dimensions."""

    data: bytes
    scale: float


# Which of the documents that are put. all: with the digest that is stored, too. same: only with the digest that is stored; what was
# replaced or deleted meanwhile stays so. own: as "changed", and none that another source brought.
Take = Literal["changed", "all", "same", "own"]


# Which of the documents that are listed. pending: with chunks that wait for a vector. expiring: whose time is over within `AGES[0]`.
Only = Literal["all", "pending", "expiring"]


class Store(Protocol):
    """The truth: documents, chunks, vectors, changes. What it has acknowledged survives kill -9."""

    async def start(self) -> None:
        """Open it, and bring tables of an older version up to date. Raises SettingsError where it cannot be used."""

    async def close(self) -> None: ...

    async def put(self, namespace: str, documents: Sequence[Document], *, take: Take = "changed") -> list[Receipt]:
        """Add or replace these, all or none, in one transaction. A document with the digest that is stored is left as it is.

        take: with "all" and "same", chunks wait for vectors anew; those that they have serve until then.
        """

    async def remove(self, namespace: str, locations: Sequence[str], *, source: str | None = None) -> list[Receipt]:
        """Delete them: rows, chunks, vectors that nobody shares. source: only those that it brought."""

    async def drop(self, namespace: str) -> int:
        """Delete all documents of a namespace; returns how many."""

    async def expire(self, now: float, limit: int = 500) -> int:
        """Delete at most `limit` documents that are over their time; returns how many."""

    async def compact(self) -> None:
        """Clear what was deleted from the file, too."""

    async def namespaces(self) -> list[str]: ...

    async def epoch(self, namespace: str) -> int:
        """Counts up with each change to the namespace's documents; 0 for one that was never written to."""

    async def documents(
        self,
        namespace: str,
        *,
        after: str = "",
        limit: int = 100,
        source: str | None = None,
        like: str = "",
        only: Only = "all",
    ) -> list[Known]:
        """By location, those behind `after`. like: words that title, uri or location must hold."""

    async def count(self, namespace: str) -> tuple[int, int, int]:
        """Documents, chunks, chunks that wait for a vector."""

    async def shelves(self, namespace: str, now: float) -> list[Shelf]:
        """What there is, by source: those with documents, by name."""

    async def chunks(
        self, namespace: str, document: str, *, after: int = 0, limit: int = 100
    ) -> list[tuple[int, bool]]:
        """The chunks of a document by its id, in order, those behind `after`; and whether each waits for a vector."""

    async def known(self, namespace: str, locations: Sequence[str]) -> dict[str, Known]:
        """By location; those not stored are left out."""

    async def document(self, namespace: str, document: str) -> tuple[Known, str] | None:
        """By its id: what is known, and the whole text."""

    async def fetch(self, namespace: str, chunks: Sequence[int]) -> dict[int, Row]:
        """Those that are still stored in this namespace. Expiry and readers are the caller's to check again."""

    async def changes(self, after: int, limit: int = 1000) -> list[Change]:
        """In order. What is older than the store keeps is told by the first change having seq > after + 1: then read `rows` anew."""

    async def seq(self) -> int:
        """The last change."""

    def listen(self, wake: Callable[[], None]) -> Callable[[], None]:
        """wake: called on the event loop after a change, by whatever process made it; returns what ends it."""

    def rows(self, namespace: str | None = None, batch: int = 500) -> AsyncIterator[list[tuple[str, Row]]]:
        """All chunks with their namespaces, in order of their numbers: what an index is made from."""

    def vectors(self, encoder: str, batch: int = 500) -> AsyncIterator[list[tuple[int, Vector]]]:
        """All vectors of this encoder by chunk."""

    async def vectors_of(self, encoder: str, chunks: Sequence[int]) -> dict[int, Vector]: ...

    async def pending(self, encoder: str, limit: int) -> list[tuple[int, str]]:
        """Chunks without a vector of this encoder, with the text to embed (title and heading before it); newest documents first."""

    async def add_vectors(self, encoder: str, vectors: Sequence[tuple[int, Vector]]) -> None:
        """Give chunks their vectors; chunks that are gone are passed over."""

    async def forget_encoder(self, encoder: str) -> int:
        """Delete all vectors of an encoder that is no longer used; returns how many."""

    async def note(self, name: str) -> str | None:
        """A small value kept beside the documents: a source's cursor, an idempotency key. None where it was never set."""

    async def set_note(self, name: str, value: str | None, *, expires: float | None = None) -> None: ...


class Filter(msgspec.Struct, frozen=True):
    """What a search may find. now: chunks that expire by then are left out. groups: of who asks. sources: empty: all.

    since, until: bounds of `published`.
    """

    now: float
    groups: frozenset[str] = frozenset()
    sources: frozenset[str] = frozenset()
    since: float | None = None
    until: float | None = None


Scored = tuple[int, float]  # a chunk and its score, higher is better


class Index(Protocol):
    """Finds chunks fast. Made from a store, and made again from it whenever it is lost.

    Expired, deleted and unreadable chunks are left out by the engine itself, not after it has chosen its best.
    """

    async def start(self) -> None:
        """Begin to fill it from the store, in the background; `ready` says how far it is."""

    async def close(self) -> None: ...

    async def lexical(self, namespace: str, query: str, limit: int, which: Filter) -> list[Scored]:
        """By BM25 over any of the query's words. Any text will do as a query; none is read as syntax."""

    async def dense(self, namespace: str, encoder: str, vector: bytes, limit: int, which: Filter) -> list[Scored]:
        """By cosine. vector: of this encoder, little-endian float32, of unit length. [] where no chunk has one of it yet."""

    def embedded(self, namespace: str, encoder: str) -> bool:
        """Whether it has vectors of this encoder there."""

    async def rarity(self, namespace: str, terms: Sequence[str]) -> dict[str, float]:
        """How much each word tells chunks apart: ln(1 + chunks / (1 + chunks that hold it))."""

    async def filled(self, within: float) -> bool:
        """Returns once all words that were stored when it started can be found; False after so many seconds."""

    async def visible(self, seq: int, *, full: bool = False, within: float = 10.0) -> bool:
        """Returns once the change can be found: by words, or with `full` by meaning too. False after `within` seconds."""

    def epoch(self, namespace: str) -> int:
        """The epoch that is searched now."""

    def seq(self, namespace: str) -> int:
        """The last change to the namespace, vectors included, that is searched now."""

    def listen(self, heard: Callable[[Change], None]) -> Callable[[], None]:
        """heard: called on the event loop with each change once it is searched; returns what ends it."""

    def live(self, namespace: str, chunk: int, now: float) -> bool:
        """Whether the chunk is stored, not deleted and not expired, as far as this index knows."""

    def lag(self) -> tuple[int, float]:
        """Changes not yet taken in, and seconds since the oldest of them."""

    @property
    def ready(self) -> Literal["empty", "lexical", "full"]: ...
