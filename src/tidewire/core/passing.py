"""Sinks that stand around another one."""

from __future__ import annotations

from tidewire.core.ports import Sink


class Passing:
    """A sink whose reader is that of the one behind it, `_sink`. What of the events passes, `feed` of each kind says."""

    __slots__ = ()
    _sink: Sink

    @property
    def full(self) -> bool:
        return self._sink.full

    async def room(self) -> None:
        await self._sink.room()
