"""Something that happens once, and that somebody may wait for. Costs nothing until somebody does."""

from __future__ import annotations

import asyncio


class Gate:
    """Like asyncio.Event without clear(); each stream has two, and hardly any is ever waited for."""

    __slots__ = ("_open", "_waiting")

    def __init__(self) -> None:
        self._open = False
        self._waiting: asyncio.Event | None = None

    def is_set(self) -> bool:
        return self._open

    def set(self) -> None:
        self._open = True
        if self._waiting is not None:
            self._waiting.set()

    async def wait(self) -> None:
        if not self._open:
            if self._waiting is None:
                self._waiting = asyncio.Event()
            await self._waiting.wait()
