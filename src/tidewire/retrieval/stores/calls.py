"""The calls of a store that are the same whatever keeps the documents: each one look, or one write that is committed."""

from __future__ import annotations

import asyncio
from abc import ABC, abstractmethod
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from operator import methodcaller
from typing import Any, TypeVar

from tidewire.retrieval.ports import Change, Document, Known, Only, Receipt, Row, Shelf, Take, Vector

T = TypeVar("T")


class Calls(ABC):
    """clock: Unix seconds. What looks and writes are given are the `Reading` and the `Writing` of the store."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._wakes: list[Callable[[], None]] = []
        self._watch: asyncio.Task[None] | None = None
        self._known_encoders: set[str] = set()

    @abstractmethod
    async def _read(self, look: Callable[[Any], T | Awaitable[T]]) -> T: ...

    @abstractmethod
    async def _do(self, work: Callable[[Any], T | Awaitable[T]], *, wake: bool = False) -> T:
        """The result, once it is committed. wake: who listens is told."""

    @abstractmethod
    async def _heed(self) -> None:
        """Never returns: wakes who listens when another process has written."""

    async def put(self, namespace: str, documents: Sequence[Document], *, take: Take = "changed") -> list[Receipt]:
        return await self._do(lambda writing: writing.put(namespace, documents, self._clock(), take=take), wake=True)

    async def remove(self, namespace: str, locations: Sequence[str], *, source: str | None = None) -> list[Receipt]:
        return await self._do(lambda writing: writing.remove(namespace, locations, source=source), wake=True)

    async def drop(self, namespace: str) -> int:
        return await self._do(lambda writing: writing.drop(namespace), wake=True)

    async def expire(self, now: float, limit: int = 500) -> int:
        return await self._do(lambda writing: writing.expire(now, limit), wake=True)

    async def namespaces(self) -> list[str]:
        return await self._read(methodcaller("namespaces"))

    async def epoch(self, namespace: str) -> int:
        return await self._read(lambda reading: reading.epoch(namespace))

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
        now = self._clock()
        return await self._read(
            lambda reading: reading.documents(namespace, after, limit, source=source, like=like, only=only, now=now)
        )

    async def count(self, namespace: str) -> tuple[int, int, int]:
        return await self._read(lambda reading: reading.count(namespace))

    async def shelves(self, namespace: str, now: float) -> list[Shelf]:
        return await self._read(lambda reading: reading.shelves(namespace, now))

    async def chunks(
        self, namespace: str, document: str, *, after: int = 0, limit: int = 100
    ) -> list[tuple[int, bool]]:
        return await self._read(lambda reading: reading.chunks(namespace, document, after, limit))

    async def known(self, namespace: str, locations: Sequence[str]) -> dict[str, Known]:
        return await self._read(lambda reading: reading.known(namespace, locations))

    async def document(self, namespace: str, document: str) -> tuple[Known, str] | None:
        return await self._read(lambda reading: reading.document(namespace, document))

    async def fetch(self, namespace: str, chunks: Sequence[int]) -> dict[int, Row]:
        return await self._read(lambda reading: reading.fetch(namespace, chunks))

    async def changes(self, after: int, limit: int = 1000) -> list[Change]:
        return await self._read(lambda reading: reading.changes(after, limit))

    async def seq(self) -> int:
        return await self._read(methodcaller("seq"))

    def listen(self, wake: Callable[[], None]) -> Callable[[], None]:
        self._wakes.append(wake)
        if self._watch is None:
            self._watch = asyncio.get_running_loop().create_task(self._heed())

        def stop() -> None:
            if wake in self._wakes:
                self._wakes.remove(wake)

        return stop

    async def rows(self, namespace: str | None = None, batch: int = 500) -> AsyncIterator[list[tuple[str, Row]]]:
        after, found = 0, list[tuple[str, Row]]()
        while found := await self._read(methodcaller("rows", namespace, after, batch)):
            yield found
            after = found[-1][1].chunk

    async def vectors(self, encoder: str, batch: int = 500) -> AsyncIterator[list[tuple[int, Vector]]]:
        found, last = await self._read(methodcaller("vectors", encoder, None, batch))
        while found:
            yield found
            found, last = await self._read(methodcaller("vectors", encoder, last, batch))

    async def vectors_of(self, encoder: str, chunks: Sequence[int]) -> dict[int, Vector]:
        return await self._read(lambda reading: reading.vectors_of(encoder, chunks))

    async def pending(self, encoder: str, limit: int) -> list[tuple[int, str]]:
        if encoder not in self._known_encoders:
            if not await self._read(lambda reading: reading.knows(encoder)):
                await self._do(lambda writing: writing.know(encoder))
            self._known_encoders.add(encoder)
        return await self._read(lambda reading: reading.pending(encoder, limit))

    async def add_vectors(self, encoder: str, vectors: Sequence[tuple[int, Vector]]) -> None:
        await self._do(lambda writing: writing.add_vectors(encoder, vectors), wake=True)

    async def forget_encoder(self, encoder: str) -> int:
        self._known_encoders.discard(encoder)
        return await self._do(lambda writing: writing.forget_encoder(encoder))

    async def note(self, name: str) -> str | None:
        return await self._read(lambda reading: reading.note(name, self._clock()))

    async def set_note(self, name: str, value: str | None, *, expires: float | None = None) -> None:
        await self._do(lambda writing: writing.set_note(name, value, expires))

    def _wake(self) -> None:
        for wake in tuple(self._wakes):
            wake()
