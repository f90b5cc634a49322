"""`tidewire serve`."""
# ruff: noqa: D301, PLR0917 - click takes \b as it is, and flags as parameters

from __future__ import annotations

import functools
import threading
import webbrowser
from pathlib import Path

import click

from tidewire.cli.options import settings, settings_options
from tidewire.server import app


@click.command(short_help="Start the server.")
@click.option("--host", metavar="ADDRESS", help="Address to listen on (127.0.0.1).")
@click.option("--port", metavar="PORT", help="Port to listen on (8400); 0 takes a free one.")
@settings_options
@click.option(
    "--log-level", type=click.Choice(["debug", "info", "warning", "error"]), help="The least that is logged (info)."
)
@click.option(
    "--durability",
    type=click.Choice(["memory", "process", "disk"]),
    help="What an event that was sent survives (process).",
)
@click.option("--open-console", is_flag=True, help="Open the console in a browser once it answers.")
def serve(
    host: str | None,
    port: str | None,
    config: Path | None,
    data: str | None,
    log_level: str | None,
    durability: str | None,
    open_console: bool,
) -> None:
    """Start the server and keep it running until Ctrl-C or SIGTERM.

    Then no new question is taken, running answers may end (server.drain_s), and what is left is closed so that a
    client can read all that was sent. Beyond loopback it takes an API key (TIDEWIRE_API_KEY), or server.open = true.

    \b
    Examples:
      tidewire serve
      tidewire serve --port 8500 --data /var/lib/tidewire --durability disk
      TIDEWIRE_API_KEY=... tidewire serve --host 0.0.0.0

    \b
    Exit codes: 0 stopped as asked, 1 could not start, 2 wrong settings.
    """
    read = functools.partial(
        settings,
        config,
        server__host=host,
        server__port=port,
        data=data,
        logging__level=log_level,
        log__durability=durability,
    )
    loaded = read()
    source = (loaded.file, lambda: read().settings) if loaded.file is not None else None
    app.serve(loaded.settings, _open if open_console else None, source)


def _open(address: str) -> None:
    threading.Thread(target=webbrowser.open, args=(f"{address}/",), daemon=True).start()  # it may block for long
