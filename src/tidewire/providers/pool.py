"""Connections that are kept for the next request to the same host."""

from __future__ import annotations

import asyncio

from tidewire.providers.connection import Connection


class Pool:
    """At most `size` idle connections, each for at most `seconds` (less where the host said so); the newest goes first."""

    def __init__(self, size: int, seconds: float) -> None:
        self._size = size
        self._seconds = seconds
        self._idle: list[Connection] = []
        self._sweep: asyncio.TimerHandle | None = None

    def __len__(self) -> int:
        return len(self._idle)

    def take(self, now: float) -> Connection | None:
        while self._idle:
            connection = self._idle.pop()
            if connection.idle and now - connection.idle_since < self._lasts(connection):
                return connection
            connection.abort()
        return None

    def put(self, connection: Connection, loop: asyncio.AbstractEventLoop) -> None:
        """Keep it where it can carry another request; else close it."""
        if not connection.idle or self._size <= 0:
            connection.abort()
            return
        connection.idle_since = loop.time()
        self._idle.append(connection)
        if len(self._idle) > self._size:
            self._idle.pop(0).abort()
        if self._sweep is None:
            self._sweep = loop.call_later(self._seconds, self._swept, loop)

    def close(self) -> None:
        if self._sweep is not None:
            self._sweep.cancel()
            self._sweep = None
        for connection in self._idle:
            connection.abort()
        self._idle.clear()

    def _lasts(self, connection: Connection) -> float:
        if connection.keep_seconds is None:
            return self._seconds
        return min(self._seconds, connection.keep_seconds - 0.5)  # half a second: our request is on its way meanwhile

    def _swept(self, loop: asyncio.AbstractEventLoop) -> None:
        now = loop.time()
        keep = [c for c in self._idle if c.idle and now - c.idle_since < self._lasts(c)]
        for connection in set(self._idle).difference(keep):
            connection.abort()
        self._idle = keep
        self._sweep = loop.call_later(self._seconds, self._swept, loop) if keep else None
