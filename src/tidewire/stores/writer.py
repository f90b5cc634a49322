"""The hand that writes to one stream of a log on disk."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Final

from tidewire.core.errors import TidewireError
from tidewire.core.events import Entry
from tidewire.core.ports import Meta
from tidewire.stores.commit import Committer
from tidewire.stores.cursor import StoredShelf
from tidewire.stores.orders import Append, Close, Tail

WINDOW: Final = 256 * 1024  # bytes of a running stream in memory; a reader further behind is served from the file
BACKLOG: Final = 1024 * 1024  # bytes of one stream, and of all, that may wait for their commit
BACKLOGS: Final = 32 * 1024 * 1024


class SqliteWriter:
    """unacknowledged: bytes that wait for the next commit, and for the one in flight."""

    __slots__ = ("_committer", "_dead", "_failed", "_order", "_shelf", "_store", "_tail", "size", "unacknowledged")

    def __init__(
        self,
        shelf: StoredShelf,
        tail: Tail,
        committer: Committer,
        store: Callable[[Close], Awaitable[object]],
        failed: Callable[[Exception], None],
    ) -> None:
        self._shelf = shelf
        self.unacknowledged = 0
        self.size = 0
        self._tail = tail
        self._committer = committer
        self._store = store
        self._failed = failed
        self._dead: TidewireError | None = None
        self._order: Append | None = None

    def append(self, entries: list[Entry]) -> None:
        committer = self._committer
        dead = self._dead or committer.closed
        if dead is not None:
            self.fail(dead)
            return
        if not entries:
            return
        size = 0
        for entry in entries:
            size += len(entry.raw)
        self.unacknowledged += size
        self.size += size
        committer.unacknowledged += size
        order = self._order
        if order is not None and not order.sealed:
            order.add(entries, size)
        else:
            self._order = order = Append(self._tail, entries, size, self)
            committer.order(order)

    @property
    def full(self) -> bool:
        return self.unacknowledged >= BACKLOG or self._committer.unacknowledged >= BACKLOGS

    async def room(self) -> None:
        while self.full:
            await self._committer.next_commit()

    async def close(self, meta: Meta) -> None:
        """Raises what broke the stream: its end is then not stored."""
        if self._dead is not None:
            raise self._dead
        await self._store(Close(self._tail, meta))
        self._failed = _nobody

    def settle(self, order: Append, error: TidewireError | None) -> None:
        self.unacknowledged -= order.size
        self._committer.unacknowledged -= order.size
        if order is self._order:
            self._order = None  # it holds this
        shelf = self._shelf
        if error is None:
            if shelf.size > WINDOW:
                shelf.shed(WINDOW // 2, order.tail.paged)
            shelf.publish(order.entries)
        elif self._dead is None:  # else the shelf is another writer's now
            shelf.fail(error)
            self.fail(error)

    def fail(self, error: TidewireError) -> None:
        """Nothing more can be stored by this hand: say so, once."""
        if self._dead is None:
            self._dead = error
            self._failed(error)


def _nobody(error: Exception) -> None:
    """Told in place of a run that has ended: a writer that held it would keep it until the collector looks."""
