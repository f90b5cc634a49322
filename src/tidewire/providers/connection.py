"""One HTTP/1.1 connection to a host: an asyncio protocol around httptools. It knows bytes and framing, not answers.

This is the hot path: per read one parser call, and one call of the taker with everything the read held. No task, queue or
future per chunk.
"""

from __future__ import annotations

import asyncio
from typing import Any, Final, Protocol, cast

import httptools

from tidewire.core.errors import UpstreamError
from tidewire.providers.address import Address

MAX_HEADERS: Final = 64 * 1024  # bytes of names and values that a host may send before its body


class Stale(UpstreamError):
    """A kept connection that the host had closed before it took the request. Never leaves this room: it is tried again."""


class Taker(Protocol):
    """What receives an answer. None of these may raise."""

    def head(self, status: int, headers: dict[str, str]) -> None: ...

    def body(self, data: bytes, last: bool) -> None:  # noqa: FBT001 - called per read, positionally
        """All of the body that one read held; last: the answer is complete."""

    def broken(self, error: Exception) -> None:
        """Nothing more will come."""


class Connection(asyncio.Protocol):
    """`ask` sends one request and names the taker of its answer; `reusable` says whether another may follow."""

    __slots__ = (
        "_chunks",
        "_complete",
        "_headed",
        "_header_bytes",
        "_headers",
        "_open_ended",
        "_parser",
        "_taker",
        "address",
        "asked",
        "idle_since",
        "keep_seconds",
        "on_body",
        "reusable",
        "transport",
    )

    def __init__(self, address: Address) -> None:
        self.address = address
        self.transport: asyncio.Transport | None = None
        self.asked = 0
        self.reusable = False
        self.idle_since = 0.0
        self.keep_seconds: float | None = None
        self._taker: Taker | None = None
        self._parser: Any = None
        self._headers: dict[str, str] = {}
        self._header_bytes = 0
        self._headed = self._complete = self._open_ended = False
        self._chunks: list[bytes] = []
        self.on_body = self._chunks.append  # httptools calls it for each chunk: no Python frame of ours in between

    # asyncio.Protocol

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        # asyncio and uvloop both set TCP_NODELAY on every TCP transport. uvloop's are no subclass of asyncio.Transport.
        self.transport = cast(asyncio.Transport, transport)

    def data_received(self, data: bytes) -> None:
        taker = self._taker
        if taker is None:  # a host that speaks unasked cannot be trusted with another request
            self.abort()
            return
        error: Exception | None = None
        try:
            self._parser.feed_data(data)
        except (httptools.HttpParserError, httptools.HttpParserUpgrade) as problem:
            error = self._nonsense(problem)
        chunks = self._chunks
        if chunks:
            body = chunks[0] if len(chunks) == 1 else b"".join(chunks)
            chunks.clear()
            taker.body(body, self._complete)
        elif self._complete:
            taker.body(b"", True)
        if self._complete:
            self.reusable = self.reusable and error is None
            self._release()
        elif error is not None:
            self.abort()
            taker.broken(error)

    def connection_lost(self, exc: Exception | None) -> None:
        self.reusable = False
        taker = self._taker
        self._release()
        if taker is None:
            return
        if self._headed and self._open_ended and exc is None:
            taker.body(b"", True)  # an answer without a length ends with its connection
        else:
            taker.broken(self._cut(exc))

    # what httptools calls

    def on_header(self, name: bytes, value: bytes) -> None:
        self._header_bytes += len(name) + len(value)
        if self._header_bytes > MAX_HEADERS:
            raise ValueError("headers too large")
        self._headers[name.decode("latin-1").lower()] = value.decode("latin-1")

    def on_headers_complete(self) -> None:
        status = self._parser.get_status_code()
        if 100 <= status < 200:
            return
        self._headed = True
        headers = self._headers
        self._open_ended = "content-length" not in headers and "chunked" not in headers.get("transfer-encoding", "")
        if status in (204, 304):
            self._open_ended = False
        if self._taker is not None:
            self._taker.head(status, headers)

    def on_message_complete(self) -> None:
        if not self._headed:  # 100 Continue and its like: the answer itself follows
            self._headers = {}
            return
        self._complete = True
        self.reusable = self._parser.should_keep_alive()
        self.keep_seconds = _kept(self._headers.get("keep-alive", ""))

    # what the host driver calls

    def ask(self, request: bytes, taker: Taker) -> None:
        """Send a whole request in one write. Raises Stale where the connection has gone meanwhile."""
        transport = self.transport
        if transport is None or transport.is_closing():
            raise self._stale()
        self.asked += 1
        self.reusable = False
        self._taker = taker
        self._headers = {}
        self._header_bytes = 0
        self._headed = self._complete = self._open_ended = False
        self._parser = httptools.HttpResponseParser(self)
        transport.write(request)

    def pause(self) -> None:
        if self.transport is not None and not self.transport.is_closing():
            self.transport.pause_reading()

    def resume(self) -> None:
        if self.transport is not None and not self.transport.is_closing():
            self.transport.resume_reading()

    def abort(self) -> None:
        """Close at once, whatever is under way; nobody is told."""
        self.reusable = False
        self._release()
        if self.transport is not None:
            self.transport.abort()

    @property
    def idle(self) -> bool:
        """Whether it may carry another request: the last answer came whole, and the request went out whole."""
        transport = self.transport
        return (
            self.reusable
            and transport is not None
            and not transport.is_closing()
            and transport.get_write_buffer_size() == 0
        )

    def _release(self) -> None:
        self._taker = None
        self._parser = None  # the parser holds our methods: a cycle
        self._chunks.clear()

    def _stale(self) -> Stale:
        return Stale(f"{self.address} closed a kept connection", code="upstream_closed")

    def _cut(self, exc: Exception | None) -> UpstreamError:
        why = f" ({type(exc).__name__})" if exc is not None else ""
        if self._headed:
            return UpstreamError(
                f"{self.address} closed the connection{why} before its answer was complete", code="upstream_cut"
            )
        if self.asked > 1:
            return self._stale()
        return UpstreamError(
            f"{self.address} closed the connection{why} without an answer; is it a model server, and up?",
            code="upstream_closed",
        )

    def _nonsense(self, problem: Exception) -> UpstreamError:
        if self._header_bytes > MAX_HEADERS:
            what = f"headers of more than {MAX_HEADERS} bytes"
        elif isinstance(problem, httptools.HttpParserUpgrade):
            what = "an upgrade to another protocol that was not asked for"
        elif self._headed:
            what = "a body whose HTTP framing is broken"
        else:
            what = "bytes that are not HTTP/1.1; check the scheme (http or https) and the port of base_url"
        return UpstreamError(f"{self.address} sent {what}", code="upstream_not_http")


def _kept(header: str) -> float | None:
    """Seconds that "Keep-Alive: timeout=5, max=100" promises, or None."""
    for field in header.split(","):
        name, _, value = field.strip().partition("=")
        if name.lower() == "timeout" and value.isdigit():
            return float(value)
    return None
