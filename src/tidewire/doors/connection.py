"""uvicorn's HTTP connection, with what it lacks: a response whose bytes go straight to the socket, deadlines, and size limits.

Every route is plain ASGI until its answer streams; then the route takes the connection's `Wire` and writes to the transport
itself, without a task, a queue or an ASGI message per token. Measured: docs/decisions/0002-server-and-driver.md.
"""

from __future__ import annotations

import asyncio
import re
import socket
import sys
import time
import weakref
from collections.abc import Callable, Sequence
from http import HTTPStatus
from typing import Any, Final

import msgspec
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol, RequestResponseCycle

REASONS: Final = {s.value: f"HTTP/1.1 {s.value} {s.phrase}\r\n".encode() for s in HTTPStatus}
REASONS[499] = b"HTTP/1.1 499 Client Closed Request\r\n"
EXTENSION: Final = "tidewire.connection"
SHED_BODY: Final = 1024 * 1024  # bytes of a refused request's body that are read, so that its connection can be kept
Refusal = tuple[int, list[tuple[str, str]], bytes]  # status, headers, body
PIPELINED: Final = 16  # requests that may wait behind one that streams, before the client is not read
ROUND_TRIP: Final = 68  # bytes in struct tcp_info (linux/tcp.h) before tcpi_rtt: 32 bits, microseconds
_H2C: Final = re.compile(rb"\r\nupgrade: *h2c *(?=\r\n)", re.IGNORECASE)


class Bounds(msgspec.Struct, frozen=True):
    """Limits of one connection. Seconds and bytes.

    connections: above it new ones are refused. write_buffer: what may wait in this process for a reader that does not read, before the log is not read for it.
    stall: how long a reader may take nothing at all before its connection is closed; it resumes.
    """

    connections: int = 8000
    header_bytes: int = 65536
    header_s: float = 10.0
    body_s: float = 30.0
    write_buffer: int = 65536
    stall_s: float = 30.0


