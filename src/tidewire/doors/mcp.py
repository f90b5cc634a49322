"""The documents of this server as an MCP server: streamable HTTP, an answer for each request, and no session to lose."""

from __future__ import annotations

import base64
import binascii
from typing import Final

import msgspec

from tidewire.core.events import ErrorInfo
from tidewire.doors.call import Call, foreign
from tidewire.doors.mcp_documents import Shelf
from tidewire.doors.mcp_protocol import (
    INVALID,
    LEGACY,
    MODERN,
    UNKNOWN_METHOD,
    UNSUPPORTED,
    Message,
    Protocol,
    Unreadable,
    failed,
    read,
    revision,
)

HEADERS: Final = -32020  # of revision 2026-07-28
NAMED: Final = {"tools/call": "name", "resources/read": "uri"}  # what the header mcp-name repeats
STATUSES: Final = {UNSUPPORTED: 400, UNKNOWN_METHOD: 404}  # of errors, as 2026-07-28 wants them


class McpRoutes:
    """origins: of web pages that may ask; a page of any other is refused, whatever name it reached this server by."""

    def __init__(self, shelf: Shelf, origins: frozenset[str]) -> None:
        self._protocol = Protocol(shelf)
        self._origins = origins

    async def post(self, call: Call) -> None:
        """POST /mcp: one JSON-RPC message. A client that leaves takes its request along."""
        origin = call.headers.get("origin")
        if origin is not None and origin not in self._origins and "*" not in self._origins:
            raise foreign(origin)
        try:
            message = read(await call.body())
        except Unreadable as wrong:
            await call.json(wrong.answer, 400)
            return
        if "id" not in message:
            await call.reply(202, [])  # nothing that a client tells changes anything here
            return
        if wrong_headers := _wrong(call, message):
            await call.json(wrong_headers, 400)
            return
        answer = await call.unless_gone(self._protocol.answer(call.tenant, message))
        modern = revision(message.get("params", {})) is not None
        code = answer["error"]["code"] if "error" in answer else 0
        await call.json(answer, STATUSES.get(code, 200) if modern else 200)


def refused(info: ErrorInfo) -> bytes:
    """An error from before a message was read, as JSON-RPC says it."""
    return msgspec.json.encode(failed(None, INVALID, info.message))


def _wrong(call: Call, message: Message) -> Message | None:
    """What is answered where a header says otherwise than the body."""
    method, params = message["method"], message.get("params", {})
    version = revision(params)
    if version is None:
        header = call.headers.get("mcp-protocol-version", LEGACY[0])
        if header in LEGACY or method == "initialize":
            return None
        return failed(message["id"], INVALID, f"the revision {header[:40]!r} is not spoken; {LEGACY[0]} is")
    if version != MODERN:
        return None
    expected = {"mcp-protocol-version": MODERN, "mcp-method": method}
    if method in NAMED:
        expected["mcp-name"] = params.get(NAMED[method], "")
    for name, value in expected.items():
        if _plain(call.headers.get(name, "")) != value:
            return failed(message["id"], HEADERS, f"the header {name} does not say what the body says")
    return None


def _plain(value: str) -> str:
    """A header's value, which is in base64 where it could not stand in a header as it is."""
    if not (value.startswith("=?base64?") and value.endswith("?=")):
        return value
    try:
        return base64.b64decode(value[9:-2], validate=True).decode()
    except (binascii.Error, UnicodeDecodeError):
        return value
