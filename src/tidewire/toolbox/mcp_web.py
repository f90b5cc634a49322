"""An MCP server behind a URL: how the `mcp` package reaches it, with a bound on what it may answer.

A failure of one exchange stays with the call that it belongs to: it reaches the package as an answer of the server, where an exception
would end the session and every other call with it.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping
from typing import Any, Final

import httpx2
import msgspec

TOO_LARGE: Final = -32099  # as in mcp_process
UNREACHABLE: Final = -32098  # of JSON-RPC's range for implementations; only ever said by us to ourselves
FAREWELL: Final = 2.0  # seconds
IDLE: Final = 300.0  # seconds without a byte on a stream that is kept open for news


def browser(headers: Mapping[str, str], limit: int, deadline: float) -> httpx2.AsyncClient:
    """headers: sent with everything. limit: bytes of one answer. deadline: seconds of one call. Neither proxies nor .netrc of the environment."""
    return httpx2.AsyncClient(
        transport=_Bounded(limit),
        headers=dict(headers),
        timeout=httpx2.Timeout(30.0, connect=10.0, read=max(IDLE, deadline)),
        trust_env=False,
    )


class _Bounded(httpx2.AsyncBaseTransport):
    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._inner = httpx2.AsyncHTTPTransport(
            trust_env=False, limits=httpx2.Limits(max_connections=1000, max_keepalive_connections=20)
        )

    async def handle_async_request(self, request: httpx2.Request) -> httpx2.Response:
        if request.method == "DELETE":  # the end of a session, which waits for nobody
            try:
                async with asyncio.timeout(FAREWELL):
                    return await self._inner.handle_async_request(request)
            except TimeoutError:
                raise httpx2.ReadTimeout("no answer to the end of a session") from None
        if request.method != "POST":
            return await self._inner.handle_async_request(request)
        try:
            response = await self._inner.handle_async_request(request)
        except httpx2.TransportError as error:
            return _said(502, UNREACHABLE, f"there is no connection to it ({type(error).__name__})")
        kind = response.headers.get("content-type", "").lower()
        if response.status_code >= 400 and response.status_code != 404 and "json" not in kind:
            await response.stream.aclose()  # type: ignore[union-attr]
            return _said(response.status_code, UNREACHABLE, f"it answered with status {response.status_code}")
        if "event-stream" not in kind:  # whose events the package bounds itself
            response.stream = _Counted(response.stream, self._limit)
        return response

    async def aclose(self) -> None:
        await self._inner.aclose()


class _Counted(httpx2.AsyncByteStream):
    def __init__(self, inner: Any, limit: int) -> None:
        self._inner = inner
        self._limit = limit

    async def __aiter__(self) -> AsyncIterator[bytes]:
        size = 0
        try:
            async for chunk in self._inner:
                size += len(chunk)
                if size > self._limit:
                    raise httpx2.StreamError(f"more than {self._limit} bytes; no more are allowed")
                yield chunk
        except httpx2.TransportError as error:
            raise httpx2.StreamError(f"the connection broke off ({type(error).__name__})") from None

    async def aclose(self) -> None:
        await self._inner.aclose()


def _said(status: int, code: int, message: str) -> httpx2.Response:
    body = msgspec.json.encode({"jsonrpc": "2.0", "id": None, "error": {"code": code, "message": message}})
    return httpx2.Response(status, headers={"content-type": "application/json"}, content=body)
