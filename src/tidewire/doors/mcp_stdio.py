"""MCP over standard input and output: a message a line, several requests at a time, and a request that is cancelled ends."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Awaitable, Callable
from typing import Any, BinaryIO, Final

import msgspec

from tidewire.doors.mcp_protocol import INTERNAL, Message, Unreadable, failed, read

MOST: Final = 64  # requests at a time; a client that asks more at once is told so
LAST: Final = 10.0  # seconds that requests have to end once the client has closed its end
Ask = Callable[[Message], Awaitable[Message | None]]  # None: it was a notification


class Lines:
    """ask: answers a message. given, out: a line each."""

    def __init__(self, ask: Ask, given: BinaryIO, out: BinaryIO) -> None:
        self._ask = ask
        self._given = given
        self._out = out
        self._running: dict[object, asyncio.Task[None]] = {}
        self._over = asyncio.Event()

    async def serve(self) -> None:
        """Returns when the client has closed its end, or reads no more."""
        loop = asyncio.get_running_loop()
        lines: asyncio.Queue[bytes] = asyncio.Queue()

        def reading() -> None:
            # A thread of its own, which nobody waits for: a read of standard input cannot be called off.
            try:
                for line in self._given:
                    loop.call_soon_threadsafe(lines.put_nowait, line)
                loop.call_soon_threadsafe(lines.put_nowait, b"")
            except RuntimeError:  # the loop is over: the process ends
                return

        threading.Thread(target=reading, name="mcp-input", daemon=True).start()
        try:
            while not self._over.is_set() and (line := await self._next(lines)):
                if line.strip():
                    self._take(line)
            if self._running and not self._over.is_set():
                await asyncio.wait(self._running.values(), timeout=LAST)
        finally:
            for task in (left := list(self._running.values())):
                task.cancel()
            await asyncio.gather(*left, return_exceptions=True)

    async def _next(self, lines: asyncio.Queue[bytes]) -> bytes:
        """b"" once there is nothing to come, or nobody to answer."""
        line, over = asyncio.ensure_future(lines.get()), asyncio.ensure_future(self._over.wait())
        await asyncio.wait((line, over), return_when=asyncio.FIRST_COMPLETED)
        over.cancel()
        return line.result() if not line.cancel() else b""

    def _take(self, line: bytes) -> None:
        try:
            message = read(line)
        except Unreadable as wrong:
            self._write(wrong.answer)
            return
        if message["method"] == "notifications/cancelled":
            self._cancel(message.get("params", {}).get("requestId"))
            return
        number = message.get("id", object())
        if number in self._running or len(self._running) >= MOST:
            why = "this id is in use" if number in self._running else f"{MOST} requests are under way; ask again soon"
            if "id" in message:
                self._write(failed(number, INTERNAL, why))
            return
        self._running[number] = task = asyncio.get_running_loop().create_task(self._answer(message))
        task.add_done_callback(lambda _: self._running.pop(number, None))

    def _cancel(self, number: Any) -> None:
        if isinstance(number, str | int) and not isinstance(number, bool) and (task := self._running.get(number)):
            task.cancel()

    async def _answer(self, message: Message) -> None:
        answer = await self._ask(message)
        if answer is not None:
            self._write(answer)

    def _write(self, answer: Message) -> None:
        """Straight to the client, waiting for it: it is the only one."""
        try:
            self._out.write(msgspec.json.encode(answer) + b"\n")
            self._out.flush()
        except OSError:  # it reads no more
            self._over.set()
