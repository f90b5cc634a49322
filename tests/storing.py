"""A store in memory, for tests of what puts documents into one: the calls that an intake makes, as `retrieval.ports.Store` says them.

`broken` is raised by the next put; `transactions` are the locations of each put, in order.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from tidewire.retrieval.ports import Document, Known, Only, Receipt, Take


class MemoryStore:
    def __init__(self) -> None:
        self.held: dict[str, dict[str, tuple[Known, Document]]] = {}
        self.notes: dict[str, str] = {}
        self.transactions: list[list[str]] = []
        self.broken: Exception | None = None
        self.changes_made = 0

    def texts(self, namespace: str = "acme") -> dict[str, str]:
        """By uri."""
        return {known.uri: document.text for known, document in self.held.get(namespace, {}).values()}

    async def put(self, namespace: str, documents: Sequence[Document], *, take: Take = "changed") -> list[Receipt]:
        if self.broken is not None:
            broken, self.broken = self.broken, None
            raise broken
        self.transactions.append([d.location for d in documents])
        held = self.held.setdefault(namespace, {})
        digests = {c.digest for _, d in held.values() for c in d.chunks}
        out = []
        for d in documents:
            before = held.get(d.location)
            same = before is not None and before[0].digest == d.digest
            foreign = take == "own" and before is not None and before[0].source != d.source
            if foreign or (take in ("changed", "own") and same) or (take == "same" and not same):
                left: Any = ("unknown", 0)
                if before is not None:
                    left = ("foreign" if foreign else "unchanged", before[0].version)
                out.append(Receipt(d.location, left[0], self.changes_made, left[1]))
                continue
            self.changes_made += 1
            version = before[0].version + 1 if before else 1
            known = Known(
                id=f"doc_{d.location}",
                location=d.location,
                title=d.title,
                uri=d.uri,
                source=d.source,
                kind=d.kind,
                version=version,
                published=d.published,
                indexed=float(self.changes_made),
                digest=d.digest,
                size=len(d.text),
                chunks=len(d.chunks),
                expires=d.expires,
                readers=d.readers,
            )
            held[d.location] = known, d
            kept = sum(c.digest in digests for c in d.chunks)
            status: Any = "replaced" if before else "added"
            out.append(Receipt(d.location, status, self.changes_made, version, len(d.chunks), kept))
        return out

    async def remove(self, namespace: str, locations: Sequence[str], *, source: str | None = None) -> list[Receipt]:
        out = []
        for location in locations:
            there = self.held.get(namespace, {}).get(location)
            if there is not None and source not in (None, there[0].source):
                out.append(Receipt(location, "foreign", self.changes_made))
                continue
            gone = self.held.get(namespace, {}).pop(location, None)
            self.changes_made += gone is not None
            out.append(Receipt(location, "removed" if gone else "unknown", self.changes_made))
        return out

    async def known(self, namespace: str, locations: Sequence[str]) -> dict[str, Known]:
        held = self.held.get(namespace, {})
        return {location: held[location][0] for location in locations if location in held}

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
        found = [k for k, _ in self.held.get(namespace, {}).values() if k.location > after]
        return sorted((k for k in found if source is None or k.source == source), key=lambda k: k.location)[:limit]

    async def document(self, namespace: str, document: str) -> tuple[Known, str] | None:
        held = self.held.get(namespace, {}).values()
        return next(((known, d.text) for known, d in held if known.id == document), None)

    async def note(self, name: str) -> str | None:
        return self.notes.get(name)

    async def set_note(self, name: str, value: str | None, *, expires: float | None = None) -> None:
        if value is None:
            self.notes.pop(name, None)
        else:
            self.notes[name] = value
