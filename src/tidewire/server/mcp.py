"""The settings of a tool server of kind "mcp" become its toolset."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from typing import Protocol

from tidewire.core.errors import SettingsError
from tidewire.toolbox.mcp import Local, McpTools, Remote, Revision
from tidewire.toolbox.names import Names
from tidewire.toolbox.port import Terms


class Given(Protocol):
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
    def headers(self) -> Mapping[str, str]: ...
    @property
    def api_key_env(self) -> str: ...
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
        passed = {key: _value(key, environ, f"{where}.env_names") for key in given.env_names}
        return McpTools(
            name,
            Local(given.command, {**passed, **given.env}, given.log_stderr),
            terms=terms,
            revision=given.revision,
            names=names,
        )
    if not given.url.startswith(("http://", "https://")):
        raise SettingsError(f"{where}.url is {given.url!r}; it begins with http:// or https://", param=f"{where}.url")
    headers = dict(given.headers)
    if given.api_key_env:
        headers["Authorization"] = f"Bearer {_value(given.api_key_env, environ, f'{where}.api_key_env')}"
    return McpTools(name, Remote(given.url, headers), terms=terms, revision=given.revision, names=names)


def _value(key: str, environ: Mapping[str, str], param: str) -> str:
    if not environ.get(key):
        raise SettingsError(f"{param} names {key}, which is not set in the environment", param=param)
    return environ[key]
