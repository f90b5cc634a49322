"""What a stream has said so far, for routes that must know it before they answer."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from typing import Final

from tidewire.core.events import Entry
from tidewire.core.ports import Desk, Meta

BATCH: Final = 1024  # entries, some milliseconds of rendering, before others have their turn


async def replay(desk: Desk, meta: Meta, feed: Callable[[Sequence[Entry]], object]) -> None:
    """Feed the entries 1 … meta.last as it is now, and perhaps a few that came meanwhile. Raises what keeps the log from being read."""
    last = meta.last
    woken = asyncio.Event()
    cursor = await desk.follow(meta.tenant, meta.stream, 0, woken.set, counts=False)
    try:
        while cursor.seq < last:
            woken.clear()
            entries = cursor.take(BATCH)
            if entries:
                feed(entries)
                await asyncio.sleep(0)
            elif cursor.failed is not None:
                raise cursor.failed
            else:
                await woken.wait()
    finally:
        cursor.close()
