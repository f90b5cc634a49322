"""`tidewire mcp`: a server's `/mcp` over standard input and output, for programs that start their MCP servers themselves."""
# ruff: noqa: D301 - click takes \b as it is

from __future__ import annotations

import base64
import sys
from typing import Any, Final

import click
import httpx
import msgspec

from tidewire.cli.options import server_options

MODERN: Final = "io.modelcontextprotocol/protocolVersion"  # of a request's _meta; it begets headers over HTTP
TIMEOUT: Final = 60.0  # seconds of one request
FAILED: Final = -32603


@click.command(short_help="Offer the documents to an MCP client over standard input and output.")
@server_options
def mcp(url: str | None, key: str | None) -> None:
    """Offer a running server's documents to an MCP client, over standard input and output.

    \b
    Examples:
      tidewire mcp
      tidewire mcp --url https://tidewire.example.com

    \b
    Exit codes: 0 the client closed its end.
    """
    address = (url or "http://127.0.0.1:8400").rstrip("/") + "/mcp"
    headers = {"authorization": f"Bearer {key}"} if key else {}
    with httpx.Client(headers=headers, timeout=TIMEOUT, trust_env=False) as client:
        for line in sys.stdin.buffer:
            if line.strip() and (answer := _asked(client, address, line)):
                sys.stdout.buffer.write(answer + b"\n")
                sys.stdout.buffer.flush()


def _asked(client: httpx.Client, address: str, line: bytes) -> bytes:
    """One message's answer, on one line; b"" for a notification's."""
    try:
        message = msgspec.json.decode(line)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        message = None  # the server says what is wrong with it
    try:
        response = client.post(address, content=line, headers=_headers(message))
    except httpx.HTTPError as error:
        click.echo(f"tidewire mcp: {address}: {error}", err=True)
        return _failed(message, f"no answer from {address} ({type(error).__name__})")
    if response.status_code == 202:
        return b""
    try:
        answer = msgspec.json.decode(response.content)
        if answer["id"] is None:  # refused before the message was read
            return _failed(message, answer["error"]["message"])
    except (msgspec.DecodeError, UnicodeDecodeError, KeyError, TypeError):
        return _failed(message, f"{address} answered with status {response.status_code} and no MCP message")
    return msgspec.json.encode(answer)


def _headers(message: Any) -> dict[str, str]:
    """What 2026-07-28 wants said in headers, too."""
    headers = {"content-type": "application/json", "accept": "application/json, text/event-stream"}
    params = message.get("params") if isinstance(message, dict) else None
    if not isinstance(params, dict):
        return headers
    meta = params.get("_meta")
    if not isinstance(meta, dict) or MODERN not in meta:
        return headers
    headers["mcp-protocol-version"] = _plain(meta[MODERN])
    headers["mcp-method"] = _plain(message.get("method"))
    if name := params.get("name") or params.get("uri"):
        headers["mcp-name"] = _plain(name)
    return headers


def _plain(value: Any) -> str:
    text = str(value)
    if text.isascii() and text.isprintable() and text == text.strip():
        return text
    return f"=?base64?{base64.b64encode(text.encode()).decode()}?="


def _failed(message: Any, said: str) -> bytes:
    """b"" where nobody waits for an answer."""
    if isinstance(message, dict) and "id" not in message:
        return b""
    number = message.get("id") if isinstance(message, dict) else None
    return msgspec.json.encode({"jsonrpc": "2.0", "id": number, "error": {"code": FAILED, "message": said}})
