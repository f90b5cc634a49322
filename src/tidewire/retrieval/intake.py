"""From the bytes that a source brings to a document in the store: read, dated, cut, put. The one way in, for every source.

A batch is one transaction, and a document stands in one batch: it is replaced as a whole, or not at all.
"""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable, Sequence
from typing import Final

import msgspec

from tidewire.core.meter import IntakeMeter
from tidewire.retrieval.lifetimes import Lifetimes
from tidewire.retrieval.ports import Document, Known, Receipt, Store, Take
from tidewire.retrieval.reading import formats
from tidewire.retrieval.reading.page import NoDocument, NotRead, printable
from tidewire.retrieval.reading.reader import Reader
from tidewire.retrieval.reading.suspicion import suspicious

# What was made of a document's bytes is made again when this changes: how they are read, or cut.
PIPELINE: Final = "2"
BATCH: Final = 64  # documents in one transaction
BATCH_CHARACTERS: Final = 2_000_000
AHEAD: Final = 86400.0  # seconds that a date may lie ahead of our clock; what is later is no date to go by
NAMED: Final = 500  # documents that a report names, of each sort


class Found(msgspec.Struct, frozen=True, kw_only=True):
    """A document as a source has it. name: gives its format away by its ending. kind: its media type, where somebody says it.

    published, expires: Unix seconds, where somebody says them; changed: when it was last changed, for want of a date.
    """

    location: str
    name: str
    uri: str
    raw: bytes
    kind: str = ""
    title: str = ""
    published: float | None = None
    changed: float | None = None
    expires: float | None = None
    readers: tuple[str, ...] = ()


class Report(msgspec.Struct):
    """What was done. files: documents looked at. left_out: how many were not taken; skipped: which, and why, as far as they are named.
    unread: how many of those could not be read; the others are no documents (`NoDocument`). suspicious: which speak to a model.

    chunks: of the documents indexed; kept: those of them that had a vector already. seq: the last change made.
    """

    files: int = 0
    indexed: int = 0
    unchanged: int = 0
    removed: int = 0
    left_out: int = 0
    unread: int = 0
    skipped: list[tuple[str, str]] = []
    suspicious: list[tuple[str, str]] = []
    chunks: int = 0
    kept: int = 0
    seconds: float = 0.0
    seq: int = 0


