"""Reads any document within bounds, in processes of its own: a thread would hold up every stream while a pattern looks for its end."""

from __future__ import annotations

import asyncio
import contextlib
import os
import sys
from typing import Final

import msgspec

from tidewire.retrieval.ports import Chunk
from tidewire.retrieval.reading import formats
from tidewire.retrieval.reading.child import Asked, Said
from tidewire.retrieval.reading.feeds import Item
from tidewire.retrieval.reading.page import NoDocument, NotRead, Page

MARGIN: Final = 1 << 20  # bytes of an answer besides its characters
DOCUMENTS: Final = 500  # read by one process; then another takes over, and what the parsers have leaked is gone


class Bounds(msgspec.Struct, frozen=True):
    """What one document may take. size: bytes of it. characters: of its text. memory: bytes. seconds: on the clock, and of a processor."""

    size: int = 32 << 20
    characters: int = formats.MOST
    memory: int = 1 << 30
    seconds: float = 30.0


class Reader:
    """at_once: processes. They start when they are needed, and end with `close`."""

    def __init__(self, bounds: Bounds | None = None, at_once: int = 2) -> None:
        self.bounds = bounds or Bounds()
        self._turn = asyncio.Semaphore(at_once)
        self._idle: list[_Process] = []

    async def read(self, raw: bytes, name: str, kind: str = "") -> Page:
        """kind: its media type, where somebody says it. Raises NotRead, whatever the document does."""
        bounds = self.bounds
        if len(raw) > bounds.size:
            raise NotRead(f"not read: {len(raw):,} bytes, and {bounds.size:,} is the limit")
        formats.chosen(raw, name, kind)
        plain = name.encode("utf-8", "replace").decode()[-200:]
        return _page(await self._said(Asked(plain, kind, len(raw)), raw))

    async def cut(self, text: str) -> tuple[Chunk, ...]:
        """The chunks of a text that was read before, as texts are cut now. Raises NotRead."""
        raw = text.encode("utf-8", "replace")
        return _page(await self._said(Asked("", "", len(raw), "text"), raw)).chunks

    async def items(self, raw: bytes) -> list[Item]:
        """What is in a feed. Raises NotRead."""
        return (await self._said(Asked("", "", len(raw), "feed"), raw)).items

    async def _said(self, asked: Asked, raw: bytes) -> Said:
        bounds = self.bounds
        async with self._turn:
            process = self._idle.pop() if self._idle else _Process(bounds)
            try:
                async with asyncio.timeout(bounds.seconds):
                    said = await process.read(asked, raw)
            except TimeoutError:
                raise NotRead(f"not read: it took longer than {bounds.seconds:g} s") from None
            finally:
                if process.idle and process.count < DOCUMENTS:
                    self._idle.append(process)
                else:
                    await process.kill()
        if said.refused:
            raise (NoDocument if said.meant else NotRead)(said.refused)
        return said

    async def close(self) -> None:
        while self._idle:
            await self._idle.pop().kill()


class _Process:
    """idle: it has answered all that it was asked. count: documents that it has read."""

    def __init__(self, bounds: Bounds) -> None:
        self.idle = True
        self.count = 0
        self._bounds = bounds
        self._child: asyncio.subprocess.Process | None = None

    async def read(self, asked: Asked, raw: bytes) -> Said:
        """Raises NotRead where the process dies of it."""
        self.idle = False
        child = self._child = self._child or await self._start()
        assert child.stdin is not None
        question = msgspec.msgpack.encode(asked)
        try:
            child.stdin.writelines((len(question).to_bytes(4), question, raw))
            answer, _ = await asyncio.gather(self._answer(child), _drained(child.stdin))
        except (asyncio.IncompleteReadError, OSError):
            raise NotRead(f"not read: it broke its reader (exit {await child.wait()})") from None
        self.idle = True
        self.count += 1
        return msgspec.msgpack.decode(answer, type=Said)

    async def kill(self) -> None:
        child, self._child = self._child, None
        if child is None:
            return
        with contextlib.suppress(ProcessLookupError):
            child.kill()
        await child.wait()
        child._transport.close()  # type: ignore[attr-defined]  # noqa: SLF001 - else its pipes are closed by the collector

    async def _start(self) -> asyncio.subprocess.Process:
        bounds = self._bounds
        return await asyncio.create_subprocess_exec(
            sys.executable,
            *("-P", "-m", "tidewire.retrieval.reading.child"),
            *(str(bounds.characters), str(bounds.memory), str(bounds.seconds)),
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.DEVNULL,
            env={name: os.environ[name] for name in ("PYTHONPATH", "SYSTEMROOT", "LANG") if name in os.environ},
        )

    async def _answer(self, child: asyncio.subprocess.Process) -> bytes:
        assert child.stdout is not None
        size = int.from_bytes(await child.stdout.readexactly(4))
        if (
            size > 12 * self._bounds.characters + MARGIN
        ):  # text and chunks: each character is four bytes at most, and stands twice
            raise NotRead("not read: its text has no end")
        return await child.stdout.readexactly(size)


def _page(said: Said) -> Page:
    assert said.page is not None
    return said.page


async def _drained(stdin: asyncio.StreamWriter) -> None:
    """The process may have died of the first bytes; what it answered says so."""
    with contextlib.suppress(BrokenPipeError, ConnectionResetError):
        await stdin.drain()
