"""Start and follow over HTTP, the same for every dialect: a fix made here is made for every route."""

from __future__ import annotations

import time
from typing import Final

import msgspec

from tidewire.core.errors import BadRequest
from tidewire.core.meter import Meter
from tidewire.core.ports import Desk, Dialect, Meta
from tidewire.core.request import Intent, Request, Retrieval, Reuse
from tidewire.core.sse import comment
from tidewire.doors.call import Call
from tidewire.doors.deadline import time_limit
from tidewire.doors.pump import Pump

PLAN: Final = "x-tidewire-plan"
HEADERS: Final = [("cache-control", "no-cache, no-transform"), ("x-accel-buffering", "no")]
INTENT: Final = "x-tidewire-intent"  # short, normal or long
SESSION: Final = "x-tidewire-session"  # a session's id, for dialects that have no word for it
RETRIEVAL: Final = "x-tidewire-retrieval"  # off, or on with what narrows it
HEARTBEATS: Final = {"text/event-stream": comment(), "application/x-ndjson": b"\n"}


class Manner(msgspec.Struct, frozen=True):
    """heartbeat: seconds of silence before a comment. retry: milliseconds that an EventSource waits before it comes back."""

    heartbeat: int = 15
    retry: int = 1000


class Streaming:
    """Serves a desk over HTTP."""

    def __init__(self, desk: Desk, manner: Manner, meter: Meter) -> None:
        self.desk = desk
        self._manner = manner
        self._meter = meter

    async def start(self, call: Call, dialect: Dialect, heartbeat: bytes | None = None) -> None:
        """Parse the body, open the stream, and answer it: streamed or whole, as the client asks.

        heartbeat: what fills a silence, where the dialect's clients do not take the usual.
        """
        request, streamed = dialect.parse(await call.body(), call.headers)
        meta = await self.open(call, request)
        await self.send(call, dialect, meta, whole=not streamed, heartbeat=heartbeat)

    async def open(self, call: Call, request: Request) -> Meta:
        request.tenant = call.tenant
        if request.time_limit is None:
            request.time_limit = time_limit(call.headers)
        if request.plan is None:
            request.plan = call.headers.get(PLAN)
        request.edge = time.monotonic() - call.began
        if request.reuse is None:
            request.reuse = Reuse.parse(call.headers.get("cache-control", ""))
        if request.intent is None:
            request.intent = _intent(call.headers.get(INTENT, ""))
        if request.retrieval is None and (said := call.headers.get(RETRIEVAL)):
            request.retrieval = _retrieval(said)
        _join_session(request, call.headers.get(SESSION, ""))
        return await self.desk.start(request)

    async def follow(
        self, call: Call, dialect: Dialect, stream: str, after: int, *, whole: bool = False, preamble: bytes = b""
    ) -> None:
        meta = await self.desk.meta(call.tenant, stream)
        self._meter.resumed(dialect.name)
        await self.send(call, dialect, meta, after=after, whole=whole, preamble=preamble)

    async def send(
        self,
        call: Call,
        dialect: Dialect,
        meta: Meta,
        *,
        after: int = 0,
        whole: bool = False,
        preamble: bytes = b"",
        heartbeat: bytes | None = None,
    ) -> None:
        """Carry a stream to this client. From here on its leaving is seen at once."""
        media = "application/json" if whole else dialect.media_type
        headers = [
            ("content-type", media),
            *HEADERS,
            ("x-tidewire-stream", meta.stream),
            *dialect.headers(meta),
        ]
        origin = 0 if whole else dialect.origin(after)
        if call.head_only:  # nothing is carried, and nobody counts as a reader; a cursor that is refused still is
            (await self.desk.follow(meta.tenant, meta.stream, origin, _nothing, counts=False)).close()
            await call.reply(200, headers, None)
            return
        if heartbeat is None:
            heartbeat = HEARTBEATS.get(media.partition(";")[0], b"")
        pump = Pump(
            call.take(),
            dialect.whole(meta) if whole else dialect.stream(meta, after),
            headers=[*headers, *call.extra],
            refuse=dialect.error,
            extra=call.extra,
            whole=whole,
            preamble=preamble,
            heartbeat=b"" if whole else heartbeat,
            beat=self._manner.heartbeat,
            showing=None if whole else self.desk.showing(meta.tenant, meta.stream),
        )
        await pump.run(lambda wake: self.desk.follow(meta.tenant, meta.stream, origin, wake))

    @property
    def retry(self) -> bytes:
        """The first bytes of a native event stream."""
        return b"retry: %d\n\n" % self._manner.retry


def _intent(name: str) -> Intent | None:
    """Raises BadRequest."""
    match name:
        case "short" | "normal" | "long":
            return name
        case "":
            return None
    raise BadRequest(f"{INTENT} is {name[:40]!r}; it may be short, normal or long", param=INTENT)


def _retrieval(header: str) -> Retrieval:
    """Raises BadRequest."""
    try:
        return Retrieval.parse(header)
    except ValueError as error:
        message = f'{RETRIEVAL} is off, or on with what narrows it, like "on; limit=4; recency=news": {error}'
        raise BadRequest(message, param=RETRIEVAL) from None


def _join_session(request: Request, name: str) -> None:
    """The header names a session where the request itself says nothing of one. Raises BadRequest where they name two."""
    if not name or request.session is False:
        return
    if request.chat not in (None, name):
        raise BadRequest(
            f"the request is of {request.chat}, and {SESSION} names another session; send one", param=SESSION
        )
    request.chat, request.session = name, True


def _nothing() -> None: ...
