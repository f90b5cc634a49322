"""The way through an HTTP proxy to a TLS host: CONNECT, RFC 9110 section 9.3.6."""

from __future__ import annotations

import asyncio
from typing import Final, cast

from tidewire.core.errors import UpstreamError
from tidewire.providers.address import Address
from tidewire.providers.refusals import excerpt

MAX_HEAD: Final = 16 * 1024  # bytes of a proxy's answer


class Tunnel(asyncio.Protocol):
    """Asks a proxy for a tunnel; `opened` is done once the transport may be given to TLS, or carries why not."""

    def __init__(self, to: Address, proxy: Address, loop: asyncio.AbstractEventLoop) -> None:
        self.opened: asyncio.Future[None] = loop.create_future()
        self.transport: asyncio.Transport | None = None
        self._to = to
        self._proxy = proxy
        self._head = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = transport = cast(asyncio.Transport, transport)
        basic = f"Proxy-Authorization: {self._proxy.basic}\r\n" if self._proxy.basic else ""
        transport.write(f"CONNECT {self._to} HTTP/1.1\r\nHost: {self._to}\r\n{basic}\r\n".encode())

    def data_received(self, data: bytes) -> None:
        self._head += data
        head, end, rest = self._head.partition(b"\r\n\r\n")
        if not end:
            if len(self._head) > MAX_HEAD:
                self._refuse("sent too long an answer")
            return
        status = head.split(b"\r\n", 1)[0].decode("latin-1")
        version, _, code = status.partition(" ")
        if version.startswith("HTTP/1.") and code[:1] == "2" and not rest:
            if not self.opened.done():
                self.opened.set_result(None)
        else:
            self._refuse(f'answered "{excerpt(status)}"')

    def connection_lost(self, exc: Exception | None) -> None:
        self._refuse("closed the connection")

    def abort(self) -> None:
        if not self.opened.cancel() and not self.opened.cancelled():
            self.opened.exception()  # seen: nobody may be waiting for it any more
        if self.transport is not None:
            self.transport.abort()

    def _refuse(self, what: str) -> None:
        if not self.opened.done():
            self.opened.set_exception(
                UpstreamError(
                    f"the proxy {self._proxy} {what} when asked for a tunnel to {self._to}; check the proxy setting",
                    code="upstream_proxy",
                )
            )
