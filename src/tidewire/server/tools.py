"""The kinds of tools that a configuration may name: [tools.NAME] becomes a toolset. A kind is a file in toolbox/, a test, and a line here."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

import msgspec

from tidewire.core.registry import Registry
from tidewire.server.tools_settings import Tools
from tidewire.toolbox import port
from tidewire.toolbox.function import FunctionTools
from tidewire.toolbox.names import Names
from tidewire.toolbox.port import Toolset
from tidewire.toolbox.threads import Threads


class Parts(msgspec.Struct, frozen=True):
    """What toolsets share. names: of tools that others named, so that no two are called the same."""

    names: Names
    threads: Threads


def function(name: str, given: Tools, terms: port.Terms, parts: Parts) -> Toolset:
    return FunctionTools(name, given.function, terms=terms, threads=parts.threads)


def openapi(name: str, given: Tools, terms: port.Terms, parts: Parts) -> Toolset:
    from tidewire.server.openapi import openapi_tools  # noqa: PLC0415 - httpx, which nobody else here needs

    return openapi_tools(name, given, terms, parts.names)


def mcp(name: str, given: Tools, terms: port.Terms, parts: Parts) -> Toolset:
    from tidewire.server.mcp import mcp_tools  # noqa: PLC0415 - an extra, and half a second

    return mcp_tools(name, given, terms, parts.names)


KINDS: Final = Registry("tool", "tidewire.tools", {"function": function, "openapi": openapi, "mcp": mcp})


def toolsets(given: Mapping[str, Tools], threads: Threads) -> list[Toolset]:
    """All that are configured, not yet started. Raises SettingsError that names the setting."""
    parts = shared(given, threads)
    return [toolset(name, one, parts) for name, one in given.items()]


def shared(given: Mapping[str, Tools], threads: Threads) -> Parts:
    return Parts(Names([name for name, one in given.items() if one.kind == "function"]), threads)


def toolset(name: str, given: Tools, parts: Parts) -> Toolset:
    made: Toolset = KINDS.find(given.kind)(name, given, terms(given), parts)
    return made


def terms(given: Tools) -> port.Terms:
    return port.Terms(
        timeout=given.timeout_s,
        idempotent=given.idempotent,
        retries=given.retries,
        result_bytes=given.result_bytes,
        models=given.models,
    )
