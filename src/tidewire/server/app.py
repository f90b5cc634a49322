"""The server process: listen, serve, drain, stop."""

from __future__ import annotations

import asyncio
import functools
import logging
import socket
import time
from collections.abc import Callable, Coroutine
from types import FrameType
from typing import Any, Final

import uvicorn

from tidewire.core.errors import SettingsError
from tidewire.doors.connection import Bounds, configure
from tidewire.doors.doorstep import Doorstep
from tidewire.server import runtime
from tidewire.server.assemble import House, Source, house
from tidewire.server.routes import router
from tidewire.server.settings import Settings
from tidewire.telemetry import logs

log = logging.getLogger("tidewire.server")

TICK: Final = 1.0  # seconds between two looks at every connection
LAST_WRITES: Final = 5  # seconds that readers have to take the last bytes when the server stops


def serve(settings: Settings, ready: Callable[[str], None] | None = None, source: Source | None = None) -> None:
    """Serve until SIGTERM or SIGINT; then take no new streams, let open ones end for drain_s, and stop. A second signal stops at once.

    ready: called with the server's address once it listens. source: where changed routes are read from. Raises SettingsError for what cannot be used.
    """
    logs.setup(settings.logging.level, settings.logging.format)
    with _listen(settings) as listener:
        _run(_main(settings, listener, ready, source))


async def _main(
    settings: Settings, listener: socket.socket, ready: Callable[[str], None] | None, source: Source | None
) -> None:
    port = listener.getsockname()[1]
    async with house(settings, own_port=port, source=source) as parts:

        def settled(address: str) -> None:
            runtime.settle()
            if ready is not None:
                ready(address)

        server = Server(settings, parts, settled, idle=runtime.collect)
        await server.serve(sockets=[listener])


class Server(uvicorn.Server):
    """ready: called with the address once it listens. idle: called each second in which no stream is open."""

    def __init__(
        self,
        settings: Settings,
        parts: House,
        ready: Callable[[str], None] | None,
        idle: Callable[[], None] = lambda: None,
    ) -> None:
        limits = settings.limits
        routes, self._shedding = router(parts)
        self._waiting: set[Doorstep] = set()
        self.connection_class = configure(
            Bounds(
                connections=limits.connections,
                header_bytes=limits.header_bytes,
                header_s=limits.header_s,
                body_s=limits.body_s,
                write_buffer=limits.write_buffer_bytes,
                stall_s=limits.write_stall_s,
            ),
            self._shedding.refusal,
        )
        super().__init__(
            uvicorn.Config(
                routes,
                http=self._at_the_door,  # type: ignore[arg-type]  # a class, as far as uvicorn calls it
                ws="websockets-sansio",
                ws_max_size=limits.body_bytes,
                ws_ping_interval=20.0,
                ws_ping_timeout=20.0,
                ws_per_message_deflate=False,
                lifespan="off",
                log_config=None,
                access_log=False,
                proxy_headers=False,
                server_header=False,
                date_header=False,
                headers=[("server", "tidewire")],
                backlog=settings.server.backlog,
                timeout_keep_alive=round(limits.keep_alive_s),
                timeout_graceful_shutdown=LAST_WRITES,
                ssl_certfile=settings.server.tls_cert or None,
                ssl_keyfile=settings.server.tls_key or None,
            )
        )
        self._parts = parts
        self._settings = settings
        self._ready = ready
        self._idle = idle
        self._draining: asyncio.Task[None] | None = None
        self._ticks: asyncio.TimerHandle | None = None

    def _at_the_door(self, **given: Any) -> asyncio.Protocol:
        """What meets a new client. given: what uvicorn gives the connections it makes."""
        enter = functools.partial(self.connection_class, **given)
        return Doorstep(self._shedding.refusal, enter, self._waiting) if self._shedding.lately else enter()

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        self._loop = asyncio.get_running_loop()
        await super().startup(sockets)
        self._tick()
        assert sockets is not None
        address = _address(self._settings, sockets[0])
        log.info("serving", extra={"address": address, "durability": self._settings.log.durability})
        if self._ready is not None:
            self._ready(address)

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        if self._ticks is not None:
            self._ticks.cancel()
        await super().shutdown(sockets)

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        if self._draining is not None or not self.started:
            self.should_exit = self.force_exit = True
            return
        self._loop.call_soon_threadsafe(self._drain)

    def _drain(self) -> None:
        if self._draining is None:
            log.info("draining", extra={"streams": self._parts.desk.open_streams})
            self._draining = self._loop.create_task(self._wait_and_exit())

    async def _wait_and_exit(self) -> None:
        try:
            await self._parts.desk.drain(self._settings.server.drain_s)
        finally:
            self.should_exit = True

    def _tick(self) -> None:
        now = time.monotonic()
        for connection in tuple(self.connection_class.everybody):
            connection.check(now)
        for waiting in tuple(self._waiting):
            waiting.check(now, self._settings.limits.header_s)
        if not self._parts.desk.open_streams:
            self._idle()
        self._ticks = self._loop.call_later(TICK, self._tick)


def _listen(settings: Settings) -> socket.socket:
    """A bound socket, so that a taken port is a clear error before anything starts."""
    server = settings.server
    family = socket.AF_INET6 if ":" in server.host else socket.AF_INET
    listener = socket.socket(family, socket.SOCK_STREAM)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((server.host, server.port))
        listener.listen(server.backlog)
    except OSError as error:
        listener.close()
        raise SettingsError(
            f"cannot listen on {server.host} port {server.port}: {error.strerror or error}; stop what uses it, or choose "
            "another with --port (0 takes a free one)",
            param="server.port",
        ) from None
    return listener


def _address(settings: Settings, listener: socket.socket) -> str:
    host, port = listener.getsockname()[:2]
    if host in ("0.0.0.0", "::"):  # noqa: S104 - an address to show, not to bind
        host = "127.0.0.1"
    return f"{'https' if settings.server.tls_cert else 'http'}://{f'[{host}]' if ':' in host else host}:{port}"


def _run(main: Coroutine[Any, Any, None]) -> None:
    try:
        import uvloop  # noqa: PLC0415 - not on every system
    except ImportError:
        asyncio.run(main)
    else:
        uvloop.run(main)
