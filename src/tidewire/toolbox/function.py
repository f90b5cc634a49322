"""A Python function as a tool: what the model is told of it comes out of its type hints and its docstring."""

from __future__ import annotations

import asyncio
import functools
import importlib
import inspect
import re
import sys
import typing
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Annotated, Any, Final

import msgspec

from tidewire.core.errors import SettingsError
from tidewire.core.request import Tool
from tidewire.toolbox.port import CallContext, ServerTool, Terms, ToolOutput, declared
from tidewire.toolbox.threads import Threads

PLACE: Final = re.compile(r"[\w.]+:\w+\Z")
_ARGUMENT: Final = re.compile(r"(?::param )?(?:[\w\[\]., |]+ )?\*{0,2}(\w+)(?: \([^)]*\))?:\s*(.+)")
_SECTION: Final = re.compile(
    r"(args|arguments|parameters|params|returns?|raises|yields?|examples?|notes?):?\s*\Z", re.IGNORECASE
)


class FunctionTools:
    """`Toolset` of one function, and its `ServerTool`."""

    trouble = ""

    def __init__(self, name: str, place: str, *, terms: Terms = Terms(), threads: Threads) -> None:  # noqa: B008 - frozen
        """place: "package.module:name". Raises SettingsError for a function that cannot be had, or cannot be told to a model."""
        self.name = name
        self.terms = terms
        self._threads = threads
        where = f"tools.{name}"
        self._function = found(place, f"{where}.function")
        self._asynchronous = inspect.iscoroutinefunction(self._function)
        self._arguments, self._context = _signature(self._function, where)
        self.tool = declared(
            Tool(name=name, description=_described(self._function)[0] or None, parameters=_schema(self._arguments)),
            where,
        )

    async def start(self) -> None:
        """There is nothing to wait for."""

    def tools(self) -> Sequence[ServerTool]:
        return (self,)

    async def close(self) -> None:
        """There is nothing to let go of."""

    async def call(self, arguments: dict[str, Any], context: CallContext) -> ToolOutput:
        """ValueError and ToolFault say something to the model; whatever else the function raises does not."""
        try:
            given = msgspec.convert(arguments, self._arguments)
        except msgspec.ValidationError as wrong:
            return ToolOutput(f"the call was not made: {wrong}", failed=True)
        values = {field: getattr(given, field) for field in self._arguments.__struct_fields__}
        try:
            if self._asynchronous:
                if self._context:
                    values[self._context] = context
                return self._output(await self._function(**values))
            if self._context:
                values[self._context] = _from_a_thread(context)
            return await self._threads.run(self.name, lambda: self._output(self._function(**values)))
        except ValueError as wrong:
            return ToolOutput(f"{self.name} refused: {wrong}"[:2000], failed=True)

    def _output(self, value: Any) -> ToolOutput:
        if isinstance(value, ToolOutput):
            return value
        if isinstance(value, str):
            return ToolOutput(value)
        try:
            return ToolOutput(msgspec.json.encode(value).decode())
        except (TypeError, ValueError, RecursionError) as wrong:
            raise TypeError(f"{self.name} returned a {type(value).__name__}, which is no JSON: {wrong}") from None


def found(place: str, param: str) -> Callable[..., Any]:
    """The function at "package.module:name"; modules of the working directory are found, behind all others. Raises SettingsError."""
    if not PLACE.match(place):
        raise SettingsError(f'{param} is {place!r}; it must be a place such as "package.module:name"', param=param)
    here = str(Path.cwd())
    if here not in sys.path and "" not in sys.path:
        sys.path.append(here)
    module, _, name = place.partition(":")
    try:
        function = getattr(importlib.import_module(module), name)
    except Exception as error:  # supervisor boundary: the module is the user's own
        raise SettingsError(
            f"{param} is {place!r}, which cannot be imported: {type(error).__name__}: {error}", param=param
        ) from error
    if not inspect.isroutine(function):
        raise SettingsError(f"{param} is {place!r}, which is a {type(function).__name__} and no function", param=param)
    return function


def _signature(function: Callable[..., Any], where: str) -> tuple[type[msgspec.Struct], str]:
    """Its arguments as a struct, and the name of the one that takes the CallContext, or ""."""
    try:
        hints = typing.get_type_hints(function, include_extras=True)
    except Exception as error:  # noqa: BLE001 - supervisor boundary: hints are code, and may name what is not there
        raise SettingsError(f"{where}: the type hints cannot be read: {error}", param=where) from None
    texts = _described(function)[1]
    context = ""
    fields: list[Any] = []
    for parameter in inspect.signature(function).parameters.values():
        name = parameter.name
        if parameter.kind not in (parameter.POSITIONAL_OR_KEYWORD, parameter.KEYWORD_ONLY):
            raise SettingsError(
                f"{where}: the argument {name} has no name to call it by; take out *args, **kwargs and /", param=where
            )
        if name not in hints:
            raise SettingsError(f"{where}: the argument {name} has no type hint, which the model needs", param=where)
        if hints[name] is CallContext:
            context = name
            continue
        hint = Annotated[hints[name], msgspec.Meta(description=texts[name])] if name in texts else hints[name]
        default = parameter.default
        if default is parameter.empty:
            fields.append((name, hint))
        elif isinstance(default, list | dict | set | bytearray):
            fields.append((name, hint, msgspec.field(default_factory=functools.partial(type(default), default))))
        else:
            fields.append((name, hint, default))
    try:
        made = msgspec.defstruct(function.__name__, fields, kw_only=True, forbid_unknown_fields=True)
        _schema(made)
    except (TypeError, ValueError, RuntimeError) as error:
        why = str(error).rpartition("\n")[
            2
        ]  # before it may stand what the author of the schema could do, not of the function
        raise SettingsError(f"{where}: its arguments are no JSON: {why}", param=where) from None
    return made, context


def _schema(arguments: type[msgspec.Struct]) -> dict[str, Any]:
    (top,), parts = msgspec.json.schema_components((arguments,), ref_template="#/$defs/{name}")
    schema = parts.pop(top["$ref"].rpartition("/")[2])
    schema.pop("title", None)
    return {**schema, "$defs": parts} if parts else schema


def _described(function: Callable[..., Any]) -> tuple[str, dict[str, str]]:
    """What the docstring says of the function, and of each argument: under "Args:", or behind ":param name:"."""
    text: list[str] = []
    arguments: dict[str, str] = {}
    section, last = "", ""
    for line in inspect.cleandoc(function.__doc__ or "").splitlines():
        bare = line.strip()
        if header := _SECTION.match(bare):
            section, last = header[1].lower(), ""
        elif bare.startswith(":"):
            if bare.startswith(":param ") and (said := _ARGUMENT.match(bare)):
                arguments[said[1]] = said[2]
        elif section.startswith(("arg", "param")):
            if bare and (said := _ARGUMENT.match(bare)) and not (last and line.startswith(" " * 8)):
                last = said[1]
                arguments[last] = said[2]
            elif bare and last:
                arguments[last] += f" {bare}"
        elif not section:
            text.append(line)
    return "\n".join(text).strip(), arguments


def _from_a_thread(context: CallContext) -> CallContext:
    """The same, its progress safe to call from any thread."""
    loop = asyncio.get_running_loop()

    def progress(text: str) -> None:
        try:
            loop.call_soon_threadsafe(context.progress, text)
        except RuntimeError:
            return  # the event loop is closed: nobody reads

    return msgspec.structs.replace(context, progress=progress)
