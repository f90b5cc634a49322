"""One HTTP request, as the routes see it: read with limits, answered in JSON, or handed to a pump."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable, Sequence
from typing import Any, Final, TypeVar
from urllib.parse import parse_qsl

import msgspec
from starlette.types import Receive, Scope, Send

from tidewire.core.errors import BadRequest, InternalError, TidewireError, TooLarge
from tidewire.core.events import ErrorInfo
from tidewire.doors.access import Access
from tidewire.doors.connection import Wire, take
from tidewire.doors.pump import error_headers

log = logging.getLogger("tidewire.door")


class ClientGone(Exception):
    """The client closed the connection before its request was read."""


T = TypeVar("T")


class Call:
    """headers: lower-case names. query and path: parameters."""

    def __init__(self, scope: Scope, receive: Receive, send: Send, body_limit: int) -> None:
        self.scope = scope
        self.headers = {k.decode("latin-1"): v.decode("latin-1") for k, v in scope["headers"]}
        self.path: dict[str, str] = scope.get("path_params", {})
        self.tenant = ""
        self.began = time.monotonic()
        self.extra: list[tuple[str, str]] = []  # headers that every answer to this request carries
        self._receive = receive
        self._send = send
        self._body_limit = body_limit
        self._wire: Wire | None = None
        self._query: dict[str, str] | None = None

    @property
    def query(self) -> dict[str, str]:
        if self._query is None:
            self._query = dict(parse_qsl(self.scope["query_string"].decode("latin-1"), keep_blank_values=True))
        return self._query

    def number(self, name: str, otherwise: int) -> int:
        """A whole number of the query. Raises BadRequest."""
        text = self.query.get(name)
        return otherwise if text is None else whole(text, name)

    async def body(self) -> bytes:
        """The whole body. Raises TooLarge, or ClientGone when the client left before its end."""
        limit = self._body_limit
        try:
            declared = int(self.headers.get("content-length", "0"))
        except ValueError:
            raise BadRequest("content-length is not a number") from None
        pieces: list[bytes] = []
        size = declared
        while size <= limit:
            message = await self._receive()
            if message["type"] == "http.disconnect":
                raise ClientGone
            pieces.append(message["body"])
            if not message.get("more_body"):
                return pieces[0] if len(pieces) == 1 else b"".join(pieces)
            size = max(declared, sum(map(len, pieces)))
        self.headers["connection"] = "close"  # the rest of the body is not read
        raise TooLarge(f"the body is over the limit of {limit} bytes (limits.body_bytes)", code="body_too_large")

    async def gone(self) -> None:
        """Returns when the client has closed the connection. Once the body is read, and nothing is answered yet."""
        while (await self._receive())["type"] != "http.disconnect":
            pass

    async def unless_gone(self, work: Awaitable[T]) -> T:
        """What `work` returns; a client that leaves before takes it along. Raises ClientGone. Once the body is read."""
        working, leaving = asyncio.ensure_future(work), asyncio.ensure_future(self.gone())
        try:
            await asyncio.wait((working, leaving), return_when=asyncio.FIRST_COMPLETED)
            if not working.done():
                raise ClientGone
            return working.result()
        finally:
            for task in (working, leaving):
                task.cancel()
            await asyncio.wait((working, leaving))

    def take(self) -> Wire:
        """The connection, to stream on. The request's headers are let go of: a stream may be long, and there may be many."""
        self.headers = {}
        self._wire = take(self.scope)
        return self._wire

    async def json(self, value: Any, status: int = 200, headers: list[tuple[str, str]] | None = None) -> None:
        await self.reply(status, [("content-type", "application/json"), *(headers or [])], msgspec.json.encode(value))

    @property
    def head_only(self) -> bool:
        """The client asks what GET would answer, without the body."""
        return bool(self.scope["method"] == "HEAD")

    async def reply(self, status: int, headers: list[tuple[str, str]], body: bytes | None = b"") -> None:
        """body: None where its length is not known, in an answer to HEAD."""
        raw = [(k.encode(), v.encode("latin-1")) for k, v in (*headers, *self.extra)]
        if body is None:
            body = b""
        elif status != 204:
            raw.append((b"content-length", b"%d" % len(body)))
        if self.headers.get("connection") == "close":
            raw.append((b"connection", b"close"))
        await self._send({"type": "http.response.start", "status": status, "headers": raw})
        await self._send({"type": "http.response.body", "body": body})

    async def fail(self, info: ErrorInfo, render: Callable[[ErrorInfo], bytes]) -> None:
        body = render(info)
        wire = self._wire
        if wire is None:
            await self.reply(info.status, error_headers(info, render), body)
        elif wire.started:
            wire.abort()
        else:
            wire.answer(info.status, [*error_headers(info, render), *self.extra], body)


