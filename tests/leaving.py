"""Every way in which a client ends an answer, and every phase in which it may: for tests and for benchmarks/cancel.py.

A way opens an answer of a model and returns what makes the client go. A phase is a host that is found in it and stays there.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlsplit

from websockets.asyncio.client import connect

from serving import Peer
from upstream import Call, Upstream, chat, silent, stall_after_a_token, stall_after_headers, unaccepted

Leave = Callable[[], Awaitable[Any]]
Way = Callable[[int, str], Awaitable[tuple[Leave, Leave]]]  # port, model -> (leave, tidy up afterwards)

MESSAGES: Final = [{"role": "user", "content": "Hello"}]
UI: Final = [{"id": "u1", "role": "user", "parts": [{"type": "text", "text": "Hello"}]}]


# Phases


class Mute(asyncio.Protocol):
    """Accepts connections and never speaks: a TLS handshake with it does not end."""

    def __init__(self, host: MuteHost) -> None:
        self._host = host

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = transport
        self._host.open.add(transport)
        self._host.met += 1

    def connection_lost(self, exc: Exception | None) -> None:
        self._host.open.discard(self._transport)


class MuteHost:
    def __init__(self) -> None:
        self.open: set[Any] = set()
        self.met = 0


class Phase:
    """A host in one phase. asked: how often it has been reached; held: connections to it that are open now."""

    def __init__(
        self, url: str, asked: Callable[[], int], held: Callable[[], int], calls: list[Call] | None = None
    ) -> None:
        self.url = url
        self.asked = asked
        self.held = held
        self._calls = calls if calls is not None else []

    def forget(self) -> None:
        """Let go of what the host remembers of its calls."""
        self._calls.clear()


async def flowing(call: Call) -> None:
    """A token each 2 ms, without end."""
    call.head()
    while not call.gone.is_set():
        call.chunk(chat("word "))
        await asyncio.sleep(0.002)


SCRIPTS: Final = {
    "before headers": silent,
    "before the first token": stall_after_headers,
    "mid-stream": flowing,
    "stalled": stall_after_a_token,
}
PHASES: Final = ("connecting, no SYN-ACK", "connecting, TLS", *SCRIPTS)


@contextlib.asynccontextmanager
async def phases() -> AsyncIterator[dict[str, Phase]]:
    async with contextlib.AsyncExitStack() as stack:
        out: dict[str, Phase] = {}
        url = await stack.enter_async_context(unaccepted())
        port = urlsplit(url).port or 0
        await asyncio.sleep(0)
        fillers = connecting(port)
        out["connecting, no SYN-ACK"] = Phase(
            url, lambda: connecting(port) - fillers, lambda: connecting(port) - fillers
        )
        mute = MuteHost()
        server = await asyncio.get_running_loop().create_server(lambda: Mute(mute), "127.0.0.1", 0)
        stack.callback(server.close)
        port_of_mute = server.sockets[0].getsockname()[1]
        out["connecting, TLS"] = Phase(f"https://127.0.0.1:{port_of_mute}", lambda: mute.met, lambda: len(mute.open))
        for name, script in SCRIPTS.items():
            host = await stack.enter_async_context(Upstream(script))
            out[name] = Phase(host.url, lambda h=host: len(h.calls), lambda h=host: len(h.open), host.calls)
        yield out


def connecting(port: int) -> int:
    """Sockets of this machine that wait for port's SYN-ACK."""
    mark = f":{port:04X} 02"
    return sum(mark in line for line in Path("/proc/net/tcp").read_text().splitlines())


# Ways over HTTP: the client goes away


def posts(path: str, body: dict[str, Any], *, rst: bool = False, **headers: str) -> Way:
    async def way(port: int, model: str) -> tuple[Leave, Leave]:
        peer = await Peer.connect(port)
        peer.post(path, {"model": model} | body, **headers)

        async def leave() -> None:
            if rst:
                peer.reset()
            else:
                peer.writer.close()

        return leave, peer.close

    return way


def native(accept: str, **more: Any) -> Way:
    return posts("/v1/streams", {"input": "Hello", "on_disconnect": "cancel"}, accept=accept, **more)


