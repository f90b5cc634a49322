"""One session with an MCP server, in our words: the only file that asks the `mcp` package for more than a transport.

The package speaks both revisions: it agrees on one, sends the headers and the metadata of each request, begins again behind a
Last-Event-ID, and cancels as the revision wants it. Importing it takes half a second, so this file is imported when a server starts.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from typing import Any, Final

from mcp import Client, MCPError
from mcp.client.streamable_http import streamable_http_client
from mcp.client.subscriptions import ListenNotSupportedError
from mcp.shared.dispatcher import ProgressFnT
from mcp_types import (
    CONNECTION_CLOSED,
    HEADER_MISMATCH,
    PARSE_ERROR,
    CallToolRequest,
    CallToolRequestParams,
    CallToolResult,
    Implementation,
    InputRequiredResult,
)
from pydantic import TypeAdapter, ValidationError

import tidewire
from tidewire.core.errors import SettingsError
from tidewire.core.request import Tool
from tidewire.toolbox.mcp_process import ServerProcess
from tidewire.toolbox.mcp_results import Gone, Refused, Unreachable, described, output
from tidewire.toolbox.mcp_web import UNREACHABLE, browser
from tidewire.toolbox.port import ToolOutput

__all__ = ["ServerProcess", "Session", "opened", "remote"]

log = logging.getLogger("tidewire.tools")

PAGES: Final = 100  # of a list of tools
TOOLS: Final = 512
AGAIN: Final = 60.0  # seconds until a server is asked once more to tell of changes
MODES: Final[Mapping[str, str]] = {"auto": "auto", "2025-11-25": "legacy", "2026-07-28": "2026-07-28"}
_result: TypeAdapter[Any] = TypeAdapter(CallToolResult | InputRequiredResult)


@contextlib.asynccontextmanager
async def remote(url: str, headers: Mapping[str, str], limit: int, deadline: float) -> AsyncIterator[Any]:
    """The transport to a server behind a URL. limit: bytes of one message."""
    async with (
        browser(headers, limit, deadline) as client,
        streamable_http_client(url, http_client=client, max_sse_event_size=limit) as streams,
    ):
        yield streams


@contextlib.asynccontextmanager
async def opened(transport: Any, revision: str, changed: Callable[[], None]) -> AsyncIterator[Session]:
    """changed: called when the server says that its tools are others now. Raises Gone, Refused or Unreachable, or what the transport raises."""

    async def heard(message: Any) -> None:
        if getattr(message, "method", "") == "notifications/tools/list_changed":
            changed()

    client = Client(
        transport,
        mode=MODES[revision],
        cache=None,
        client_info=Implementation(name="tidewire", version=tidewire.__version__),
        message_handler=heard,
    )
    async with contextlib.AsyncExitStack() as stack:
        with _translated():
            await stack.enter_async_context(client)
        listening = asyncio.create_task(_listen(client, changed))
        try:
            yield Session(client)
        finally:
            listening.cancel()
            await asyncio.gather(listening, return_exceptions=True)


class Session:
    """Its methods raise Gone, Refused and Unreachable, and no error of the package."""

    def __init__(self, client: Client) -> None:
        self._client = client

    @property
    def revision(self) -> str:
        return self._client.protocol_version

    async def tools(self, where: str) -> dict[str, Tool]:
        """By the server's own names; one with an invalid schema is left out, and the log says so."""
        listed: dict[str, Tool] = {}
        cursor = None
        with _translated():
            for _ in range(PAGES):
                page = await self._client.list_tools(cursor=cursor)
                for given in page.tools[: TOOLS - len(listed)]:
                    try:
                        listed.setdefault(given.name, described(given, where))
                    except SettingsError as error:
                        log.warning(error.message)
                cursor = page.next_cursor
                if not cursor or len(listed) >= TOOLS:
                    break
        return listed

    async def call(self, own: str, arguments: dict[str, Any], limit: int, report: ProgressFnT) -> ToolOutput:
        """limit: bytes of the result's text."""
        asked = CallToolRequest(params=CallToolRequestParams(name=own, arguments=arguments))
        ask = self._client.session.send_request
        # not client.call_tool: that holds a result against the server's own schema, whose patterns may take for ever
        with _translated():
            try:
                result = await ask(asked, _result, progress_callback=report)
            except MCPError as error:
                if error.code != HEADER_MISMATCH:
                    raise
                await self.tools("")  # what the headers say follows from the list, and the list has changed
                result = await ask(asked, _result, progress_callback=report)
        if isinstance(result, InputRequiredResult):
            raise Refused("it asks a person for more before it answers, and nobody can be asked")
        return output(result, limit)


async def _listen(client: Client, changed: Callable[[], None]) -> None:
    """From 2026-07-28 on, who wants to hear of changes asks for it. A server need not offer it: its list is looked at anyway."""
    while True:
        try:
            async with client.listen(tools_list_changed=True) as news:
                changed()  # perhaps; nobody told of what came before
                async for _ in news:
                    changed()
        except ListenNotSupportedError:
            return
        except Exception as error:  # noqa: BLE001 - supervisor boundary
            log.debug("a tool server does not tell of changes", extra={"error": error})
        await asyncio.sleep(AGAIN)


@contextlib.contextmanager
def _translated() -> Iterator[None]:
    try:
        yield
    except (MCPError, ValidationError, RecursionError, ExceptionGroup) as error:
        raise _ours(error) from None


def _ours(error: Exception) -> Exception:
    while isinstance(error, ExceptionGroup):  # what breaks a task group of the package
        error = error.exceptions[0]
    if isinstance(error, ValidationError | RecursionError):
        return Refused("its answer is not what the protocol says")
    if not isinstance(error, MCPError):
        return error
    message = str(error.message).strip()[:300]
    if error.code == CONNECTION_CLOSED and message == "Connection closed":
        return Gone("it closed the session")
    if message == "Session terminated":
        return Gone("it has forgotten the session")
    if error.code == PARSE_ERROR or message.startswith("SSE stream failed"):  # so does an event over the limit
        return Refused(f"its answer cannot be used: {message}")
    if error.code in (CONNECTION_CLOSED, UNREACHABLE):
        return Unreachable(message)
    return Refused(message or f"error {error.code}")
