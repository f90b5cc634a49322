"""A host that is spoken to over HTTP/1.1: connecting, asking, keeping connections. Cancelling a call closes its connection.

Rule: `stream` and `fetch` abort their connection before any exception leaves them, cancellation included, in every phase.
"""

from __future__ import annotations

import asyncio
import math
import os
import socket
import ssl
import time
from collections.abc import Mapping, Sequence
from typing import Final

import tidewire
from tidewire.core.errors import Overloaded, SettingsError, TidewireError, TimedOut, UpstreamError
from tidewire.core.ports import Decoder, Sink
from tidewire.providers.address import Address, proxy_for, tls_context
from tidewire.providers.answers import Streamed, Timeouts, Whole, out_of_time
from tidewire.providers.connection import Connection, Stale
from tidewire.providers.pool import Pool
from tidewire.providers.tunnel import Tunnel

__all__ = ["Host", "Timeouts"]

FETCH_LIMIT: Final = 4 * 1024 * 1024  # bytes
_AGENT: Final = f"tidewire/{tidewire.__version__}"


class Host:
    """One host and the connections to it. Belongs to the event loop that first uses it."""

    def __init__(
        self,
        url: str,
        *,
        headers: Mapping[str, str] | None = None,
        secrets: Sequence[str] = (),
        timeouts: Timeouts = Timeouts(),  # noqa: B008 - frozen
        connections: int = 2000,
        idle_connections: int = 64,
        idle_seconds: float = 30.0,
        tls: ssl.SSLContext | None = None,
        ca_file: str | None = None,
        verify: bool = True,
        proxy: str | None = None,
        environ: Mapping[str, str] | None = None,
    ) -> None:
        """Of `headers`, all go with every request. secrets: values masked in what errors quote of the host.

        connections: how many may be in use at once; above it, Overloaded. idle_connections, idle_seconds: how many are kept
        for reuse, and for how long. proxy: a URL, "" for none, None to follow `environ` (the process's own by default).
        Raises SettingsError for a URL, header, proxy or ca_file that cannot be used.
        """
        self.address = Address.parse(url)
        self.timeouts = timeouts
        self.clock = time.monotonic  # for what is measured; the loop's own, for deadlines, may count whole milliseconds
        self.proxy = proxy_for(self.address, proxy, os.environ if environ is None else environ)
        self._tls = (tls or tls_context(ca_file, verify=verify)) if self.address.scheme == "https" else None
        self._fixed = _lines({"Host": self.address.authority, "User-Agent": _AGENT, "Accept-Encoding": "identity"})
        if self.address.basic is not None:
            self._fixed += _lines({"Authorization": self.address.basic})
        if self.proxy is not None and self.proxy.basic is not None and self._tls is None:
            self._fixed += _lines({"Proxy-Authorization": self.proxy.basic})
        self._fixed += _lines(headers or {})
        self._secrets = [s for s in secrets if s]
        self._heads: dict[tuple[str, str, str], bytes] = {}
        self._limit = connections
        self._in_use = 0
        self._pool = Pool(idle_connections, idle_seconds)

    async def stream(
        self,
        method: str,
        path: str,
        body: bytes | None,
        decoder: Decoder,
        sink: Sink,
        *,
        headers: Mapping[str, str] | None = None,
        began: float | None = None,
        deadline: float | None = None,
    ) -> None:
        """Feed a streamed answer to the sink as it comes; returns once decoder.end()'s events were fed.

        began: the time of `clock` that Timing spans count from; now by default. deadline: until when its first word is waited for, on that
        clock, where no other limit is over before. Raises UpstreamError or TimedOut.
        """
        loop = asyncio.get_running_loop()
        request = self._request(method, path, body, headers, streamed=True)
        origin = self.clock() if began is None else began
        fresh = False
        while True:
            start = self.clock()
            connection = await self._connection(loop, fresh=fresh, deadline=deadline)
            try:
                answer = Streamed(
                    connection,
                    decoder,
                    sink,
                    self.timeouts,
                    loop,
                    clock=self.clock,
                    began=origin,
                    connected=(start, self.clock()),
                    deadline=deadline,
                    secrets=self._secrets,
                )
                connection.ask(request, answer)
                await answer.finish()
            except Stale:
                connection.abort()
                fresh = True
                continue
            except BaseException:
                connection.abort()
                raise
            finally:
                self._in_use -= 1
            self._pool.put(connection, loop)
            return

    async def fetch(
        self,
        method: str,
        path: str,
        body: bytes | None = None,
        *,
        headers: Mapping[str, str] | None = None,
        deadline: float = 5.0,
        limit: int = FETCH_LIMIT,
    ) -> tuple[int, dict[str, str], bytes]:
        """A small answer whole: status, headers (names in lower case), body. deadline: seconds for all of it."""
        loop = asyncio.get_running_loop()
        request = self._request(method, path, body, headers, streamed=False)
        try:
            async with asyncio.timeout(deadline):
                return await self._fetch(request, limit, loop)
        except TimeoutError:
            raise TimedOut(f"{self.address} did not answer within {deadline:g} s", code="upstream_timeout") from None

    async def _fetch(
        self, request: bytes, limit: int, loop: asyncio.AbstractEventLoop
    ) -> tuple[int, dict[str, str], bytes]:
        fresh = False
        while True:
            connection = await self._connection(loop, fresh=fresh)
            try:
                answer = Whole(self.address, limit, loop)
                connection.ask(request, answer)
                result = await answer.finish()
            except Stale:
                connection.abort()
                fresh = True
                continue
            except BaseException:
                connection.abort()
                raise
            finally:
                self._in_use -= 1
            self._pool.put(connection, loop)
            return result

    @property
    def in_use(self) -> int:
        """Connections that carry a call now."""
        return self._in_use

    @property
    def kept(self) -> int:
        """Connections kept for the next call."""
        return len(self._pool)

    async def warm(self) -> float | None:
        """Open a connection and keep it, where none is kept; the seconds that it took. Raises UpstreamError or TimedOut."""
        if self.kept:
            return None
        loop = asyncio.get_running_loop()
        began = self.clock()
        connection = await self._connection(loop, fresh=True)
        self._in_use -= 1
        connection.asked, connection.reusable = (
            1,
            True,
        )  # as one that has answered: if it has gone, the request takes another
        self._pool.put(connection, loop)
        return self.clock() - began

    async def close(self) -> None:
        """Let go of the kept connections; calls under way go on."""
        self._pool.close()

    # Connecting

    async def _connection(
        self, loop: asyncio.AbstractEventLoop, *, fresh: bool, deadline: float | None = None
    ) -> Connection:
        """A kept or a new connection, counted as in use."""
        if self._in_use >= self._limit:
            raise Overloaded(
                f"{self.address} has {self._in_use} of {self._limit} connections in use; try again soon, or raise connections",
                code="upstream_connections",
                retry_after=1.0,
            )
        if not fresh and (kept := self._pool.take(loop.time())) is not None:
            self._in_use += 1
            return kept
        self._in_use += 1
        try:
            return await self._connect(loop, deadline)
        except BaseException:
            self._in_use -= 1
            raise

    async def _connect(self, loop: asyncio.AbstractEventLoop, deadline: float | None) -> Connection:
        left = math.inf if deadline is None else deadline - self.clock()
        where = f"{self.address}" if self.proxy is None else f"{self.address} through the proxy {self.proxy}"
        connection = Connection(self.address)
        try:
            async with asyncio.timeout(min(self.timeouts.connect, left)):
                await self._dial(connection, loop)
        except TimeoutError:
            connection.abort()
            if left < self.timeouts.connect:
                raise out_of_time(self.address) from None
            raise TimedOut(
                f"no connection to {where} within {self.timeouts.connect:g} s; is the host up? connect_s of this host sets the limit",
                code="upstream_connect_timeout",
            ) from None
        except ssl.SSLError as error:
            connection.abort()
            raise _tls_error(where, error) from None
        except OSError as error:
            connection.abort()
            raise UpstreamError(
                f"no connection to {where}: {_why(error)}; is the host up, and its address right?",
                code="upstream_unreachable",
            ) from None
        except BaseException:
            connection.abort()
            raise
        return connection

    async def _dial(self, connection: Connection, loop: asyncio.AbstractEventLoop) -> None:
        to = self.address
        if self._tls is None:
            first = self.proxy or to
            await loop.create_connection(lambda: connection, first.host, first.port)
        elif self.proxy is None:
            await loop.create_connection(lambda: connection, to.host, to.port, ssl=self._tls, server_hostname=to.host)
        else:
            tunnel = Tunnel(to, self.proxy, loop)
            try:
                await loop.create_connection(lambda: tunnel, self.proxy.host, self.proxy.port)
                await tunnel.opened
                assert tunnel.transport is not None
                tls = await loop.start_tls(tunnel.transport, connection, self._tls, server_hostname=to.host)
            except BaseException:
                tunnel.abort()
                raise
            if tls is None:
                raise UpstreamError(f"{self.proxy} closed the tunnel to {to}", code="upstream_unreachable")
            connection.connection_made(tls)

    # Asking

    def _request(
        self, method: str, path: str, body: bytes | None, headers: Mapping[str, str] | None, *, streamed: bool
    ) -> bytes:
        """Head and body, for one write. The head without its length is encoded once per path."""
        accept = "text/event-stream" if streamed else "application/json"
        if headers and "Accept" in headers:  # a stream of another kind
            headers = dict(headers)
            accept = headers.pop("Accept")
        key = (method, path, accept)
        head = self._heads.get(key)
        if head is None:
            if len(self._heads) >= 64:
                self._heads.clear()
            head = self._heads[key] = self._head(method, path, accept)
        if headers:
            head += _lines(headers)
        if body is None:
            return head + b"\r\n"
        if not headers or "Content-Type" not in headers:
            head += b"Content-Type: application/json\r\n"
        return b"%sContent-Length: %d\r\n\r\n%s" % (head, len(body), body)

    def _head(self, method: str, path: str, accept: str) -> bytes:
        target = self.address.target(path)
        if not target.isascii() or any(c <= " " for c in target):
            raise SettingsError(
                f"the path {target!r} cannot be put into a request; percent-encode it", param="base_url"
            )
        if self.proxy is not None and self._tls is None:
            target = f"http://{self.address.authority}{target}"
        return f"{method} {target} HTTP/1.1\r\n".encode() + _lines({"Accept": accept}) + self._fixed


def _lines(headers: Mapping[str, str]) -> bytes:
    for name, value in headers.items():
        if not name or any(c in "\r\n\0" for c in name + value) or not (name + value).isascii():
            raise SettingsError(f"the header {name!r} holds characters that a header may not", param="headers")
    return "".join(f"{name}: {value}\r\n" for name, value in headers.items()).encode("ascii")


def _why(error: OSError) -> str:
    if isinstance(error, socket.gaierror):
        return error.strerror or "its name is unknown"
    if error.errno is not None:
        return os.strerror(error.errno)
    return "every address of it refused"  # what asyncio says of several addresses has no number


def _tls_error(where: str, error: ssl.SSLError) -> TidewireError:
    if isinstance(error, ssl.SSLCertVerificationError):
        return _final(
            UpstreamError(
                f"the certificate of {where} is not trusted: {error.verify_message}; name its authority in ca_file",
                code="upstream_certificate",
            )
        )
    return UpstreamError(
        f"no TLS with {where}: {error.reason or 'the handshake failed'}; is base_url's scheme right?",
        code="upstream_tls",
    )


def _final(error: UpstreamError) -> UpstreamError:
    error.retryable = False
    return error
