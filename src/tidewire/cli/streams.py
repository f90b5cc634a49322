"""`tidewire follow`, `tidewire cancel` and `tidewire models`: what concerns streams that exist."""
# ruff: noqa: D301, PLR0917 - click takes \b as it is, and flags as parameters

from __future__ import annotations

import sys

import click

from tidewire.cli.main import FAILED, STOPPED
from tidewire.cli.options import server_options
from tidewire.cli.screen import Screen
from tidewire.client import Tidewire
from tidewire.core.events import encode


@click.command(short_help="Read a stream, from the beginning or from a cursor.")
@click.argument("stream", metavar="ID")
@click.option(
    "--after", type=click.IntRange(min=0), default=0, help="Number of the last event already seen.", show_default=True
)
@click.option("--json", "as_json", is_flag=True, help="Print the events, one JSON object a line.")
@click.option("--stats", is_flag=True, help="Show time to first token, tokens/s and where the time went.")
@server_options
def follow(stream: str, after: int, as_json: bool, stats: bool, url: str | None, key: str | None) -> None:
    """Read stream ID to its end, while it is being written or afterwards.

    Ctrl-C stops the reading, not the stream; `tidewire cancel ID` stops the stream.

    \b
    Examples:
      tidewire follow s_4kG...
      tidewire follow s_4kG... --after 12 --json | jq .type

    \b
    Exit codes: 0 read to its end, 1 the answer failed or there is no such stream, 3 no server reached, 130 left by Ctrl-C.
    """
    screen = Screen(stats=stats)
    with Tidewire(url, key) as client, client.follow(stream, after) as answer:
        try:
            if as_json:
                for event in answer:
                    click.echo(encode(event))
            else:
                screen.paint(answer)
        except KeyboardInterrupt:
            click.echo(
                f"\nleft at event {answer.reading.cursor}; the stream goes on as its disconnect policy says", err=True
            )
            sys.exit(STOPPED)
    if answer.closed is not None and answer.closed.error is not None:
        sys.exit(FAILED)


@click.command(short_help="Stop a stream.")
@click.argument("stream", metavar="ID")
@server_options
def cancel(stream: str, url: str | None, key: str | None) -> None:
    """Stop stream ID: the model host is let go of at once. What was written stays readable.

    \b
    Example:
      tidewire cancel s_4kG...

    \b
    Exit codes: 0 stopped, or it had ended already; 1 there is no such stream; 3 no server reached.
    """
    with Tidewire(url, key) as client:
        click.echo("stopped" if client.cancel(stream) else "it had already ended")


@click.command(short_help="List the models on offer.")
@server_options
def models(url: str | None, key: str | None) -> None:
    """List the models that the server offers, and why each is there.

    \b
    Example:
      tidewire models

    \b
    Exit codes: 0 listed, 1 refused, 3 no server reached.
    """
    with Tidewire(url, key) as client:
        found = client.models()
    if not found:
        click.echo("no models on offer; `tidewire doctor` looks for the reason", err=True)
        sys.exit(FAILED)
    width = max(len(model.id) for model in found)
    for model in found:
        click.echo(f"{model.id:{width}}  {model.note or model.provider}")
