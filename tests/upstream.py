"""A scripted HTTP/1.1 host on 127.0.0.1 for tests: it says what a script says, and notes when each client went away.

    async def script(call: Call) -> None:          # runs once per request, in the server's own task
        await asyncio.sleep(0.01)                   # before the headers
        call.head(200)                              # status line and headers; chunked unless told otherwise
        call.chunk(b"data: {}\\n\\n")               # one HTTP chunk (or raw bytes where not chunked)
        await call.stall()                          # until the client goes away
        call.end()                                  # the last chunk; the connection is kept
        call.cut()                                  # or: reset the connection
        call.raw(b"...")                            # or: any bytes at all

    async with Upstream(script) as host:
        host.url                                    # "http://127.0.0.1:<port>"
        host.calls[0].path, .headers, .body, .json  # what was asked, in order
        await host.calls[0].gone.wait()             # set when that client's connection closed
        await host.asked(2)                         # until a second request has arrived
        host.connections, host.open                 # how many were ever made; how many are open now

`Upstream(first, second)` runs a script per request, the last one for all further ones. Ready-made scripts: `says(*texts)`,
`streams(*pieces)`, `refuses(status, body)`, `silent`, `stall_after_headers`, `stall_after_a_token`, `Step()`, `Halves()`. `tls=` takes a server-side ssl.SSLContext.
`unaccepted()` is a port on which connecting never ends. Works in virtual time too (async_solipsism), TLS excepted.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import socket
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any, Self

Script = Callable[["Call"], Awaitable[None]]


class Call:
    """One request, and the means to answer it."""

    def __init__(
        self, transport: asyncio.Transport, method: str, path: str, headers: dict[str, str], body: bytes
    ) -> None:
        self.method = method
        self.path = path
        self.headers = headers
        self.body = body
        self.gone = asyncio.Event()
        self.ended = False
        self._transport = transport
        self._chunked = True

    @property
    def json(self) -> Any:
        return json.loads(self.body)

    def head(self, status: int = 200, *, chunked: bool = True, length: int | None = None, **headers: str) -> None:
        """Keyword names are header names with _ for -."""
        self._chunked = chunked and length is None
        lines = {"content-type": "text/event-stream"} | {k.replace("_", "-"): v for k, v in headers.items()}
        if self._chunked:
            lines["transfer-encoding"] = "chunked"
        if length is not None:
            lines["content-length"] = str(length)
        text = "".join(f"{k}: {v}\r\n" for k, v in lines.items())
        self.raw(f"HTTP/1.1 {status} Whatever\r\n{text}\r\n".encode())

    def chunk(self, data: bytes) -> None:
        self.raw(b"%x\r\n%s\r\n" % (len(data), data) if self._chunked else data)

    def raw(self, data: bytes) -> None:
        if not self._transport.is_closing():
            self._transport.write(data)

    def end(self) -> None:
        self.ended = True
        if self._chunked:
            self.raw(b"0\r\n\r\n")

    def close(self) -> None:
        """A clean FIN."""
        self._transport.close()

    def cut(self) -> None:
        """A reset: what was written may be lost."""
        self._transport.abort()

    async def stall(self) -> None:
        await self.gone.wait()


class _Server(asyncio.Protocol):
    def __init__(self, host: Upstream) -> None:
        self._host = host
        self._buffer = b""
        self._call: Call | None = None
        self._task: asyncio.Task[None] | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport: Any = transport
        self._host.connections += 1
        self._host.open.add(transport)

    def data_received(self, data: bytes) -> None:
        self._buffer += data
        head, end, rest = self._buffer.partition(b"\r\n\r\n")
        if not end or (self._task is not None and not self._task.done()):
            return
        first, *lines = head.decode().split("\r\n")
        headers = {k.lower(): v.strip() for k, _, v in (line.partition(":") for line in lines)}
        length = int(headers.get("content-length", 0))
        if len(rest) < length:
            return
        self._buffer = rest[length:]
        method, path, _ = first.split(" ")
        self._call = Call(self._transport, method, path, headers, rest[:length])
        self._task = asyncio.get_running_loop().create_task(self._host._run(self._call))

    def connection_lost(self, exc: Exception | None) -> None:
        self._host.open.discard(self._transport)
        self._host._moved()
        if self._call is not None:
            self._call.gone.set()


class Upstream:
    def __init__(self, *scripts: Script, tls: ssl.SSLContext | None = None) -> None:
        self.calls: list[Call] = []
        self.connections = 0
        self.open: set[Any] = set()
        self.failed: list[BaseException] = []
        self._scripts = scripts
        self._tls = tls
        self._waiting: list[asyncio.Event] = []

    async def __aenter__(self) -> Self:
        loop = asyncio.get_running_loop()
        self._server = await loop.create_server(lambda: _Server(self), "127.0.0.1", 0, ssl=self._tls)
        self.port: int = self._server.sockets[0].getsockname()[1]
        self.url = f"{'https' if self._tls else 'http'}://127.0.0.1:{self.port}"
        return self

    async def __aexit__(self, *_: object) -> None:
        self._server.close()
        for transport in list(self.open):
            transport.abort()
        await self.until(lambda: not self.open)
        await asyncio.sleep(0)
        if self.failed:
            raise self.failed[0]

    async def asked(self, n: int = 1) -> None:
        await self.until(lambda: len(self.calls) >= n)

    async def until(self, true: Callable[[], bool]) -> None:
        """Wait for something about this server to become true."""
        while not true():
            event = asyncio.Event()
            self._waiting.append(event)
            await event.wait()

    def _moved(self) -> None:
        for event in self._waiting:
            event.set()
        self._waiting.clear()

    async def _run(self, call: Call) -> None:
        script = self._scripts[min(len(self.calls), len(self._scripts) - 1)]
        self.calls.append(call)
        self._moved()
        try:
            await script(call)
        except Exception as error:
            self.failed.append(error)
            call.cut()


def chat(text: str = "", *, finish: str | None = None, **more: Any) -> bytes:
    """One event of an OpenAI chat stream."""
    delta = {"content": text} if text else {}
    choice = {"index": 0, "delta": delta, "finish_reason": finish}
    body = {"id": "c1", "object": "chat.completion.chunk", "created": 1, "model": "m", "choices": [choice]} | more
    return b"data: " + json.dumps(body, ensure_ascii=False).encode() + b"\n\n"


DONE = b"data: [DONE]\n\n"


def says(*texts: str) -> Script:
    """A whole OpenAI chat stream, one chunk a text."""
    return streams(*(chat(text) for text in texts), chat(finish="stop"), DONE)


def streams(*pieces: bytes) -> Script:
    async def script(call: Call) -> None:
        call.head()
        for piece in pieces:
            call.chunk(piece)
            await asyncio.sleep(0)
        call.end()

    return script


def refuses(status: int, body: bytes | dict[str, Any] = b"", **headers: str) -> Script:
    async def script(call: Call) -> None:
        data = body if isinstance(body, bytes) else json.dumps(body).encode()
        kind = {} if isinstance(body, bytes) else {"content_type": "application/json"}
        call.head(status, length=len(data), **(kind | headers))
        call.raw(data)

    return script


async def silent(call: Call) -> None:
    """Takes the request and says nothing."""
    await call.stall()


async def stall_after_headers(call: Call) -> None:
    call.head()
    await call.stall()


async def stall_after_a_token(call: Call) -> None:
    call.head()
    call.chunk(chat("one"))
    await call.stall()


class Step:
    """A script that says its next word, of three, each time that `go` is released."""

    def __init__(self) -> None:
        self.go = asyncio.Semaphore(0)
        self.calls: list[Call] = []

    async def __call__(self, call: Call) -> None:
        self.calls.append(call)
        call.head()
        n = 0
        while True:
            waiting = asyncio.ensure_future(self.go.acquire())
            leaving = asyncio.ensure_future(call.gone.wait())
            await asyncio.wait((waiting, leaving), return_when=asyncio.FIRST_COMPLETED)
            for task in (waiting, leaving):
                task.cancel()
            if call.gone.is_set():
                return
            n += 1
            if n > 3:
                break
            call.chunk(chat(f"word{n} "))
        call.chunk(chat(finish="stop") + DONE)
        call.end()


class Halves:
    """A script that says half of its 80 words, and the others once `go` is set, or another process asks for /go."""

    def __init__(self) -> None:
        self.go = asyncio.Event()

    async def __call__(self, call: Call) -> None:
        call.head()
        if call.path == "/go":
            self.go.set()
        else:
            for n in range(80):
                if n == 40:
                    await self.go.wait()
                call.chunk(chat(f"word{n} "))
            call.chunk(chat(finish="stop") + DONE)
        call.end()


@contextlib.asynccontextmanager
async def unaccepted() -> AsyncIterator[str]:
    """The URL of a port whose backlog is full: connecting to it hangs, as behind a firewall that drops."""
    listener = socket.socket()
    fillers = []
    try:
        listener.bind(("127.0.0.1", 0))
        listener.listen(0)
        for _ in range(4):
            filler = socket.socket()
            filler.setblocking(False)
            with contextlib.suppress(BlockingIOError):
                filler.connect(listener.getsockname())
            fillers.append(filler)
        yield f"http://127.0.0.1:{listener.getsockname()[1]}"
    finally:
        for one in (*fillers, listener):
            one.close()
