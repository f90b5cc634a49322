"""`tidewire mcp`: documents for programs that start their MCP servers themselves, over standard input and output."""
# ruff: noqa: D301 - click takes \b as it is

from __future__ import annotations

import asyncio
import base64
import contextlib
import functools
import sys
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any, Final

import click
import httpx
import msgspec

from tidewire.cli.options import settings, settings_options
from tidewire.doors.mcp_protocol import INTERNAL, Message, failed, revision
from tidewire.doors.mcp_stdio import Ask, Lines
from tidewire.server.reading_room import reading_room
from tidewire.server.settings import Settings
from tidewire.telemetry import logs

TIMEOUT: Final = 60.0  # seconds of one request
Serve = Callable[[Ask], Awaitable[None]]
TENANT: Final = "default"  # whose documents they are where there is no server to say


@click.command(short_help="Offer the documents to an MCP client over standard input and output.")
@click.option("--url", envvar="TIDEWIRE_URL", metavar="URL", help="Ask this server (or TIDEWIRE_URL).")
@click.option("--key", envvar="TIDEWIRE_API_KEY", metavar="KEY", help="API key of the server (or TIDEWIRE_API_KEY).")
@settings_options
def mcp(url: str | None, key: str | None, config: Path | None, data: str | None) -> None:
    """Offer documents to an MCP client, over standard input and output: those of the data folder, or with --url those of a
    server that runs.

    \b
    Examples:
      tidewire mcp --data /home/me/notes/.tidewire
      tidewire mcp --url https://tidewire.example.com

    \b
    Exit codes: 0 the client closed its end, 1 the documents could not be opened, 2 wrong usage or settings.
    """
    if url and (config or data):
        raise click.UsageError(
            "--url (or TIDEWIRE_URL) asks a server, --data and --config open the documents here; give one of them"
        )
    given, out = sys.stdin.buffer, sys.stdout.buffer
    work = (
        functools.partial(_bridge, url, key) if url else functools.partial(_here, settings(config, data=data).settings)
    )
    with contextlib.redirect_stdout(sys.stderr):  # standard output is the protocol's alone
        asyncio.run(work(lambda ask: Lines(ask, given, out).serve()))


async def _here(given: Settings, serve: Serve) -> None:
    logs.setup(given.logging.level, given.logging.format)
    async with reading_room(given) as protocol:

        async def ask(message: Message) -> Message | None:
            return await protocol.answer(TENANT, message) if "id" in message else None

        await serve(ask)


async def _bridge(url: str, key: str | None, serve: Serve) -> None:
    address = url.rstrip("/") + "/mcp"
    headers = {"authorization": f"Bearer {key}"} if key else {}
    limits = httpx.Limits(max_connections=None)  # as many as there are requests, which are bounded
    async with httpx.AsyncClient(headers=headers, timeout=TIMEOUT, trust_env=False, limits=limits) as client:
        await serve(functools.partial(_asked, client, address))


async def _asked(client: httpx.AsyncClient, address: str, message: Message) -> Message | None:
    """A request that is cancelled closes its connection, by which the server knows."""
    try:
        response: httpx.Response | None = await client.post(
            address, content=msgspec.json.encode(message), headers=_headers(message)
        )
    except httpx.HTTPError as error:
        click.echo(f"tidewire mcp: {address}: {error}", err=True)
        response = None
    if (number := message.get("id")) is None:
        return None
    if response is None:
        return failed(number, INTERNAL, f"no answer from {address}")
    try:
        answer: Message = msgspec.json.decode(response.content, type=dict[str, Any])
        if answer["id"] is None:  # refused before the message was read
            return failed(number, INTERNAL, answer["error"]["message"])
    except (msgspec.DecodeError, UnicodeDecodeError, KeyError, TypeError):
        return failed(number, INTERNAL, f"{address} answered with status {response.status_code} and no MCP message")
    return answer


def _headers(message: Message) -> dict[str, str]:
    """What 2026-07-28 wants said in headers, too."""
    headers = {"content-type": "application/json", "accept": "application/json, text/event-stream"}
    params = message.get("params", {})
    version = revision(params)
    if version is None:
        return headers
    headers["mcp-protocol-version"] = _plain(version)
    headers["mcp-method"] = _plain(message["method"])
    if name := params.get("name") or params.get("uri"):
        headers["mcp-name"] = _plain(name)
    return headers


def _plain(value: Any) -> str:
    text = str(value)
    if text.isascii() and text.isprintable() and text == text.strip():
        return text
    return f"=?base64?{base64.b64encode(text.encode()).decode()}?="
