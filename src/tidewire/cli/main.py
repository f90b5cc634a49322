"""The command line: its commands by name, and the one place where an error becomes a message and an exit code."""
# ruff: noqa: D301 - click takes \b as it is

from __future__ import annotations

import importlib
from typing import Any, Final

import click

import tidewire
from tidewire.core.errors import SettingsError, TidewireError

# Loaded when asked for: `tidewire serve` needs no HTTP client, `tidewire chat` no server.
COMMANDS: Final = {
    "demo": "tidewire.cli.demo:demo",
    "serve": "tidewire.cli.serve:serve",
    "chat": "tidewire.cli.chat:chat",
    "ingest": "tidewire.cli.ingest:ingest",
    "documents": "tidewire.cli.documents:documents",
    "follow": "tidewire.cli.streams:follow",
    "cancel": "tidewire.cli.streams:cancel",
    "models": "tidewire.cli.streams:models",
    "mcp": "tidewire.cli.mcp:mcp",
    "cache": "tidewire.cli.cache:cache",
    "doctor": "tidewire.cli.doctor:doctor",
    "config": "tidewire.cli.config:config",
}
FAILED: Final = 1
MISUSED: Final = 2
UNREACHABLE: Final = 3
PARTIAL: Final = 4
STOPPED: Final = 130  # 128 + SIGINT, as shells count


class Commands(click.Group):
    """Turns errors of our tree into one line on standard error; anything else is a defect and keeps its traceback."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in COMMANDS:
            return None
        module, _, name = COMMANDS[cmd_name].partition(":")
        command: click.Command = getattr(importlib.import_module(module), name)
        return command

    def invoke(self, ctx: click.Context) -> Any:
        try:
            return super().invoke(ctx)
        except TidewireError as error:
            click.echo(f"tidewire: {error.message}", err=True)
            if error.kind == "connection_lost":
                click.echo("Is a server running? `tidewire serve` starts one; --url names another.", err=True)
            elif error.kind == "unauthorized":
                click.echo("Give it with --key, or set TIDEWIRE_API_KEY.", err=True)
            ctx.exit(code(error))
        except KeyboardInterrupt:
            click.echo(err=True)
            ctx.exit(STOPPED)


def code(error: TidewireError) -> int:
    """The exit code for an error."""
    if isinstance(error, SettingsError):
        return MISUSED
    return UNREACHABLE if error.kind == "connection_lost" else FAILED


@click.group(cls=Commands, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.version_option(tidewire.__version__, prog_name="tidewire")
def main() -> None:
    """Live AI answers as durable streams: each is numbered, can be stopped, and resumes where it broke off.

    \b
    First steps:
      tidewire demo                      index the documents, start a server, ask one question
      tidewire serve                     start the server on http://127.0.0.1:8400
      tidewire ingest docs/              let it answer from your documents
      tidewire chat "How do I resume?"   ask it
      tidewire doctor                    find out what is missing

    \b
    Settings come from tidewire.toml, the environment (TIDEWIRE_SERVER__PORT=8500) and flags; the last one
    counts. `tidewire config` shows those in force and where each comes from.

    \b
    Exit codes: 0 done, 1 failed, 2 wrong usage or settings, 3 no server reached, 4 done in part,
    130 stopped by Ctrl-C.
    """
