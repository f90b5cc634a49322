"""What a tool is that this server runs itself: the shapes that its kinds (functions, HTTP operations, MCP servers) share."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from typing import Any, Final, Protocol

import msgspec

from tidewire.core.errors import SettingsError
from tidewire.core.request import Image, Tool

NAME: Final = re.compile(r"[A-Za-z0-9_-]{1,64}\Z")  # what every host takes as the name of a function
TYPES: Final = frozenset({"object", "array", "string", "number", "integer", "boolean", "null"})
DEPTH: Final = 64  # levels of a schema that are looked at; what lies deeper is refused


class ToolOutput(msgspec.Struct, frozen=True):
    """What a call came to. failed: it did not succeed, and text says why, in words for the model and its reader."""

    text: str
    failed: bool = False
    images: list[Image] = []


class CallContext(msgspec.Struct, frozen=True):
    """One call. key: the same for every try of this call and for no other (stream id and call id).

    deadline: seconds on the event loop's clock; the runner itself cancels the call then. progress: says to the client, in a few
    safe words, what is going on; from the event loop's thread only. asked_to_stop: whether the call is cancelled or over its time,
    for what runs in a thread and can only be told.
    """

    stream: str
    call: str
    key: str
    deadline: float
    progress: Callable[[str], None]
    asked_to_stop: Callable[[], bool]


class Terms(msgspec.Struct, frozen=True):
    """What the settings say of a tool. timeout: seconds for one try. idempotent: a try that failed may be made again, `retries` times.

    result_bytes: what its text may have in UTF-8. models: names as clients ask for them; none: all.
    """

    timeout: float = 30.0
    idempotent: bool = False
    retries: int = 1
    result_bytes: int = 256 * 1024
    models: Sequence[str] = ()


class ToolFault(Exception):
    """A try that failed in a way that another may not: the runner makes it again where the tool is idempotent. Else a failed output."""


class ServerTool(Protocol):
    """One function that the model may call, and the server runs."""

    @property
    def name(self) -> str:
        """As the model calls it: that of `tool`."""

    @property
    def tool(self) -> Tool:
        """What the model is told of it."""

    @property
    def terms(self) -> Terms: ...

    async def call(self, arguments: dict[str, Any], context: CallContext) -> ToolOutput:
        """Run it. A failure that the model should read is an output with `failed`; ToolFault is one that may be tried again.

        Any other exception is a defect: it goes into the server's log, and the model reads only that the tool failed. When the task
        is cancelled, what it holds (a connection, a process) is let go of before the cancellation leaves this call.
        """


class Toolset(Protocol):
    """What one [tools.NAME] brings: one tool or several."""

    name: str

    @property
    def trouble(self) -> str:
        """Why its tools cannot be called now, as a clause; "" where they can."""

    async def start(self) -> None:
        """Once, before the first request. Raises SettingsError for what can be known to be wrong at start."""

    def tools(self) -> Sequence[ServerTool]:
        """Its tools now; asked for each request, so cheap."""

    async def close(self) -> None: ...


def declared(tool: Tool, where: str) -> Tool:
    """The tool, if hosts can be told of it. Raises SettingsError that begins with `where`, such as "tools.weather"."""
    if not NAME.match(tool.name):
        raise SettingsError(
            f"{where}: {tool.name[:80]!r} is no name for a tool; take 1 to 64 of A-Z a-z 0-9 _ -", param=where
        )
    schema: Any = {} if tool.parameters is None else tool.parameters
    if not isinstance(schema, dict) or (schema and schema.get("type") != "object"):
        raise SettingsError(f"{where}: the schema of {tool.name}'s arguments is no schema of an object", param=where)
    problem = _problem(schema, "parameters", 0)
    if problem:
        raise SettingsError(f"{where}: the schema of {tool.name}'s arguments is invalid: {problem}", param=where)
    return tool


def _problem(schema: Any, at: str, depth: int) -> str:
    """The first thing that makes it no JSON schema, or "". Keywords unknown here are left to the host."""
    if isinstance(schema, bool):
        return ""
    if not isinstance(schema, dict):
        return f"{at} is no object"
    if depth > DEPTH:
        return f"{at} is nested more than {DEPTH} deep"
    kinds = schema.get("type", [])
    for kind in kinds if isinstance(kinds, list) else [kinds]:
        if not isinstance(kind, str) or kind not in TYPES:
            return f"{at}.type is {kind!r}, which is none of {', '.join(sorted(TYPES))}"
    if "enum" in schema and not (isinstance(schema["enum"], list) and schema["enum"]):
        return f"{at}.enum is no list with values"
    required = schema.get("required", [])
    if not (isinstance(required, list) and all(isinstance(name, str) for name in required)):
        return f"{at}.required is no list of names"
    for word in ("properties", "$defs", "definitions"):
        inside = schema.get(word, {})
        if not isinstance(inside, dict):
            return f"{at}.{word} is no object"
        for name, one in inside.items():
            if problem := _problem(one, f"{at}.{word}.{name}", depth + 1):
                return problem
    for word in ("anyOf", "oneOf", "allOf", "prefixItems"):
        several = schema.get(word, [])
        if not isinstance(several, list):
            return f"{at}.{word} is no list"
        for i, one in enumerate(several):
            if problem := _problem(one, f"{at}.{word}[{i}]", depth + 1):
                return problem
    for word in ("items", "additionalProperties", "not"):
        if word in schema and (problem := _problem(schema[word], f"{at}.{word}", depth + 1)):
            return problem
    return ""
