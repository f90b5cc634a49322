"""MCP without a transport: a message in, an answer out, in both revisions that clients speak.

2025-11-25 begins with `initialize`; in 2026-07-28 every request says which revision it is. Neither leaves anything here between two
messages.
"""

from __future__ import annotations

import logging
from typing import Any, Final

import msgspec

from tidewire import __version__
from tidewire.core.errors import TidewireError
from tidewire.doors.mcp_documents import Refusal, Shelf

log = logging.getLogger("tidewire.door")

LEGACY: Final = ("2025-11-25", "2025-06-18")
MODERN: Final = "2026-07-28"
VERSION: Final = "io.modelcontextprotocol/protocolVersion"  # of a request's _meta
ABOUT: Final = "Searches the documents of a Tidewire server. `search` finds passages; `fetch` gives a document whole."
PARSE, INVALID, UNKNOWN_METHOD, INTERNAL = -32700, -32600, -32601, -32603
UNSUPPORTED: Final = -32022  # of revision 2026-07-28
SERVER: Final = {"name": "tidewire", "title": "Tidewire documents", "version": __version__}
CAPABILITIES: Final[dict[str, Any]] = {"tools": {}, "resources": {}}

Message = dict[str, Any]


class Unreadable(Exception):
    """answer: what whoever sent it is told."""

    def __init__(self, code: int, said: str) -> None:
        super().__init__(said)
        self.answer = failed(None, code, said)


class Protocol:
    def __init__(self, shelf: Shelf) -> None:
        self._methods = {
            "ping": shelf.nothing,
            "tools/list": shelf.tools,
            "tools/call": shelf.call,
            "resources/list": shelf.list,
            "resources/templates/list": shelf.templates,
            "resources/read": shelf.read,
        }

    async def answer(self, tenant: str, message: Message) -> Message:
        """What a request is answered: a result or an error."""
        number, method, params = message["id"], message["method"], message.get("params", {})
        version = revision(params)
        modern = version is not None
        if version not in (None, MODERN):
            said = f"the revision {str(version)[:40]!r} is not spoken here; {MODERN} is"
            return failed(number, UNSUPPORTED, said, {"supported": [MODERN, *LEGACY], "requested": version})
        if method == "initialize" and not modern:
            return _done(number, _initialized(params))
        if method == "server/discover" and modern:
            found = {"supportedVersions": [MODERN, *LEGACY], "capabilities": CAPABILITIES, "instructions": ABOUT}
            return _done(number, found | _marks())
        handle = self._methods.get(method)
        if handle is None:
            return failed(number, UNKNOWN_METHOD, f"there is no method {method[:80]!r} here")
        try:
            result = await handle(tenant, params)
        except Refusal as refusal:
            return failed(number, refusal.code(modern=modern), str(refusal))
        except TidewireError as error:
            return failed(number, INTERNAL, error.message)
        except Exception:  # supervisor boundary: a defect costs this request only
            log.exception("a defect in an MCP method", extra={"method": method})
            return failed(number, INTERNAL, "something went wrong in the server; its log says what")
        return _done(number, result | _marks() if modern else result)


def read(raw: bytes) -> Message:
    """A request or a notification, which has no id. Raises Unreadable."""
    try:
        message = msgspec.json.decode(raw)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as wrong:
        raise Unreadable(PARSE, f"the message is no JSON: {wrong}") from None
    if not isinstance(message, dict) or message.get("jsonrpc") != "2.0" or not _asks(message):
        raise Unreadable(INVALID, "the message must be one JSON-RPC 2.0 request or notification")
    return message


def revision(params: Message) -> Any:
    """The revision that a request names in itself; None: it is of those that begin with `initialize`."""
    meta = params.get("_meta")
    return meta.get(VERSION) if isinstance(meta, dict) else None


def failed(number: Any, code: int, message: str, data: Any = None) -> Message:
    error = {"code": code, "message": message} | ({} if data is None else {"data": data})
    return {"jsonrpc": "2.0", "id": number, "error": error}


def _asks(message: Message) -> bool:
    number = message.get("id", 0)
    known = isinstance(number, str | int) and not isinstance(number, bool)
    return known and isinstance(message.get("method"), str) and isinstance(message.get("params", {}), dict)


def _initialized(params: Message) -> Message:
    asked = params.get("protocolVersion")
    version = asked if asked in LEGACY else LEGACY[0]
    return {"protocolVersion": version, "capabilities": CAPABILITIES, "serverInfo": SERVER, "instructions": ABOUT}


def _marks() -> Message:
    """What 2026-07-28 wants in a result: that it is whole, and that nobody keeps it: a document may be deleted at any time."""
    return {
        "resultType": "complete",
        "ttlMs": 0,
        "cacheScope": "private",
        "_meta": {"io.modelcontextprotocol/serverInfo": SERVER},
    }


def _done(number: Any, result: Message) -> Message:
    return {"jsonrpc": "2.0", "id": number, "result": result}