class Connection(HttpToolsProtocol):
    """One client connection. What stands here is set by `configure` before the server starts.

    shed: given the address of a POST, what it is refused with before it costs anything; None: it goes its way.
    """

    bounds = Bounds()
    everybody: set[Connection]
    shed: Callable[[bytes], Refusal | None] | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        transport.set_write_buffer_limits(high=self.bounds.write_buffer)
        self.wire: Wire | None = None
        self.gone = False
        self._head = 0  # bytes of the head so far
        self._in_head = True
        self._in_body = False
        self._refusal: Refusal | None = None  # of the request whose body is being read
        self._passed = 0  # bytes of that body
        self._deadline = time.monotonic() + self.bounds.header_s
        self._clock = time.monotonic
        self.everybody.add(self)
        self.crowded = len(self.connections) > self.bounds.connections
        if self.crowded:
            self.app = _crowded

    def connection_lost(self, exc: Exception | None) -> None:
        self.everybody.discard(self)
        self.gone = True
        wire, self.wire = self.wire, None
        super().connection_lost(exc)
        if wire is not None:
            wire.lost()
        self.cycle = self.scope = None  # type: ignore[assignment]  # its scope holds this, and so would live on

    def data_received(self, data: bytes) -> None:
        if self._in_head:
            if b"pgrade:" in data:
                data = _H2C.sub(b"", data)  # an offer that may be passed over, but the parser would skip the body
            if not self._deadline:
                self._deadline = self._clock() + self.bounds.header_s
            self._head += len(data)
            if self._head > self.bounds.header_bytes and not self._ends_head(data):
                self.refuse(431, "header_too_large", f"the request's head is over {self.bounds.header_bytes} bytes")
                return
        super().data_received(data)

    def _ends_head(self, data: bytes) -> bool:
        """Whether the head ended within the limit, and a body brought the bytes over it."""
        over = self._head - len(data)
        end = data.find(b"\r\n\r\n")
        return end >= 0 and over + end <= self.bounds.header_bytes

    def on_message_begin(self) -> None:
        self._in_head = True
        super().on_message_begin()

    def on_headers_complete(self) -> None:
        self._in_head = False
        self._in_body = True
        self._head = 0
        self._deadline = self._clock() + self.bounds.body_s
        if (refusal := self._shedding()) is not None:
            self._refusal, self._passed = refusal, 0
            return
        super().on_headers_complete()
        if self.parser.should_upgrade() and self._should_upgrade():
            return
        # weak, for the cycle holds the scope: a request is freed when it is over, not when the collector looks
        self.scope["extensions"] = {EXTENSION: (self, weakref.ref(self.cycle))}  # type: ignore[dict-item]
        if self.wire is not None and len(self.pipeline) <= PIPELINED:
            self.flow.resume_reading()  # uvicorn pauses behind a waiting request: a client that leaves must be seen

    def on_body(self, body: bytes) -> None:
        if self._refusal is None:
            super().on_body(body)
            return
        self._passed += len(body)
        if self._passed > SHED_BODY:
            self._turn_away(keep=False)

    def on_message_complete(self) -> None:
        self._in_body = False
        self._deadline = 0.0
        if self._refusal is not None:
            self._turn_away(keep=self.parser.get_http_version() == "1.1" and self.parser.should_keep_alive())
        else:
            super().on_message_complete()

    def _shedding(self) -> Refusal | None:
        """Whether this request is refused here. Left to its route: what a browser must be told more about, or waits its turn."""
        if self.shed is None or self.parser.get_method() != b"POST" or self.expect_100_continue:
            return None
        if self.parser.should_upgrade() or (self.cycle is not None and not self.cycle.response_complete):
            return None
        if any(name == b"origin" for name, _ in self.headers):
            return None
        return self.shed(self.url)

    def _turn_away(self, *, keep: bool) -> None:
        assert self._refusal is not None
        refusal, self._refusal = self._refusal, None
        if self.transport.is_closing():
            return
        self.transport.write(refused(refusal, keep=keep))
        if not keep:
            self.transport.close()
        self.on_response_complete()

    def on_response_complete(self) -> None:
        self._in_head = True
        self._head = 0
        super().on_response_complete()

    def _should_upgrade(self) -> bool:
        return not self.crowded and super()._should_upgrade()

    def handle_websocket_upgrade(self) -> None:
        self.everybody.discard(self)  # another protocol has the transport from here on
        super().handle_websocket_upgrade()

    def pause_writing(self) -> None:
        super().pause_writing()
        if self.wire is not None:
            self.wire.blocked()

    def resume_writing(self) -> None:
        super().resume_writing()
        if self.wire is not None:
            self.wire.freed()

    def send_400_response(self, msg: str) -> None:
        self.refuse(400, "invalid_http", "the request is not valid HTTP/1.1")

    def refuse(self, status: int, code: str, message: str) -> None:
        """Answer a request that never became one, and close."""
        if self.transport.is_closing():
            return
        if self.cycle is not None and not self.cycle.response_complete and self.cycle.response_started:
            self.transport.abort()
            return
        body = _error(status, code, message)
        head = (
            b"%sserver: tidewire\r\ncontent-type: application/json\r\ncontent-length: %d\r\nconnection: close\r\n\r\n"
        )
        self.transport.write(head % (REASONS[status], len(body)) + body)
        self.transport.close()

    def check(self, now: float) -> None:
        """Called each second for every connection: one coarse sweep instead of a timer each."""
        wire = self.wire
        if wire is not None:
            wire.tick(now)
        elif self._deadline and now > self._deadline:
            if self._in_body:
                self.refuse(408, "slow_body", f"the body did not arrive within {self.bounds.body_s:g} s")
            elif self._in_head:
                self.refuse(408, "slow_header", f"the request's head did not arrive within {self.bounds.header_s:g} s")

    def on_header(self, name: bytes, value: bytes) -> None:
        if self._in_head:
            super().on_header(name, value)
        else:  # a trailer: nobody reads it, and it is bounded as a header is
            self._head += len(name) + len(value)
            if self._head > self.bounds.header_bytes:
                self.refuse(
                    431, "header_too_large", f"the request's trailers are over {self.bounds.header_bytes} bytes"
                )

    def take(self, cycle: RequestResponseCycle) -> Wire:
        """The response of a request, for its route to write."""
        wire = Wire(self, cycle)
        if not self.gone:
            self.wire = wire
            self.flow.resume_reading()  # a large body may have paused it: a client that leaves must be seen
        return wire


