"""Flags that several commands share, and the settings and the client that they make."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import click

from tidewire.server.sources import Loaded, load

F = TypeVar("F", bound=Callable[..., Any])


def settings_options(command: F) -> F:
    """--config and --data."""
    command = click.option("--data", metavar="FOLDER", help="Folder for streams and index (.tidewire).")(command)
    return click.option(
        "--config",
        type=click.Path(path_type=Path),
        metavar="FILE",
        help="Settings file (./tidewire.toml where it exists).",
    )(command)


def server_options(command: F) -> F:
    """--url and --key of the server to talk to: that of the folder, where nothing else is said."""
    command = click.option(
        "--key", envvar="TIDEWIRE_API_KEY", metavar="KEY", help="API key of the server (or TIDEWIRE_API_KEY)."
    )(command)
    return click.option(
        "--url",
        envvar="TIDEWIRE_URL",
        default=here,
        metavar="URL",
        help="Server to ask (or TIDEWIRE_URL; else where this folder's settings say, http://127.0.0.1:8400).",
    )(command)


def here() -> str | None:
    """Where a server with the settings of this folder listens; None where they leave the port open. Raises SettingsError."""
    server = settings(None).settings.server
    if not server.port:
        return None
    host = "127.0.0.1" if server.host in ("0.0.0.0", "::") else server.host  # noqa: S104 - an address to ask, not to bind
    return f"{'https' if server.tls_cert else 'http'}://{f'[{host}]' if ':' in host else host}:{server.port}"


def settings(config: Path | None, **flags: Any) -> Loaded:
    """The settings in force. flags: dotted path, with __ for the dot; None means not given."""
    given = {name.replace("__", "."): value for name, value in flags.items()}
    return load(config, environ=os.environ, flags=given)
