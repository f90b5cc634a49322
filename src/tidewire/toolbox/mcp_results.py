"""What an MCP server says, as tools and results that a model host takes. Servers are not trusted: sizes have limits."""

from __future__ import annotations

from typing import Any, Final

import msgspec

from tidewire.core.errors import SettingsError
from tidewire.core.request import Image, Tool
from tidewire.toolbox.names import valid
from tidewire.toolbox.port import ToolOutput, declared

DESCRIPTION: Final = 4096  # characters; every request carries them all
SCHEMA: Final = 64 * 1024  # bytes of one tool's schema


class Gone(Exception):
    """The session is over: another has to be begun. Its text is a clause, such as "it closed the session"."""


class Unreachable(Exception):
    """This one exchange failed on its way; the session stands."""


class Refused(Exception):
    """The server said no, or nothing that makes sense."""


def described(given: Any, where: str) -> Tool:
    """A tool as the server lists it (a Tool of the `mcp` package). Raises SettingsError for a schema that no host would take."""
    schema = given.input_schema or {}
    schema = schema if schema.get("type") is not None else {"type": "object", **schema}
    if len(msgspec.json.encode(schema)) > SCHEMA:
        raise SettingsError(f"{where}: the schema of a tool's arguments has more than {SCHEMA} bytes", param=where)
    text = given.description or given.title or None
    return declared(
        Tool(name=valid(given.name), description=text[:DESCRIPTION] if text else None, parameters=schema), where
    )


def output(result: Any, limit: int) -> ToolOutput:
    """A CallToolResult of the `mcp` package. limit: bytes of its text.

    Structured content is the text where the server gave no other, which it should as JSON. What a model cannot be shown is named in its place.
    """
    texts: list[str] = []
    images: list[Image] = []
    for block in result.content:
        _put(block, texts, images)
    if not texts and result.structured_content is not None:
        texts.append(msgspec.json.encode(result.structured_content).decode())
    text = "\n".join(texts)
    size = len(text.encode("utf-8", "replace"))
    if size > limit:
        return ToolOutput(
            f"the tool answered with {size} bytes of text; {limit} are allowed (result_bytes)", failed=True
        )
    return ToolOutput(
        text or ("the tool failed and did not say why" if result.is_error else ""), bool(result.is_error), images
    )


def _put(block: Any, texts: list[str], images: list[Image]) -> None:
    kind = block.type
    if kind == "text":
        texts.append(block.text)
    elif kind == "image":
        images.append(Image(url=f"data:{block.mime_type};base64,{block.data}"))
    elif kind == "audio":
        texts.append(f"[audio, {block.mime_type}, {len(block.data) * 3 // 4} bytes, which cannot be shown]")
    elif kind == "resource_link":
        said = f": {block.description}" if block.description else ""
        texts.append(f"[{block.title or block.name}]({block.uri}){said}")
    elif kind == "resource":
        inside = block.resource
        text, media = getattr(inside, "text", None), inside.mime_type or "application/octet-stream"
        if text is not None:
            texts.append(f"{inside.uri}:\n{text}")
        elif media.startswith("image/"):
            images.append(Image(url=f"data:{media};base64,{inside.blob}"))
        else:
            texts.append(f"[{inside.uri}, {media}, {len(inside.blob) * 3 // 4} bytes, which cannot be shown]")
