"""What an MCP server writes to its standard output, line by line, without input or output: bounded, whatever it writes."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Final

import msgspec

ENDS: Final = 200  # bytes kept of each end of a line that is too long: the number of the request stands in one of them
NONSENSE: Final = 100  # lines that are no JSON-RPC before the server is given up; a banner or a print() is forgiven
_FIRST: Final = re.compile(rb'\s*\{\s*(?:"jsonrpc"\s*:\s*"2\.0"\s*,\s*)?"id"\s*:\s*(\d{1,18})\s*,')
_LAST: Final = re.compile(rb'"id"\s*:\s*(\d{1,18})\s*(?:,\s*"jsonrpc"\s*:\s*"2\.0"\s*)?\}\s*\Z')


class TooLong(msgspec.Struct, frozen=True):
    """A line over the limit, of which only the ends were kept. request: the number of the request it answers, where it can be told."""

    size: int
    request: int | None


class Lines:
    """feed(bytes) gives the lines that these bytes complete, without their ends. limit: bytes of one line."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._pieces: list[bytes] = []
        self._size = 0
        self._first = self._last = b""

    def feed(self, data: bytes) -> list[bytes | TooLong]:
        *lines, rest = data.split(b"\n")
        out: list[bytes | TooLong] = []
        for line in lines:
            self._take(line)
            if (whole := self._end()) is not None:
                out.append(whole)
        self._take(rest)
        return out

    def _take(self, piece: bytes) -> None:
        if not piece:
            return
        self._size += len(piece)
        if self._size <= self._limit:
            self._pieces.append(piece)
            return
        if self._pieces:
            held = b"".join(self._pieces)
            self._pieces.clear()
            self._first, self._last = held[:ENDS], held[-ENDS:]
        if len(self._first) < ENDS:
            self._first += piece[: ENDS - len(self._first)]
        self._last = (self._last + piece[-ENDS:])[-ENDS:]

    def _end(self) -> bytes | TooLong | None:
        size, self._size = self._size, 0
        if size > self._limit:
            found = _FIRST.match(self._first) or _LAST.search(self._last)
            self._first = self._last = b""
            return TooLong(size, int(found[1]) if found else None)
        line = b"".join(self._pieces).strip()
        self._pieces.clear()
        return line or None


class Bucket:
    """So many a second, and no more at once. clock: seconds."""

    def __init__(self, a_second: float, clock: Callable[[], float]) -> None:
        self._rate = a_second
        self._clock = clock
        self._left = a_second
        self._then = clock()

    def take(self) -> bool:
        now = self._clock()
        self._left = min(self._rate, self._left + (now - self._then) * self._rate)
        self._then = now
        if self._left < 1:
            return False
        self._left -= 1
        return True
