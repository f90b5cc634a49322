"""Where connections wait while the server refuses: a request that begins an answer is turned away before HTTP is even parsed.

Half of what a refusal costs is the connection that is made ready for it. On the doorstep there is none: the bytes of a plain
request for an answer are looked at as they are, and whatever else comes is let in, with what it has said so far.
"""

from __future__ import annotations

import asyncio
import re
import time
from collections.abc import Callable
from typing import Any, Final

from tidewire.doors.connection import Connection, Refusal, refused

PLAIN: Final = re.compile(rb"POST (/[!-~]*) HTTP/1\.1\r\n")
LENGTH: Final = re.compile(rb"\r\ncontent-length: *(\d{1,9}) *(?=\r\n)", re.IGNORECASE)
# What makes a request more than a head and a body of known length, or what a browser must be told more about.
MORE: Final = re.compile(rb"\r\n(?:transfer-encoding|expect|upgrade|connection|origin):", re.IGNORECASE)


class Doorstep(asyncio.Protocol):
    """refuse: what a POST to this address is refused with, if it is. enter: makes the connection that serves it otherwise."""

    def __init__(
        self, refuse: Callable[[bytes], Refusal | None], enter: Callable[[], Connection], waiting: set[Doorstep]
    ) -> None:
        """waiting: all that are on a doorstep; this one is in it from its beginning to its end."""
        self._refuse = refuse
        self._enter = enter
        self._waiting = waiting

    def connection_made(self, transport: Any) -> None:
        self.transport = transport
        self._since = time.monotonic()
        self._waiting.add(self)

    def connection_lost(self, exc: Exception | None) -> None:
        self._waiting.discard(self)

    def data_received(self, data: bytes) -> None:
        refusal = self._refusal(data)
        if refusal is not None:
            self._since = time.monotonic()
            self.transport.write(refused(refusal, keep=True))
            return
        self._waiting.discard(self)
        inside = self._enter()
        self.transport.set_protocol(inside)
        inside.connection_made(self.transport)
        inside.data_received(data)

    def _refusal(self, data: bytes) -> Refusal | None:
        """Of a request that is here as a whole, and is plain."""
        line = PLAIN.match(data)
        end = data.find(b"\r\n\r\n")
        if line is None or end < 0:
            return None
        head = data[: end + 2]
        length = LENGTH.search(head)
        if length is None or int(length[1]) != len(data) - end - 4 or MORE.search(head):
            return None
        return self._refuse(line[1])

    def check(self, now: float, patience: float) -> None:
        """Called now and then: who has said nothing for so many seconds is not waited for."""
        if now - self._since > patience:
            self.transport.close()
