"""The settings of tools of kind "openapi" become their toolset."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from typing import Protocol

from tidewire.core.errors import SettingsError
from tidewire.server.tool_keys import Keyed, address, headers
from tidewire.toolbox.names import Names
from tidewire.toolbox.openapi import OpenApiTools, Service
from tidewire.toolbox.openapi_document import Choice
from tidewire.toolbox.port import Terms


class Given(Keyed, Protocol):
    """The fields of [tools.NAME] that are read here."""

    @property
    def document(self) -> str: ...
    @property
    def base_url(self) -> str: ...
    @property
    def include(self) -> Sequence[str]: ...
    @property
    def exclude(self) -> Sequence[str]: ...
    @property
    def writes(self) -> bool: ...


def openapi_tools(
    name: str, given: Given, terms: Terms, names: Names, environ: Mapping[str, str] = os.environ
) -> OpenApiTools:
    """names: shared by all tool servers. Raises SettingsError that names the setting."""
    where = f"tools.{name}"
    if not given.document:
        raise SettingsError(
            f"{where} of kind openapi needs document, a file or an address of an OpenAPI document",
            param=f"{where}.document",
        )
    base = address(given.base_url, f"{where}.base_url")
    if "?" in base or "#" in base or "@" in base:
        raise SettingsError(
            f"{where}.base_url is an address and a path alone; a key goes into headers or api_key_env",
            param=f"{where}.base_url",
        )
    service = Service(
        given.document,
        base,
        headers(where, given, environ),
        Choice(given.include, given.exclude, given.writes),
    )
    return OpenApiTools(name, service, terms=terms, names=names)