def decoded(body: bytes, kind: type[T]) -> T:
    """A body of JSON. Raises BadRequest."""
    try:
        return msgspec.json.decode(body, type=kind)
    except msgspec.ValidationError as error:
        raise BadRequest(f"the JSON is not as it must be: {error}", code="invalid_value") from None
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise BadRequest(f"the body is no JSON: {error}", code="invalid_json") from None


def whole(text: str, name: str) -> int:
    """A cursor or a count. Raises BadRequest."""
    if text.isascii() and text.removeprefix("-").isdigit() and len(text) <= 18:
        return int(text)
    raise BadRequest(f"{name} is {text[:40]!r}; it must be a whole number", param=name)


def foreign(origin: str) -> TidewireError:
    """What a page is told that may not call."""
    said = f"pages of {origin[:200]!r} may not ask here; server.origins names those that may"
    error = TidewireError(said, code="foreign_origin")
    error.status = 403
    return error


EXPOSED: Final = "x-tidewire-stream, x-workflow-run-id, x-workflow-stream-tail-index, retry-after"


class Origins:
    """Which web origins may call from a browser (CORS). "*" allows all; the server's own page needs none."""

    def __init__(self, allowed: Sequence[str]) -> None:
        self._allowed = frozenset(allowed)

    def check(self, call: Call) -> None:
        """Raises TidewireError (403) for a request that may change something, from a page that may not call.

        CORS alone keeps such a page from reading an answer, not from asking: a browser sends a POST of plain text without a
        question beforehand, and a server without a key would obey. The server's own page is known by what the browser says
        of it, which no proxy rewrites, else by the host's name.
        """
        origin = call.headers.get("origin")
        if origin is None or call.scope["method"] in ("GET", "HEAD") or origin in self._allowed or "*" in self._allowed:
            return
        site = call.headers.get("sec-fetch-site")
        own = (
            origin.partition("://")[2] == call.headers.get("host", "")
            if site is None
            else site in ("same-origin", "none")
        )
        if not own:
            raise foreign(origin)

    def allow(self, call: Call) -> None:
        """Adds the headers that a browser looks for, where its page may call: before the call itself (OPTIONS) and in it."""
        origin = call.headers.get("origin", "")
        if not origin.isprintable() or not (origin in self._allowed or (origin and "*" in self._allowed)):
            return
        call.extra += [("access-control-allow-origin", origin), ("vary", "origin")]
        call.extra.append(("access-control-expose-headers", EXPOSED))
        if call.scope["method"] != "OPTIONS":
            return
        asked = call.headers.get("access-control-request-headers", "")
        call.extra.append(("access-control-allow-methods", "GET, HEAD, POST, PUT, DELETE, OPTIONS"))
        call.extra.append(("access-control-allow-headers", asked if len(asked) < 1000 and asked.isprintable() else ""))
        call.extra.append(("access-control-max-age", "600"))


class Endpoint:
    """A route: checks the key, runs the handler, and turns what it raises into the dialect's error shape."""

    def __init__(
        self,
        handle: Callable[[Call], Awaitable[None]],
        error: Callable[[ErrorInfo], bytes],
        access: Access,
        origins: Origins,
        body_limit: int,
        *,
        key_in_query: bool = False,
    ) -> None:
        """key_in_query: the key may stand in the address of any request; else of a GET, whose browser API cannot set headers."""
        self._key_in_query = key_in_query
        self._handle = handle
        self._origins = origins
        self._error = error
        self._access = access
        self._body_limit = body_limit

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        call = Call(scope, receive, send, self._body_limit)
        try:
            self._origins.allow(call)
            self._origins.check(call)
            in_query = self._key_in_query or scope["method"] in ("GET", "HEAD")
            key = call.query.get("key") if in_query else None
            call.tenant = self._access.check(call.headers, key)
            await self._handle(call)
        except ClientGone:
            return
        except TidewireError as error:
            await call.fail(error.info(), self._error)
        except Exception:  # supervisor boundary: a defect costs this request only
            log.exception("a defect in a route", extra={"path": scope["path"]})
            await call.fail(InternalError("something went wrong in the server; its log says what").info(), self._error)
