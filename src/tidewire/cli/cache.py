"""`tidewire cache`: the answers that are kept."""
# ruff: noqa: D301 - click takes \b as it is

from __future__ import annotations

import click

from tidewire.cli.options import server_options
from tidewire.client import Tidewire


@click.command(short_help="Count the answers that are kept, or forget them.")
@click.option("--clear", is_flag=True, help="Forget them all.")
@server_options
def cache(clear: bool, url: str | None, key: str | None) -> None:
    """Count the answers that the server keeps for you, or forget them. `[cache]` in the settings says which are kept.

    \b
    Examples:
      tidewire cache
      tidewire cache --clear

    \b
    Exit codes: 0 done, 1 refused, 3 no server reached.
    """
    with Tidewire(url, key) as client:
        if clear:
            click.echo(f"{client.forget()} answers forgotten")
        else:
            answers, size = client.kept()
            click.echo(f"{answers} answers kept, {size} bytes")
