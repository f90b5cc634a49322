"""Reads any document within bounds: small text on a thread, what is large or packed in a process that can be killed."""

from __future__ import annotations

import asyncio
import contextlib
import os
import sys
from typing import Final

import msgspec

from tidewire.retrieval.reading import formats
from tidewire.retrieval.reading.child import Said
from tidewire.retrieval.reading.page import NotRead, Page

HERE: Final = 1 << 20  # bytes of text that are read without a process of their own
MARGIN: Final = 1 << 20  # bytes of JSON around a document's characters


class Bounds(msgspec.Struct, frozen=True):
    """What one document may take. size: bytes of it. characters: of its text. memory: bytes. seconds: on the clock, and of a processor."""

    size: int = 32 << 20
    characters: int = formats.MOST
    memory: int = 1 << 30
    seconds: float = 30.0


class Reader:
    """at_once: processes that read at the same time."""

    def __init__(self, bounds: Bounds | None = None, at_once: int = 2) -> None:
        self.bounds = bounds or Bounds()
        self._free = asyncio.Semaphore(at_once)

    async def read(self, raw: bytes, name: str, kind: str = "") -> Page:
        """kind: its media type, where somebody says it. Raises NotRead, whatever the document does."""
        if len(raw) > self.bounds.size:
            raise NotRead(f"not read: {len(raw):,} bytes, and {self.bounds.size:,} is the limit")
        form = formats.chosen(raw, name, kind)
        if form.packed is None and len(raw) <= HERE:
            try:
                page = await asyncio.to_thread(formats.read, raw, name, kind, self.bounds.characters)
            except (ValueError, RecursionError) as error:
                raise NotRead(f"not read: {type(error).__name__} while its format was read") from error
        else:
            async with self._free:
                page = await self._apart(raw, name, form.kinds[0])
        return page

    async def _apart(self, raw: bytes, name: str, kind: str) -> Page:
        bounds = self.bounds
        plain = name.encode("utf-8", "replace").decode().replace("\0", "")[-200:] or "document"
        child = await asyncio.create_subprocess_exec(
            sys.executable,
            *("-P", "-m", "tidewire.retrieval.reading.child", plain, kind),
            *(str(bounds.characters), str(bounds.memory), str(max(1, round(bounds.seconds)))),
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.DEVNULL,
            env={name: os.environ[name] for name in ("PYTHONPATH", "SYSTEMROOT", "LANG") if name in os.environ},
        )
        try:
            async with asyncio.timeout(bounds.seconds):
                answer, _ = await asyncio.gather(self._answer(child), _feed(child, raw))
                code = await child.wait()
        except TimeoutError:
            raise NotRead(f"not read: it took longer than {bounds.seconds:g} s") from None
        finally:
            if child.returncode is None:
                child.kill()
                await child.wait()
        try:
            said = msgspec.json.decode(answer, type=Said)
        except msgspec.DecodeError:
            raise NotRead(f"not read: it broke its reader (exit {code})") from None
        if said.page is None:
            raise NotRead(said.refused)
        return said.page

    async def _answer(self, child: asyncio.subprocess.Process) -> bytes:
        most = 6 * self.bounds.characters + MARGIN  # a character is 6 bytes of JSON at most
        out = bytearray()
        assert child.stdout is not None
        while piece := await child.stdout.read(1 << 20):
            out += piece
            if len(out) > most:
                raise NotRead("not read: its text has no end")
        return bytes(out)


async def _feed(child: asyncio.subprocess.Process, raw: bytes) -> None:
    """It may have died of the first bytes; what it answered says so."""
    assert child.stdin is not None
    with contextlib.suppress(BrokenPipeError, ConnectionResetError):
        child.stdin.write(raw)
        await child.stdin.drain()
        child.stdin.close()
        await child.stdin.wait_closed()
