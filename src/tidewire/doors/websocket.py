"""One socket, any number of streams: start, follow, unfollow, cancel. spec/PROTOCOL.md section 6.

One task reads the client, one writes to it. A reading is a cursor; the writer takes from each in turn what is new, so that a
client that does not read costs its cursors and one frame, and a busy stream does not keep a quiet one waiting.
"""

from __future__ import annotations

import asyncio
import logging
from typing import Any, Final
from urllib.parse import parse_qsl

import msgspec
from starlette.types import Receive, Scope, Send

from tidewire.core.errors import BadRequest, Conflict, InternalError, Overloaded, TidewireError, Unauthorized
from tidewire.core.meter import Meter
from tidewire.core.ports import Cursor, Desk, Dialect
from tidewire.core.request import ToolResult
from tidewire.doors.access import Access
from tidewire.doors.turns import Turns

log = logging.getLogger("tidewire.door")

BATCH: Final = 64
WAITING: Final = 256  # replies that a client may leave unread
NAME: Final = 128  # characters of a reading's id, which stands in each of its frames
POLICY_VIOLATION: Final = 1008


class _Frame(msgspec.Struct, forbid_unknown_fields=True):
    do: str
    id: str | None = None
    request: msgspec.Raw = msgspec.Raw()  # a union with None would not be taken as it is
    stream: str | None = None
    after: int = 0
    key: str | None = None
    go_on: str | None = msgspec.field(name="continue", default=None)
    results: list[ToolResult] = []


_frames = msgspec.json.Decoder(_Frame)
_json = msgspec.json.encode


class WebSocketDoor:
    """The ASGI application of /v1/ws. limit: streams that one socket may read at once. heartbeat: seconds of silence before
    {"heartbeat":true}, which also finds out whether the client still takes bytes.
    """

    def __init__(
        self,
        desk: Desk,
        native: Dialect,
        access: Access,
        meter: Meter,
        *,
        limit: int,
        heartbeat: float,
        stall: float,
        frame_bytes: int,
        origins: frozenset[str],
    ) -> None:
        self.desk = desk
        self.native = native
        self.access = access
        self.meter = meter
        self.limit = limit
        self.heartbeat = heartbeat
        self.stall = stall
        self.frame_bytes = frame_bytes
        self.origins = origins

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if (await receive())["type"] != "websocket.connect":
            return
        headers = {k.decode("latin-1"): v.decode("latin-1") for k, v in scope["headers"]}
        if not self._welcome(headers):
            await send({"type": "websocket.close", "code": POLICY_VIOLATION})
            return
        await send({"type": "websocket.accept"})
        await _Socket(self, scope, headers, receive, send).run()

    def _welcome(self, headers: dict[str, str]) -> bool:
        """A page of another origin may not use a socket with this browser's reach; the server's own page may, by a name of the server."""
        if not self.access.asked_by(headers.get("host", "")):
            return False
        origin = headers.get("origin")
        if origin is None or "*" in self.origins or origin in self.origins:
            return True
        return origin.partition("://")[2] == headers.get("host", "")


