"""Threads for functions that are not async: one a call, so many at once, none of them waited for at the end of the process."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")


class Threads:
    """most: how many run at once, those included whose call is over and who have not noticed."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._free = asyncio.Semaphore(most)

    async def run(self, name: str, work: Callable[[], T]) -> T:
        """What `work` returns or raises. A thread cannot be stopped: when this is cancelled it goes on, and keeps its place until it ends."""
        await self._free.acquire()
        loop = asyncio.get_running_loop()
        done: asyncio.Future[T] = loop.create_future()

        def finish(value: T | None, error: BaseException | None) -> None:
            self._free.release()
            if done.cancelled():
                return
            if error is not None:
                done.set_exception(error)
            else:
                done.set_result(value)  # type: ignore[arg-type]

        def body() -> None:
            value, error = None, None
            try:
                value = work()
            except BaseException as wrong:  # noqa: BLE001 - supervisor boundary: it is raised where the call is awaited
                error = RuntimeError("the function called for an exit") if isinstance(wrong, SystemExit) else wrong
            try:
                loop.call_soon_threadsafe(finish, value, error)
            except RuntimeError:
                return  # the event loop is closed: nobody waits

        try:
            threading.Thread(target=body, name=f"tool {name}", daemon=True).start()
        except BaseException:
            self._free.release()
            raise
        return await done
