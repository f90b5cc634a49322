"""Which files are in the store as they are, by size and time: kept beside the documents, so that a restart does not read all of them.

What is kept may be out of date and does no harm then: a file is left unread only where its size and time are those that were seen,
and the store still holds what was read of it.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import msgspec

from tidewire.retrieval.ports import Known, Store

PAGE: Final = 2000  # files in one note: the event loop waits for no more than that
EVERY: Final = 300.0  # seconds between two times that it is kept; what changed meanwhile is read again after a restart
KEPT: Final = 30 * 86400.0  # seconds
SETTLED: Final = (
    2.0  # seconds: a file that was changed just before it was read may change again in the same tick of its clock
)

Stamp = tuple[int, int]  # size, and time of the last change in ns
_Entry = tuple[str, int, int, str]


class Seen:
    def __init__(self) -> None:
        self._files: dict[
            str, tuple[Stamp, str]
        ] = {}  # by location: how it was, and the digest that it was stored with
        self._name = ""
        self._changed = False
        self._saved = float("-inf")
        self._pages = 0

    def add(self, place: str, stamp: Stamp, digest: str) -> None:
        self._files[place] = stamp, digest
        self._changed = True

    def same(self, place: str, stamp: Stamp | None, known: Known | None) -> bool:
        """Whether the file need not be read."""
        entry = self._files.get(place)
        return entry is not None and known is not None and entry == (stamp, known.digest)

    def drop(self, places: Sequence[str]) -> None:
        for place in places:
            self._changed = self._files.pop(place, None) is not None or self._changed

    def clear(self) -> None:
        """All of it is to be read."""
        self._files.clear()
        self._changed = True

    async def load(self, store: Store, way: str) -> None:
        """What was kept, once. way: as `Delivery.way` has it."""
        name = f"folder {way}"
        if name == self._name:
            return
        self._name, self._pages = name, 0
        self._files.clear()
        while (page := await store.note(f"{name} {self._pages}")) is not None:
            for place, size, when, digest in msgspec.json.decode(page, type=list[_Entry]):
                self._files[place] = (size, when), digest
            self._pages += 1

    async def save(self, store: Store, now: float) -> None:
        """Keep what is known. now: Unix seconds, from before the first file was read."""
        if not self._changed or abs(now - self._saved) < EVERY:
            return
        latest = (now - SETTLED) * 1e9
        self._saved, self._changed = now, False
        files = list(self._files.items())
        pages = range(0, len(files), PAGE)
        for n, at in enumerate(pages):
            page = [(place, *stamp, digest) for place, (stamp, digest) in files[at : at + PAGE] if stamp[1] < latest]
            await store.set_note(f"{self._name} {n}", msgspec.json.encode(page).decode(), expires=now + KEPT)
        for n in range(len(pages), self._pages):
            await store.set_note(f"{self._name} {n}", None)
        self._pages = len(pages)