class _Socket:
    def __init__(
        self, door: WebSocketDoor, scope: Scope, headers: dict[str, str], receive: Receive, send: Send
    ) -> None:
        self._door = door
        self._headers = headers
        self._query = scope["query_string"].decode("latin-1")
        self._receive = receive
        self._send = send
        self._tenant: str | None = None
        self._turns = Turns(door.frame_bytes)
        self._readings: dict[str, Cursor | None] = {}  # None while it is being set up
        self._replies: list[bytes] = []
        self._news = asyncio.Event()
        self._heard = asyncio.Event()
        self._heard.set()

    async def run(self) -> None:
        self._tenant = self._early_key()
        writer = asyncio.create_task(self._write())
        reader = asyncio.create_task(self._read())
        try:
            await asyncio.wait((writer, reader), return_when=asyncio.FIRST_COMPLETED)
        finally:
            for task in (writer, reader):
                task.cancel()
            results = await asyncio.gather(writer, reader, return_exceptions=True)
            for cursor in self._readings.values():
                if cursor is not None:
                    cursor.close()
        for result in results:
            if isinstance(result, Exception) and not isinstance(
                result, OSError
            ):  # which a client that left, or stalled, is
                log.error("a socket failed; its streams go on", exc_info=result)

    def _early_key(self) -> str | None:
        key = dict(parse_qsl(self._query)).get("key")
        try:
            return self._door.access.check(self._headers, key)
        except Unauthorized:
            return None

    async def _read(self) -> None:
        while True:
            await self._heard.wait()  # a client that asks and does not listen is not read until it does
            message = await self._receive()
            if message["type"] == "websocket.disconnect":
                return
            text = message.get("text") or message.get("bytes") or b""
            frame_id = None
            try:
                if len(text) > self._door.frame_bytes:
                    raise BadRequest(f"the frame is over {self._door.frame_bytes} bytes", code="frame_too_large")
                frame = self._decode(text)
                frame_id = frame.id
                await self._do(frame)
            except TidewireError as error:
                self._reply(({"id": frame_id} if frame_id is not None else {}) | {"error": error.info()})
            except Exception:  # supervisor boundary: a defect costs this frame only
                log.exception("a defect in a socket's frame")
                info = InternalError("something went wrong in the server; its log says what").info()
                self._reply(({"id": frame_id} if frame_id is not None else {}) | {"error": info})

    def _decode(self, text: str | bytes) -> _Frame:
        try:
            return _frames.decode(text)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
            raise BadRequest(f"the frame cannot be read: {str(error)[:200]}", code="invalid_json") from None

    async def _do(self, frame: _Frame) -> None:
        if frame.do == "ping":
            self._reply({"pong": True})
            return
        if frame.do == "key":
            self._tenant = self._door.access.check({}, frame.key or "")
            self._reply({"key": True})
            return
        if self._tenant is None:
            raise Unauthorized('this server asks for an API key; send {"do":"key","key":"…"} first')
        if frame.do == "start":
            await self._start(frame, self._tenant)
        elif frame.do == "follow":
            await self._follow(frame, self._tenant, _need(frame.stream, "stream"), frame.after)
            self._door.meter.resumed("native")
        elif frame.do == "unfollow":
            self._leave(_need(frame.id, "id"))
        elif frame.do == "cancel":
            stream = _need(frame.stream, "stream")
            stopped = await self._door.desk.cancel(self._tenant, stream)
            self._reply({"cancelled": stopped, "stream": stream})
        else:
            raise BadRequest(
                f"do is {frame.do[:40]!r}; it may be start, follow, unfollow, cancel, key or ping", param="do"
            )

    async def _start(self, frame: _Frame, tenant: str) -> None:
        self._check_room(_need(frame.id, "id"))
        if bool(bytes(frame.request)) == (frame.go_on is not None):
            raise BadRequest(
                "start needs a request, as POST /v1/streams takes it, or continue with results, one of the two",
                param="request",
            )
        if frame.go_on is not None:
            request = await self._turns.go_on(self._door.desk, tenant, frame.go_on, frame.results)
        else:
            request, _ = self._door.native.parse(bytes(frame.request), {})
            request.tenant = tenant
        meta = await self._door.desk.start(request)
        self._turns.keep(tenant, meta.stream, request)
        await self._follow(frame, tenant, meta.stream, 0)

    async def _follow(self, frame: _Frame, tenant: str, stream: str, after: int) -> None:
        name = _need(frame.id, "id")
        self._check_room(name)
        if after:
            meta = await self._door.desk.meta(tenant, stream)
            if meta.ended is not None and after == meta.last:  # nothing comes after `closed`
                self._reply({"id": name, "done": True})
                return
        self._readings[name] = None
        try:
            self._readings[name] = await self._door.desk.follow(tenant, stream, after, self._news.set)
        except BaseException:
            del self._readings[name]
            raise
        self._news.set()

    def _check_room(self, name: str) -> None:
        if len(name) > NAME:
            raise BadRequest(f"id has {len(name)} characters; it may have {NAME}", param="id")
        if name in self._readings:
            raise Conflict(f"this socket reads as {name[:40]!r} already; choose another id", param="id")
        if len(self._readings) >= self._door.limit:
            raise Overloaded(
                f"this socket reads {len(self._readings)} of {self._door.limit} streams (limits.sockets_streams)"
            )

    def _leave(self, name: str) -> None:
        cursor = self._readings.pop(name, None)
        if cursor is not None:
            cursor.close()

    def _reply(self, value: dict[str, Any]) -> None:
        self._replies.append(_json(value))
        if len(self._replies) >= WAITING:
            self._heard.clear()
        self._news.set()

    async def _write(self) -> None:
        while True:
            try:
                async with asyncio.timeout(self._door.heartbeat):
                    await self._news.wait()
            except TimeoutError:
                self._replies.append(b'{"heartbeat":true}')
            self._news.clear()
            replies, self._replies = self._replies, []
            for reply in replies:
                await self._put(reply)
            self._heard.set()
            for name, cursor in list(self._readings.items()):
                if cursor is not None:
                    await self._drain(name, cursor)

    async def _drain(self, name: str, cursor: Cursor) -> None:
        """A batch of this reading; if there is more, its turn comes again."""
        entries = cursor.take(BATCH)
        head = b'{"id":%s,"event":' % _json(name)
        for entry in entries:
            if self._readings.get(name) is not cursor:
                return  # unfollowed while we wrote
            await self._put(head + entry.raw + b"}")
        if entries and entries[-1].raw.startswith(b'{"type":"closed"'):
            self._leave(name)
            await self._put(_json({"id": name, "done": True}))
        elif cursor.failed is not None and not entries:
            self._leave(name)
            error = cursor.failed
            info = (error if isinstance(error, TidewireError) else InternalError("the log cannot be read")).info()
            await self._put(_json({"id": name, "error": info}))
        elif entries:  # perhaps there is more: a page of the log may hold fewer than a batch, and the next is read when it is asked for
            self._news.set()

    async def _put(self, frame: bytes) -> None:
        """One frame out; a client that takes nothing for so long is let go, and resumes. Raises TimeoutError."""
        async with asyncio.timeout(self._door.stall):
            await self._send({"type": "websocket.send", "text": frame.decode()})


def _need(value: str | None, name: str) -> str:
    if not value:
        raise BadRequest(f"{name} is missing", param=name)
    return value
