"""What an MCP server says, as tools and results that a model host takes. Servers are not trusted: names are made valid, sizes have limits."""

from __future__ import annotations

import hashlib
import re
from collections import Counter
from collections.abc import Collection, Iterable
from typing import Any, Final

import msgspec

from tidewire.core.errors import SettingsError
from tidewire.core.request import Image, Tool
from tidewire.toolbox.port import ToolOutput, declared

DESCRIPTION: Final = 4096  # characters; every request carries them all
SCHEMA: Final = 64 * 1024  # bytes of one tool's schema
LONGEST: Final = 64  # characters of a name, as hosts take them
_INVALID: Final = re.compile(r"[^A-Za-z0-9_-]")


class Gone(Exception):
    """The session is over: another has to be begun. Its text is a clause, such as "it closed the session"."""


class Unreachable(Exception):
    """This one exchange failed on its way; the session stands."""


class Refused(Exception):
    """The server said no, or nothing that makes sense."""


def valid(name: str) -> str:
    """The name with what hosts do not take replaced by _; a longer one is cut, and told apart by six digits of its hash."""
    said = _INVALID.sub("_", name) or "_"
    if len(said) <= LONGEST:
        return said
    return f"{said[: LONGEST - 7]}_{hashlib.sha256(name.encode('utf-8', 'replace')).hexdigest()[:6]}"


class Names:
    """What every tool server calls its tools: a name that two of them use is told apart by the server's own. fixed: those of other tools."""

    def __init__(self, fixed: Collection[str] = ()) -> None:
        self._fixed = frozenset(fixed)
        self._used: dict[str, list[str]] = {}
        self._given: dict[str, dict[str, str]] = {}

    def use(self, server: str, names: Iterable[str]) -> None:
        """All that this server has now, valid or not."""
        self._used[server] = list(names)
        self._given = {}
        servers = sorted(self._used)  # in whichever order they came up
        often = Counter(valid(own) for names in self._used.values() for own in names)
        taken = {name for name, times in often.items() if times == 1} | self._fixed
        for one in servers:
            out = self._given[one] = {}
            for own in self._used[one]:
                name = valid(own)
                if often[name] > 1 or name in self._fixed:
                    name = _free(f"{one}_{own}", taken)
                    taken.add(name)
                out[name] = own

    def given(self, server: str) -> dict[str, str]:
        """The name that the model reads -> the server's own. The same until some server's list changes."""
        return self._given.get(server, {})


def _free(name: str, taken: Collection[str]) -> str:
    said, again = valid(name), 1
    while said in taken:
        again += 1
        said = valid(f"{name}_{again}")
    return said


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
