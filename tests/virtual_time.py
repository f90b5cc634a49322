"""An event loop whose time passes only when everything waits, and then at once; with no sockets, threads or signals.

For worlds that live by the thousand: a turn costs what its callbacks cost. (`async_solipsism` plays sockets too, and asks a selector
each turn.) Two runs of one coroutine take the same turns in the same order.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Coroutine
from contextvars import Context, copy_context
from functools import partial
from heapq import heappop, heappush
from itertools import count
from typing import Any, TypeVar

T = TypeVar("T")


class Hang(Exception):
    """Everything waits and nothing is due."""


class Call:
    """What `call_soon` and `call_at` give: a callback that may still be called off."""

    __slots__ = ("_when", "args", "callback", "context")

    def __init__(self, callback: Any, args: tuple[Any, ...], context: Context | None, when: float) -> None:
        self.callback = callback
        self.args = args
        self.context = copy_context() if context is None else context
        self._when = when

    def cancel(self) -> None:
        self.callback = None
        self.args = ()  # and lets go of what they hold

    def cancelled(self) -> bool:
        return self.callback is None

    def when(self) -> float:
        return self._when


class VirtualLoop(asyncio.AbstractEventLoop):
    """now: seconds since its beginning. complaints: what went wrong where nobody waits for it, as exception handlers are told."""

    def __init__(self) -> None:
        self.now = 0.0
        self.complaints: list[dict[str, Any]] = []
        self._ready: deque[Call] = deque()
        self._timers: list[tuple[float, int, Call]] = []  # a heap; numbered: those of one moment keep their order
        self._numbers = count()
        self._running = self._closed = False
        # Asked for with every wait, so not in Python.
        self.create_future = partial(asyncio.Future, loop=self)  # type: ignore[method-assign]
        self.create_task = partial(asyncio.Task, loop=self)  # type: ignore[method-assign,assignment]

    get_debug = staticmethod(bool)  # False; it too

    def live(self, work: Coroutine[Any, Any, T]) -> T:
        """What it comes to; the loop is closed then. Raises Hang where it would wait forever."""
        asyncio._set_running_loop(self)
        self._running = True
        try:
            task: asyncio.Task[T] = asyncio.Task(work, loop=self)
            self._turn_until(task)
        finally:
            self._running = False
            asyncio._set_running_loop(None)
            self.close()
        return task.result()

    def _turn_until(self, task: asyncio.Task[Any]) -> None:
        ready, timers, over = self._ready, self._timers, task.done
        while not over():
            if not ready:
                while timers and timers[0][2].callback is None:
                    heappop(timers)
                if not timers:
                    raise Hang(f"after {self.now} seconds")
                if timers[0][0] > self.now:
                    self.now = timers[0][0]
            while timers and timers[0][0] <= self.now:
                ready.append(heappop(timers)[2])
            for _ in range(len(ready)):  # what they add has its turn after this one
                call = ready.popleft()
                if call.callback is not None:
                    try:
                        call.context.run(call.callback, *call.args)
                    except Exception as error:  # a callback's; a task keeps its own
                        self.call_exception_handler({"message": "a callback failed", "exception": error})

    def time(self) -> float:
        return self.now

    def call_soon(self, callback: Callable[..., Any], *args: Any, context: Context | None = None) -> Any:
        call = Call(callback, args, context, self.now)
        self._ready.append(call)
        return call

    def call_at(self, when: float, callback: Callable[..., Any], *args: Any, context: Context | None = None) -> Any:
        call = Call(callback, args, context, when)
        heappush(self._timers, (when, next(self._numbers), call))
        return call

    def call_later(self, delay: float, callback: Callable[..., Any], *args: Any, context: Context | None = None) -> Any:
        when = self.now + delay
        call = Call(callback, args, context, when)
        heappush(self._timers, (when, next(self._numbers), call))
        return call

    def call_exception_handler(self, context: dict[str, Any]) -> None:
        self.complaints.append(context)

    def is_running(self) -> bool:
        return self._running

    def is_closed(self) -> bool:
        return self._closed

    def close(self) -> None:
        self._ready.clear()
        self._timers.clear()
        self._closed = True
        del self.create_future, self.create_task  # they hold this
