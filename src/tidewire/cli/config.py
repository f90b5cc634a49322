"""`tidewire config`."""
# ruff: noqa: D301 - click takes \b as it is

from __future__ import annotations

import itertools
from pathlib import Path
from typing import Any

import click

from tidewire.cli.options import settings, settings_options
from tidewire.server.group import masked
from tidewire.server.reference import ANY, default_file, describe, table, toml
from tidewire.server.settings import Settings


@click.command(short_help="Show the settings in force and where they come from.")
@settings_options
@click.option("--changed", is_flag=True, help="Only those that are not defaults.")
@click.option(
    "--default", "print_default", is_flag=True, help="Print a tidewire.toml with every setting, to start from."
)
@click.option("--table", "print_table", is_flag=True, help="Print every setting as a Markdown table.")
def config(config: Path | None, data: str | None, changed: bool, print_default: bool, print_table: bool) -> None:
    """Show the settings in force, and where each comes from. Secrets are masked.

    \b
    Examples:
      tidewire config --changed
      tidewire config --default > tidewire.toml

    \b
    Exit codes: 0 the settings are valid, 2 they are not.
    """
    if print_default or print_table:
        click.echo(default_file() if print_default else table(), nl=False)
        return
    loaded = settings(config, data=data)
    if changed and not loaded.origins:
        click.echo("no setting was changed; without --changed all of them are shown", err=True)
    for path, value in effective(loaded.settings):
        origin = loaded.origins.get(path, "")
        if origin or not changed:
            click.echo(f"{path} = {toml(masked(path.rpartition('.')[2], value))}" + (f"  # {origin}" if origin else ""))


def effective(settings: Settings) -> list[tuple[str, Any]]:
    """Each setting's dotted path and value, those of every provider and route included."""
    paths: list[str] = []
    for head, group in itertools.groupby(describe(), lambda setting: setting.path.rpartition(".")[0]):
        named = [setting.path for setting in group]
        names = list(getattr(settings, head.partition(".")[0])) if ANY in head else [ANY]
        paths += [path.replace(ANY, name) for name in names for path in named]  # those of one name stand together
    return [(path, _value(settings, path)) for path in paths]


def _value(settings: Settings, path: str) -> Any:
    value: Any = settings
    for name in path.split("."):
        value = value[name] if isinstance(value, dict) else getattr(value, name)
    return value