class Intake:
    """clock: Unix seconds. Used on one event loop, by any number of deliveries at once."""

    def __init__(
        self,
        store: Store,
        reader: Reader,
        lifetimes: Lifetimes | None = None,
        meter: IntakeMeter | None = None,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self.store = store
        self.reader = reader
        self.clock = clock
        self.lifetimes = lifetimes or Lifetimes()
        self._meter = meter

    async def made(self, found: Found, source: str, ttl: float | None) -> Document:
        """The document, read and cut. ttl: seconds from its date on, instead of the rules'. Raises NotRead."""
        begun = time.perf_counter()
        page = await self.reader.read(found.raw, found.name, found.kind)
        if self._meter is not None:
            self._meter.ingested("read", time.perf_counter() - begun)
        location = printable(found.location)
        now = self.clock()
        dates = (found.published, page.published, found.changed)
        published = next((when for when in dates if when is not None and when <= now + AHEAD), now)
        expires = found.expires
        if expires is None:
            seconds = ttl if ttl is not None else self.lifetimes.seconds(source, location, page.kind)
            expires = None if seconds is None else published + seconds
        if expires is not None and expires <= now:
            raise NoDocument("not taken: its time is over already")
        return Document(
            location=location,
            title=printable(found.title) or page.title,
            text=page.text,
            uri=printable(found.uri),
            digest=self.mark(found, source, ttl),
            published=published,
            source=source,
            kind=page.kind,
            expires=expires,
            readers=found.readers,
            chunks=page.chunks,
        )

    async def cut_again(self, known: Known, text: str) -> Document:
        """A stored document from its own text, cut as texts are cut now; what is known of it stays. Raises NotRead."""
        return Document(
            location=known.location,
            title=known.title,
            text=text,
            uri=known.uri,
            digest=known.digest,
            published=known.published,
            source=known.source,
            kind=known.kind,
            expires=known.expires,
            readers=known.readers,
            chunks=await self.reader.cut(text),
        )

    def mark(self, found: Found, source: str, ttl: float | None) -> str:
        """Says whether a document must be made again: of its bytes, of what was said of it, and of the way it is read and cut.

        Not of when it was last changed: a file that was touched is the same document.
        """
        try:
            kind = formats.chosen(found.raw, found.name, found.kind).kinds[0]
        except NotRead:
            kind = ""
        rule = self.lifetimes.seconds(source, found.location, kind) if ttl is None else ttl
        said = (found.name, found.uri, kind, found.title, found.published, found.expires, found.readers, rule)
        whole = hashlib.blake2b(digest_size=16, person=b"tidewire " + PIPELINE.encode())
        whole.update(repr(said).encode("utf-8", "backslashreplace"))
        whole.update(found.raw)
        return whole.hexdigest()

    async def put(self, namespace: str, documents: Sequence[Document], *, take: Take = "changed") -> list[Receipt]:
        begun = time.perf_counter()
        receipts = await self.store.put(namespace, documents, take=take)
        if self._meter is not None:
            self._meter.ingested("store", time.perf_counter() - begun)
        return receipts

    def counted(self, source: str, result: str) -> None:
        if self._meter is not None:
            self._meter.document(source, result)


class Delivery:
    """What one source brings in one pass. Documents go in as they come, a batch at a time; `end` puts what is left.

    ttl: seconds that these documents are served from their date on, whatever the rules say. again: what has not changed is
    read and stored anew as well; a source that remembers what it saw forgets it first. suspects: by location, how documents are shown that
    speak to a model, and what they say; given from pass to pass, for one that has not changed is not read.
    """

    def __init__(
        self,
        intake: Intake,
        namespace: str,
        source: str = "",
        ttl: float | None = None,
        *,
        again: bool = False,
        suspects: dict[str, tuple[str, str]] | None = None,
    ) -> None:
        self.intake = intake
        self.namespace = namespace
        self.source = source
        self.again = again
        self.report = Report()
        self.ttl = ttl
        self._suspects = {} if suspects is None else suspects
        self._batch: dict[str, Document] = {}  # by location: of two with one, the later counts
        self._begun = time.monotonic()

    def way(self, *own: object) -> str:
        """A digest of all that says how this source's documents are read and stored. own: the source's part of that. What was seen in
        another way is not known to be stored in this one, whatever a host or a clock says of it.
        """
        said = (PIPELINE, self.namespace, self.source, self.ttl, self.intake.lifetimes.rules, *own)
        return hashlib.blake2b(repr(said).encode("utf-8", "backslashreplace"), digest_size=16).hexdigest()

    async def offer(self, found: Found, before: str | None = None) -> str:
        """Take one in; before: the digest it is stored with. The digest that it has now; "" where it cannot be read, as the report says."""
        if not self.again and before is not None and before == self.intake.mark(found, self.source, self.ttl):
            self.same()
            return before
        self.report.files += 1
        try:
            document = await self.intake.made(found, self.source, self.ttl)
        except NotRead as refusal:
            self.skip(printable(found.uri), str(refusal), meant=isinstance(refusal, NoDocument))
            return ""
        self._suspects.pop(document.location, None)
        if (phrase := suspicious(document.text)) and len(self._suspects) < NAMED:
            self._suspects[document.location] = document.uri, phrase
            self.intake.counted(self.source, "suspicious")
        self._batch[document.location] = document
        if len(self._batch) >= BATCH or sum(len(d.text) for d in self._batch.values()) > BATCH_CHARACTERS:
            await self.flush()
        return document.digest

    def same(self) -> None:
        """One was looked at, and is as it was."""
        self.report.files += 1
        self.report.unchanged += 1
        self.intake.counted(self.source, "unchanged")

    def skip(self, shown: str, why: str, *, looked: bool = False, meant: bool = False) -> None:
        """Say why something is not taken. looked: it counts as a document that was looked at. meant: nothing went wrong."""
        self.report.files += looked
        self.report.left_out += 1
        self.report.unread += not meant
        self.intake.counted(self.source, "skipped")
        if len(self.report.skipped) < NAMED:
            self.report.skipped.append((shown, why))

    async def remove(self, locations: Sequence[str]) -> None:
        """Those that this source brought. What was offered goes in first: a document that moved finds its vectors still there."""
        await self.flush()
        for location in locations:
            self._suspects.pop(location, None)
        for at in range(0, len(locations), BATCH):
            receipts = await self.intake.store.remove(self.namespace, locations[at : at + BATCH], source=self.source)
            for receipt in receipts:
                self.report.seq = max(self.report.seq, receipt.seq)
                if receipt.status == "removed":
                    self.report.removed += 1
                    self.intake.counted(self.source, "removed")

    async def flush(self) -> None:
        batch, self._batch = list(self._batch.values()), {}
        await self.put(batch, take="all" if self.again else "changed")

    async def put(self, documents: Sequence[Document], *, take: Take) -> None:
        """Some hundreds at most, in one transaction; the report counts them."""
        if not documents:
            return
        for receipt in await self.intake.put(self.namespace, documents, take=take):
            self.report.seq = max(self.report.seq, receipt.seq)
            self.intake.counted(self.source, receipt.status)
            if receipt.status in ("unchanged", "foreign"):
                self.report.unchanged += 1
            else:
                self.report.indexed += 1
                self.report.chunks += receipt.chunks
                self.report.kept += receipt.kept

    async def end(self) -> Report:
        self.report.suspicious = list(self._suspects.values())
        await self.flush()
        self.report.seconds = time.monotonic() - self._begun
        return self.report