class Wire:
    """One response, written straight to the socket. Its three callbacks run on the event loop and must not raise."""

    __slots__ = (
        "_blocked_since",
        "_chunked",
        "_connection",
        "_cycle",
        "_transport",
        "clear",
        "on_free",
        "on_lost",
        "on_tick",
        "started",
    )

    def __init__(self, connection: Connection, cycle: RequestResponseCycle) -> None:
        self._connection = connection
        self._cycle = cycle
        self._transport = connection.transport
        self._chunked = True
        self._blocked_since = 0.0
        self.clear = not connection.flow.write_paused  # the client takes what is written
        self.started = False
        self.on_lost: Callable[[], None] = _nothing
        self.on_free: Callable[[], None] = _nothing
        self.on_tick: Callable[[float], None] = _nothing

    def head(self, status: int, headers: Sequence[tuple[str, str]], *, length: int | None = None) -> bytes:
        """The bytes of the head; write them with the first bytes of the body, in one call."""
        cycle = self._cycle
        self.started = cycle.response_started = True
        lines = [
            REASONS[status],
            b"server: tidewire\r\n",
            *(b"%s: %s\r\n" % (n.encode(), v.encode("latin-1")) for n, v in headers),
        ]
        self._chunked = length is None and cycle.scope["http_version"] == "1.1"
        if length is not None:
            lines.append(b"content-length: %d\r\n" % length)
        elif self._chunked:
            lines.append(b"transfer-encoding: chunked\r\n")
        else:
            cycle.keep_alive = False
        if not cycle.keep_alive:
            lines.append(b"connection: close\r\n")
        lines.append(b"\r\n")
        return b"".join(lines)

    def chunk(self, data: bytes) -> bytes:
        return b"%x\r\n%b\r\n" % (len(data), data) if self._chunked else data

    def begin(self, headers: Sequence[tuple[str, str]], data: bytes) -> None:
        """The head of a good answer and the first piece of its body, in one write."""
        self._transport.write(self.head(200, headers) + self.chunk(data))

    def answer(self, status: int, headers: Sequence[tuple[str, str]], body: bytes) -> None:
        """A whole response, whose length is known."""
        self.end(self.head(status, headers, length=len(body)) + body)

    def send(self, data: bytes) -> None:
        """A piece of the body, in a chunk of its own."""
        self._transport.write(b"%x\r\n%b\r\n" % (len(data), data) if self._chunked else data)

    def end(self, raw: bytes = b"") -> None:
        """Last bytes, and the end of the response: the connection goes back to serving requests."""
        connection, cycle = self._connection, self._cycle
        if self._chunked:
            raw += b"0\r\n\r\n"
        if raw:
            self._transport.write(raw)
        connection.wire = None
        self._forget()
        cycle.response_complete = True
        cycle.message_event.set()
        if not cycle.keep_alive:
            self._transport.close()
        connection.on_response_complete()

    def abort(self) -> None:
        """Break the connection: the client sees that the response is not whole, and may resume."""
        self._transport.abort()

    @property
    def way(self) -> float | None:
        """Seconds to the client: half of the round trip as the kernel has measured it. None where it does not tell (TCP_INFO is Linux's)."""
        line = self._transport.get_extra_info("socket")
        try:
            info = line.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, ROUND_TRIP + 4)
        except (AttributeError, OSError):
            return None
        return int.from_bytes(info[ROUND_TRIP:], sys.byteorder) / 2e6 if len(info) == ROUND_TRIP + 4 else None

    @property
    def gone(self) -> bool:
        """The client has left, perhaps before anybody listened for it."""
        return self._connection.gone

    def lost(self) -> None:
        self.clear = False
        self.on_lost()
        self._forget()

    def _forget(self) -> None:
        """Nobody listens any more. What listened holds this: they are freed now, not when the collector looks."""
        self.on_lost = self.on_free = self.on_tick = _nothing

    def blocked(self) -> None:
        self.clear = False
        self._blocked_since = time.monotonic()

    def freed(self) -> None:
        self.clear = True
        self._blocked_since = 0.0
        self.on_free()

    def tick(self, now: float) -> None:
        if self._blocked_since and now - self._blocked_since > self._connection.bounds.stall_s:
            self.abort()
        else:
            self.on_tick(now)


def refused(refusal: Refusal, *, keep: bool) -> bytes:
    """The whole response. keep: the connection stays open."""
    status, headers, body = refusal
    lines = [b"%s: %s\r\n" % (name.encode(), value.encode("latin-1")) for name, value in headers]
    closing = b"" if keep else b"connection: close\r\n"
    return b"%sserver: tidewire\r\n%scontent-length: %d\r\n%s\r\n%s" % (
        REASONS[status],
        b"".join(lines),
        len(body),
        closing,
        body,
    )


def configure(bounds: Bounds, shed: Callable[[bytes], Refusal | None] | None = None) -> type[Connection]:
    """A connection class with these bounds, and its own register of open connections."""
    given = {"bounds": bounds, "everybody": set(), "shed": shed and staticmethod(shed)}
    return type("BoundConnection", (Connection,), given)


def take(scope: Any) -> Wire:
    """The response of an ASGI request, to stream on. Only servers started by Tidewire have one."""
    connection, cycle = scope["extensions"][EXTENSION]
    wire: Wire = connection.take(cycle())
    return wire


def _error(status: int, code: str, message: str) -> bytes:
    """A refusal before any route, and so any dialect, is known: clients of all of them find its message."""
    error = {"code": code, "message": message, "status": status, "type": "invalid_request_error", "param": None}
    return msgspec.json.encode({"error": error})


async def _crowded(scope: Any, receive: Any, send: Any) -> None:
    """What answers on a connection above the limit."""
    body = _error(
        503, "overloaded", "this server has as many connections as it may (limits.connections); try again soon"
    )
    headers = [
        (b"content-type", b"application/json"),
        (b"content-length", b"%d" % len(body)),
        (b"retry-after", b"1"),
        (b"connection", b"close"),
    ]
    await send({"type": "http.response.start", "status": 503, "headers": headers})
    await send({"type": "http.response.body", "body": body})


def _nothing(now: float = 0.0) -> None: ...