# Ways over HTTP: somebody says stop


def stops(path: str, body: dict[str, Any], stop: str, *, method: str = "POST", chosen: str = "", **headers: str) -> Way:
    """chosen: the field of the body that holds an id of the client's own; else the answer's header names the stream."""

    async def way(port: int, model: str) -> tuple[Leave, Leave]:
        peer, other = await Peer.connect(port), await Peer.connect(port)
        mine = "c" + os.urandom(6).hex()
        peer.post(path, {"model": model} | body | ({chosen: mine} if chosen else {}), **headers)
        if not chosen:
            mine = (await peer.head())[1]["x-tidewire-stream"]

        async def leave() -> None:
            other.ask(method, stop.format(id=mine))
            status, _ = await other.head()
            assert status == 200, status

        async def tidy() -> None:
            await peer.close()
            await other.close()

        return leave, tidy

    return way


# Ways over a WebSocket


def socket_way(how: str) -> Way:
    async def way(port: int, model: str) -> tuple[Leave, Leave]:
        socket = await connect(f"ws://127.0.0.1:{port}/v1/ws", ping_interval=None, compression=None)
        request = {"model": model, "input": "Hello", "on_disconnect": "cancel", "stream": "w" + os.urandom(6).hex()}
        await socket.send(json.dumps({"do": "start", "id": "a", "request": request}))
        await socket.recv()

        async def leave() -> None:
            if how == "cancel":
                await socket.send(json.dumps({"do": "cancel", "stream": request["stream"]}))
            elif how == "unfollow":
                await socket.send(json.dumps({"do": "unfollow", "id": "a"}))
            elif how == "reset":
                socket.transport.abort()
            else:
                await socket.close()

        return leave, socket.close

    return way


CANCEL: Final = {"x_tidewire_on_disconnect": "cancel"}

WAYS: Final[dict[str, Way]] = {
    "chat, streamed: closed": posts("/v1/chat/completions", {"messages": MESSAGES, "stream": True}),
    "chat, streamed: reset": posts("/v1/chat/completions", {"messages": MESSAGES, "stream": True}, rst=True),
    "chat, whole: closed": posts("/v1/chat/completions", {"messages": MESSAGES}),
    "chat, whole: reset": posts("/v1/chat/completions", {"messages": MESSAGES}, rst=True),
    "native SSE: closed": native("text/event-stream"),
    "native SSE: reset": native("text/event-stream", rst=True),
    "native NDJSON: closed": native("application/x-ndjson"),
    "native text: closed": native("text/plain"),
    "native JSON: closed": native("application/json"),
    "native SSE: POST cancel": stops("/v1/streams", {"input": "Hello"}, "/v1/streams/{id}/cancel", chosen="stream"),
    "native, async: POST cancel": stops(
        "/v1/streams", {"input": "Hello"}, "/v1/streams/{id}/cancel", prefer="respond-async"
    ),
    "native, async: DELETE": stops(
        "/v1/streams", {"input": "Hello"}, "/v1/streams/{id}", method="DELETE", prefer="respond-async"
    ),
    "responses, streamed: closed": posts("/v1/responses", {"input": "Hello", "stream": True}),
    "responses, whole: closed": posts("/v1/responses", {"input": "Hello"}),
    "responses, streamed: POST cancel": stops(
        "/v1/responses", {"input": "Hello", "stream": True}, "/v1/responses/{id}/cancel"
    ),
    "responses, background: POST cancel": stops(
        "/v1/responses", {"input": "Hello", "background": True}, "/v1/responses/{id}/cancel"
    ),
    "UI messages: closed": posts("/api/chat", {"messages": UI}, **CANCEL),
    "UI messages: POST stop": stops("/api/chat", {"messages": UI}, "/api/chat/{id}/stop", chosen="id"),
    "WebSocket: closed": socket_way("close"),
    "WebSocket: reset": socket_way("reset"),
    "WebSocket: unfollow": socket_way("unfollow"),
    "WebSocket: cancel": socket_way("cancel"),
}
