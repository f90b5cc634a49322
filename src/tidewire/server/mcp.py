"""The settings of a tool server of kind "mcp" become its toolset."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from typing import Protocol

from tidewire.core.errors import SettingsError
from tidewire.server.tool_keys import Keyed, address, headers, value
from tidewire.toolbox.mcp import Local, McpTools, Remote, Revision
from tidewire.toolbox.names import Names
from tidewire.toolbox.port import Terms


class Given(Keyed, Protocol):
    """The fields of [tools.NAME] that are read here."""

    @property
    def command(self) -> Sequence[str]: ...
    @property
    def env(self) -> Mapping[str, str]: ...
    @property
    def env_names(self) -> Sequence[str]: ...
    @property
    def log_stderr(self) -> bool: ...
    @property
    def url(self) -> str: ...
    @property
    def revision(self) -> Revision: ...


def mcp_tools(name: str, given: Given, terms: Terms, names: Names, environ: Mapping[str, str] = os.environ) -> McpTools:
    """names: shared by all servers of this kind. Raises SettingsError that names the setting."""
    where = f"tools.{name}"
    if bool(given.command) == bool(given.url):
        raise SettingsError(
            f"{where} of kind mcp needs command (a program here) or url (a server elsewhere), one of the two",
            param=f"{where}.command",
        )
    if given.command:
        passed = {key: value(key, environ, f"{where}.env_names") for key in given.env_names}
        return McpTools(
            name,
            Local(given.command, {**passed, **given.env}, given.log_stderr),
            terms=terms,
            revision=given.revision,
            names=names,
        )
    there = Remote(address(given.url, f"{where}.url"), headers(where, given, environ))
    return McpTools(name, there, terms=terms, revision=given.revision, names=names)
