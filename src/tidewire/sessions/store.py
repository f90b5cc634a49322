"""Where sessions are kept: the shape, and the one in memory."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final, Protocol

import msgspec

from tidewire.sessions.session import Key, Session

AHEAD: Final = 5.0  # seconds that a clock may be set back before sessions from the future are taken for old ones
encode: Final[Callable[[Session], bytes]] = msgspec.msgpack.Encoder().encode
_decoder = msgspec.msgpack.Decoder(Session)
Change = Callable[[Session | None], Session | None]


def decode(raw: bytes) -> Session:
    """Raises msgspec.MsgspecError for bytes that no version wrote that this one can read."""
    return _decoder.decode(raw)


def measure(session: Session) -> int:
    """Bytes, as it is kept."""
    return len(encode(session))


class Store(Protocol):
    """Sessions by their keys. What is older than its lifetime since its last use is not there. Raises OSError where a disk fails."""

    size: int  # bytes, of all

    async def get(self, key: Key) -> Session | None: ...

    async def update(self, key: Key, change: Change) -> Session | None:
        """Put what `change` makes of the session (None: there is none) in its place, with nothing in between; None leaves all as it is.

        Answers what is there then. `change` may run in another thread. Where the store is full, the sessions go that were not used for longest.
        """

    async def delete(self, key: Key) -> Session | None:
        """Answers what was there."""

    async def find(self, tenant: str, user: str | None, limit: int) -> list[tuple[Key, Session]]:
        """A tenant's, the latest used first. user: only theirs."""

    async def sweep(self) -> int:
        """Forget what is over its time; answers how many."""

    async def close(self) -> None: ...


class MemoryStore:
    """`Store`. limit: bytes of all sessions. ttl: seconds since the last use. now: Unix seconds."""

    def __init__(self, limit: int, ttl: float, now: Callable[[], float]) -> None:
        self._limit = limit
        self._ttl = ttl
        self._now = now
        self._kept: dict[Key, tuple[Session, int]] = {}  # the latest used last
        self.size = 0

    async def get(self, key: Key) -> Session | None:
        found = self._kept.get(key)
        return found[0] if found is not None and self._fresh(found[0]) else None

    async def update(self, key: Key, change: Change) -> Session | None:
        before = await self.get(key)
        after = change(before)
        if after is None:
            return before
        self._drop(key)
        self._kept[key] = (after, size := measure(after))
        self.size += size
        while self.size > self._limit:
            self._drop(next(iter(self._kept)))
        return after

    async def delete(self, key: Key) -> Session | None:
        before = await self.get(key)
        self._drop(key)
        return before

    async def find(self, tenant: str, user: str | None, limit: int) -> list[tuple[Key, Session]]:
        out = [
            (key, session)
            for key, (session, _) in reversed(self._kept.items())
            if key[0] == tenant and user in (None, key[1]) and self._fresh(session)
        ]
        return out[:limit]

    async def sweep(self) -> int:
        old = [key for key, (session, _) in self._kept.items() if not self._fresh(session)]
        for key in old:
            self._drop(key)
        return len(old)

    async def close(self) -> None:
        self._kept.clear()
        self.size = 0

    def _fresh(self, session: Session) -> bool:
        return -AHEAD <= self._now() - session.used < self._ttl

    def _drop(self, key: Key) -> None:
        _, size = self._kept.pop(key, (None, 0))
        self.size -= size
