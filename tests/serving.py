"""A whole Tidewire in the test's own event loop, and a client of raw bytes to talk to it.

async with serving(folder, hosts={"far": upstream.url}) as tidewire:    # model "far/m" is answered by that host
    peer = await tidewire.peer()                                        # a connection
    peer.post("/v1/streams", {"model": "far/m", "input": "Hello"})
    status, headers = await peer.head()
    await peer.until(b"Hello")                                          # the body, as far as it has come
    peer.reset()                                                        # or close(): how the client leaves
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import socket
import struct
from collections.abc import AsyncIterator
from typing import Any

from tidewire.routing.cascade_plan import CascadePlan
from tidewire.routing.table import Plan
from tidewire.server.app import Server
from tidewire.server.assemble import House, house
from tidewire.server.cache_settings import Cache
from tidewire.server.embedding_settings import Embedding
from tidewire.server.ingest_settings import Ingest, SourceSettings
from tidewire.server.plan_settings import UsePlan
from tidewire.server.rerank_settings import Rerank
from tidewire.server.session_settings import Sessions
from tidewire.server.settings import Context, Limits, Log, Models, Provider, Retrieval, Settings, Streams
from tidewire.server.settings import Server as ServerSettings
from tidewire.server.tools_settings import Tools


class Served:
    def __init__(self, house: House, server: Server, port: int) -> None:
        self.house = house
        self.server = server
        self.port = port
        self.url = f"http://127.0.0.1:{port}"
        self._peers: list[Peer] = []

    async def peer(self, *, buffer: int = 0) -> Peer:
        """Closed with the server at the latest, so that a test that fails leaves none behind."""
        self._peers.append(peer := await Peer.connect(self.port, buffer=buffer))
        return peer

    async def ask(self, method: str, path: str, body: Any = None, **headers: str) -> tuple[int, dict[str, str], bytes]:
        """One whole exchange on a connection of its own."""
        peer = await Peer.connect(self.port)
        try:
            async with asyncio.timeout(60):
                peer.ask(method, path, body, **headers)
                status, got = await peer.head()
                return status, got, await peer.body()
        finally:
            await peer.close()

    @property
    def readers(self) -> int:
        """Cursors that watch logs now."""
        return sum(len(shelf._all()) for shelf in self.house.desk._log._shelves.values())

    @property
    def connections(self) -> set[Any]:
        """HTTP connections of clients."""
        return self.server.connection_class.everybody


@contextlib.asynccontextmanager
async def serving(
    folder: Any,
    *,
    hosts: dict[str, str] | None = None,
    default: str = "simulated",
    providers: dict[str, Provider] | None = None,
    log: Log | None = None,
    limits: Limits | None = None,
    streams: Streams | None = None,
    server: ServerSettings | None = None,
    routes: dict[str, Plan] | None = None,
    sources: dict[str, SourceSettings] | None = None,
    cascades: dict[str, CascadePlan] | None = None,
    cache: Cache | None = None,
    sessions: Sessions | None = None,
    context: Context | None = None,
    embedding: Embedding | None = None,
    retrieval: Retrieval | None = None,
    tools: dict[str, Tools] | None = None,
    plans: dict[str, UsePlan] | None = None,
    rerank: Rerank | None = None,
    ingest: Ingest | None = None,
) -> AsyncIterator[Served]:
    """hosts: name to base_url of hosts that speak Chat Completions, each with the model <name>/m."""
    known = {
        name: Provider(base_url=url, models=["m"], retries=0, connect_s=60.0) for name, url in (hosts or {}).items()
    }
    settings = Settings(
        data=str(folder),
        log=log or Log(durability="memory"),
        models=Models(default=default, discover=False),
        providers={"simulated": Provider(kind="simulated")} | known | (providers or {}),
        limits=limits or Limits(busy=10.0),
        streams=streams or Streams(),
        server=server or ServerSettings(),
        routes=routes or {},
        sources=sources or {},
        cascades=cascades or {},
        cache=cache or Cache(),
        sessions=sessions or Sessions(),
        context=context or Context(),
        embedding=embedding or Embedding(kind="none"),
        retrieval=retrieval or Retrieval(),
        tools=tools or {},
        plans=plans or {},
        rerank=rerank or Rerank(),
        ingest=ingest or Ingest(),
    )
    with socket.create_server(("127.0.0.1", 0), backlog=2048) as listener:
        port = listener.getsockname()[1]
        async with house(settings, own_port=port) as parts:
            ready = asyncio.get_running_loop().create_future()
            running = Server(settings, parts, ready.set_result)
            task = asyncio.create_task(running.serve(sockets=[listener]))
            await asyncio.wait((task, ready), return_when=asyncio.FIRST_COMPLETED)
            served = Served(parts, running, port)
            try:
                yield served
            finally:
                for peer in served._peers:
                    await peer.close()
                running.should_exit = running.force_exit = True
                for connection in tuple(running.server_state.connections):
                    connection.transport.abort()
                await task


class Peer:
    """One connection of a client that says exactly the bytes it is told to."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader = reader
        self.writer = writer
        self.seen = b""  # of the body, chunk by chunk
        self._chunked = False
        self._left: int | None = None
        self._bodiless = False

    @classmethod
    async def connect(cls, port: int, *, buffer: int = 0) -> Peer:
        """buffer: of the receiving socket, in bytes, for a client that is to take little."""
        if not buffer:
            return cls(*await asyncio.open_connection("127.0.0.1", port, limit=1 << 26))
        sock = socket.socket()
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, buffer)
        sock.setblocking(False)
        await asyncio.get_running_loop().sock_connect(sock, ("127.0.0.1", port))
        return cls(*await asyncio.open_connection(sock=sock, limit=4096))

    def raw(self, data: bytes) -> None:
        self.writer.write(data)

    def ask(self, method: str, path: str, body: Any = None, **headers: str) -> None:
        """headers: names with _ for -. body: bytes as they are, anything else as JSON."""
        self._bodiless = method == "HEAD"
        self.raw(request(method, path, body, **headers))

    def get(self, path: str, **headers: str) -> None:
        self.ask("GET", path, **headers)

    def post(self, path: str, body: Any = None, **headers: str) -> None:
        self.ask("POST", path, body, **headers)

    async def head(self) -> tuple[int, dict[str, str]]:
        """Status and headers of the next answer."""
        text = (await self.reader.readuntil(b"\r\n\r\n")).decode("latin-1")
        first, *lines = text.rstrip("\r\n").split("\r\n")
        headers = {k.lower(): v.strip() for k, _, v in (line.partition(":") for line in lines)}
        self._chunked = "chunked" in headers.get("transfer-encoding", "")
        self._left = int(headers["content-length"]) if "content-length" in headers else None
        self.seen = b""
        status = int(first.split(" ")[1])
        if status in (204, 304) or self._bodiless:
            self._chunked, self._left = False, 0
        return status, headers

    async def until(self, mark: bytes) -> bytes:
        """The body so far, once it holds mark."""
        while mark not in self.seen:
            if not await self._more():
                raise EOFError(f"the answer ended before {mark!r}: {self.seen[-500:]!r}")
        return self.seen

    async def body(self) -> bytes:
        """The whole body."""
        while await self._more():
            pass
        return self.seen

    async def _more(self) -> bool:
        if self._chunked:
            size = int((await self.reader.readuntil(b"\r\n")).partition(b";")[0], 16)
            data = (await self.reader.readexactly(size + 2))[:-2]
            self.seen += data
            return bool(data)
        if self._left is None:
            data = await self.reader.read(65536)
        else:
            data = await self.reader.readexactly(self._left) if self._left else b""
            self._left = 0
        self.seen += data
        return bool(data)

    async def close(self) -> None:
        """FIN."""
        self.writer.close()
        with contextlib.suppress(OSError):
            await self.writer.wait_closed()

    def reset(self) -> None:
        """RST."""
        sock = self.writer.get_extra_info("socket")
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.writer.transport.abort()


def request(method: str, path: str, body: Any = None, **headers: str) -> bytes:
    if body is not None and not isinstance(body, bytes):
        body = json.dumps(body).encode()
    data = body or b""
    lines = {"host": "127.0.0.1"} | ({"content-type": "application/json"} if body is not None else {})
    if body is not None or method == "POST":
        lines["content-length"] = str(len(data))
    lines |= {name.replace("_", "-"): value for name, value in headers.items()}
    head = "".join(f"{name}: {value}\r\n" for name, value in lines.items())
    return f"{method} {path} HTTP/1.1\r\n{head}\r\n".encode("latin-1") + data


async def eventually(true: Any, seconds: float = 30.0) -> None:
    """Returns once true() is; an AssertionError where it never becomes so."""
    async with contextlib.AsyncExitStack() as stack:
        try:
            await stack.enter_async_context(asyncio.timeout(seconds))
            while not true():
                await asyncio.sleep(0.001)
        except TimeoutError:
            raise AssertionError(f"not true within {seconds:g} s") from None
