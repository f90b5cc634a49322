"""What the event loop asks of the writing thread, and the end of a stream that both know."""

from __future__ import annotations

from typing import Any, Protocol

from tidewire.core.errors import TidewireError
from tidewire.core.events import Entry
from tidewire.core.ports import Meta


class Tail:
    """The end of a stream that is being written in one epoch. raws: acknowledged and not in pages. Changed by the thread only."""

    __slots__ = ("dead", "last", "paged", "raws", "sid", "size")

    def __init__(self, sid: int, last: int) -> None:
        self.sid = sid
        self.last = last
        self.paged = last
        self.raws: list[bytes] = []
        self.size = 0
        self.dead: TidewireError | None = None


class Waiter(Protocol):
    """Whom the event loop tells what became of an order."""

    def settle(self, order: Any, error: TidewireError | None) -> None: ...


class Order:
    """Something to store. error: why it was refused, itself alone. sealed: handed to the thread, nothing can be added."""

    __slots__ = ("error", "sealed", "waiter")

    waiter: Waiter

    def __init__(self) -> None:
        self.error: TidewireError | None = None
        self.sealed = False


class Append(Order):
    """size: bytes of the entries. raws: theirs, taken out by the thread."""

    __slots__ = ("_mine", "entries", "raws", "size", "tail")

    raws: list[bytes]

    def __init__(self, tail: Tail, entries: list[Entry], size: int, waiter: Waiter) -> None:
        self.error = None
        self.sealed = False
        self.waiter = waiter
        self.tail = tail
        self.entries = entries
        self.size = size
        self._mine = False

    def add(self, entries: list[Entry], size: int) -> None:
        if not self._mine:  # the first list is its giver's
            self.entries = list(self.entries)
            self._mine = True
        self.entries.extend(entries)
        self.size += size


class Open(Order):
    __slots__ = ("meta", "tail")

    def __init__(self, meta: Meta) -> None:
        super().__init__()
        self.meta = meta
        self.tail = Tail(0, 0)


class Close(Order):
    __slots__ = ("meta", "tail")

    def __init__(self, tail: Tail, meta: Meta) -> None:
        super().__init__()
        self.tail = tail
        self.meta = meta


class Delete(Order):
    __slots__ = ("at", "stream", "tenant")

    def __init__(self, tenant: str, stream: str, at: int) -> None:
        super().__init__()
        self.tenant = tenant
        self.stream = stream
        self.at = at


class Expire(Order):
    """gone: whose time was over. more: there are others."""

    __slots__ = ("gone", "more", "now")

    def __init__(self, now: int) -> None:
        super().__init__()
        self.now = now
        self.gone: list[tuple[str, str]] = []
        self.more = False


class Sweep(Order):
    """Delete pages of streams that are gone. more: some are left."""

    __slots__ = ("more",)

    def __init__(self) -> None:
        super().__init__()
        self.more = False
