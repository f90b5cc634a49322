"""The documents of this server as an MCP server: streamable HTTP, an answer for each request, and no session to lose.

Both revisions that clients speak: 2025-11-25, which begins with `initialize`, and 2026-07-28, whose every request says which it is.
"""

from __future__ import annotations

import base64
import binascii
from typing import Any, Final

import msgspec

from tidewire import __version__
from tidewire.core.errors import TidewireError
from tidewire.core.events import ErrorInfo
from tidewire.doors.call import Call
from tidewire.doors.mcp_documents import Refusal, Shelf

LEGACY: Final = ("2025-11-25", "2025-06-18")
MODERN: Final = "2026-07-28"
VERSION: Final = "io.modelcontextprotocol/protocolVersion"  # of a request's _meta
ABOUT: Final = "Searches the documents of a Tidewire server. `search` finds passages; `fetch` gives a document whole."
PARSE, INVALID, UNKNOWN_METHOD, INTERNAL = -32700, -32600, -32601, -32603
HEADERS, UNSUPPORTED = -32020, -32022  # of revision 2026-07-28
NAMED: Final = {"tools/call": "name", "resources/read": "uri"}  # what the header mcp-name repeats


class McpRoutes:
    """origins: of web pages that may ask; a page of any other is refused, whatever name it reached this server by."""

    def __init__(self, shelf: Shelf, origins: frozenset[str]) -> None:
        self._origins = origins
        self._methods = {
            "ping": shelf.nothing,
            "tools/list": shelf.tools,
            "tools/call": shelf.call,
            "resources/list": shelf.list,
            "resources/templates/list": shelf.templates,
            "resources/read": shelf.read,
        }

    async def post(self, call: Call) -> None:
        """POST /mcp: one JSON-RPC message."""
        origin = call.headers.get("origin")
        if origin is not None and origin not in self._origins and "*" not in self._origins:
            error = TidewireError(f"pages of {origin[:200]!r} may not ask here; server.origins names those that may")
            error.status = 403
            raise error
        try:
            message = msgspec.json.decode(await call.body())
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as wrong:
            await call.json(_failed(None, PARSE, f"the body is no JSON: {wrong}"), 400)
            return
        if not isinstance(message, dict) or message.get("jsonrpc") != "2.0" or not _asks(message):
            await call.json(_failed(None, INVALID, "the body must be one JSON-RPC 2.0 request or notification"), 400)
            return
        if "id" not in message:
            await call.reply(202, [])  # nothing that a client tells changes anything here
            return
        status, answer = await self._answer(call, message)
        await call.json(answer, status)

    async def _answer(self, call: Call, message: dict[str, Any]) -> tuple[int, dict[str, Any]]:
        number, method, params = message["id"], message["method"], message.get("params", {})
        meta = params.get("_meta")
        version = meta.get(VERSION) if isinstance(meta, dict) else None
        if version is not None:
            if version != MODERN:
                said = f"the revision {str(version)[:40]!r} is not spoken here; {MODERN} is"
                data = {"supported": [MODERN, *LEGACY], "requested": version}
                return 400, _failed(number, UNSUPPORTED, said, data)
            if wrong := _mismatch(call, method, params):
                return 400, _failed(number, HEADERS, wrong)
        elif (header := call.headers.get("mcp-protocol-version", LEGACY[0])) not in LEGACY and method != "initialize":
            return 400, _failed(number, INVALID, f"the revision {header[:40]!r} is not spoken; {LEGACY[0]} is")
        modern = version is not None
        if method == "initialize" and not modern:
            return 200, _done(number, _initialized(params))
        if method == "server/discover" and modern:
            found = {"supportedVersions": [MODERN, *LEGACY], "capabilities": CAPABILITIES, "instructions": ABOUT}
            return 200, _done(number, found | _marks())
        handle = self._methods.get(method)
        if handle is None:
            return 404 if modern else 200, _failed(number, UNKNOWN_METHOD, f"there is no method {method[:80]!r} here")
        try:
            result = await handle(call.tenant, params)
        except Refusal as refusal:
            return 200, _failed(number, refusal.code(modern=modern), str(refusal))
        except TidewireError as error:
            return 200, _failed(number, INTERNAL, error.message)
        return 200, _done(number, result | _marks() if modern else result)


SERVER: Final = {"name": "tidewire", "title": "Tidewire documents", "version": __version__}
CAPABILITIES: Final[dict[str, Any]] = {"tools": {}, "resources": {}}


def refused(info: ErrorInfo) -> bytes:
    """An error from before a message was read, as JSON-RPC says it."""
    return msgspec.json.encode(_failed(None, INVALID, info.message))


def _asks(message: dict[str, Any]) -> bool:
    number = message.get("id", 0)
    known = isinstance(number, str | int) and not isinstance(number, bool)
    return known and isinstance(message.get("method"), str) and isinstance(message.get("params", {}), dict)


def _initialized(params: dict[str, Any]) -> dict[str, Any]:
    asked = params.get("protocolVersion")
    version = asked if asked in LEGACY else LEGACY[0]
    return {"protocolVersion": version, "capabilities": CAPABILITIES, "serverInfo": SERVER, "instructions": ABOUT}


def _marks() -> dict[str, Any]:
    """What 2026-07-28 wants in a result: that it is whole, and that nobody keeps it: a document may be deleted at any time."""
    return {
        "resultType": "complete",
        "ttlMs": 0,
        "cacheScope": "private",
        "_meta": {"io.modelcontextprotocol/serverInfo": SERVER},
    }


def _mismatch(call: Call, method: str, params: dict[str, Any]) -> str:
    """What a header says otherwise than the body; "" where all agree."""
    expected = {"mcp-protocol-version": MODERN, "mcp-method": method}
    if method in NAMED:
        expected["mcp-name"] = params.get(NAMED[method], "")
    for name, value in expected.items():
        if _plain(call.headers.get(name, "")) != value:
            return f"the header {name} does not say what the body says"
    return ""


def _plain(value: str) -> str:
    """A header's value, which is in base64 where it could not stand in a header as it is."""
    if not (value.startswith("=?base64?") and value.endswith("?=")):
        return value
    try:
        return base64.b64decode(value[9:-2], validate=True).decode()
    except (binascii.Error, UnicodeDecodeError):
        return value


def _done(number: Any, result: dict[str, Any]) -> dict[str, Any]:
    return {"jsonrpc": "2.0", "id": number, "result": result}


def _failed(number: Any, code: int, message: str, data: Any = None) -> dict[str, Any]:
    error = {"code": code, "message": message} | ({} if data is None else {"data": data})
    return {"jsonrpc": "2.0", "id": number, "error": error}
