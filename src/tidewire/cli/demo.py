"""`tidewire demo`: what `make demo` runs."""
# ruff: noqa: D301, PLR0917 - click takes \b as it is, and flags as parameters

from __future__ import annotations

import asyncio
import hashlib
import os
import shutil
import signal
import sys
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import Final

import click
import msgspec

import tidewire
from tidewire.cli.ingest import index_paths
from tidewire.cli.main import FAILED
from tidewire.cli.options import settings, settings_options
from tidewire.cli.ports import free, free_port
from tidewire.cli.screen import Screen
from tidewire.client import Tidewire
from tidewire.core.errors import SettingsError, TidewireError
from tidewire.core.ports import ModelInfo
from tidewire.retrieval.stores.sqlite import SqliteStore
from tidewire.retrieval.stores.sqlite_tables import NAME as DOCUMENTS
from tidewire.server import app
from tidewire.server.settings import Settings

OWN: Final = ("README.md", "ARCHITECTURE.md", "CONTRIBUTING.md", "docs", "spec")
FROM_DOCUMENTS: Final = (
    "extractive"  # the question is about the documents, which other models are shown only if the settings name them
)
OWN_QUESTION: Final = "How does a client resume a stream after a lost connection?"


@click.command(short_help="Index documents, start a server, ask one question, keep it running.")
@click.argument("docs", type=click.Path(path_type=Path, exists=True), required=False)
@click.option(
    "--port", type=click.IntRange(0, 65535), help="Port to listen on (8400, or a free one where that is taken)."
)
@click.option("--question", metavar="TEXT", help="What to ask.")
@click.option(
    "--once", is_flag=True, envvar="TIDEWIRE_DEMO_EXIT", help="Stop after the answer (or TIDEWIRE_DEMO_EXIT=1)."
)
@settings_options
def demo(
    docs: Path | None, port: int | None, question: str | None, once: bool, config: Path | None, data: str | None
) -> None:
    """Show the whole walk on this machine: the files in DOCS are indexed, a server starts on loopback, one answer is
    streamed here, and the console stays open in the browser until Ctrl-C.

    Without DOCS the project's own documents are used. No network, key or weights are needed; a model
    server on this machine, or a host whose key is in the environment, is offered beside the built-in model.

    \b
    Examples:
      tidewire demo
      tidewire demo ~/notes --question "What did we decide about backups?"

    \b
    Exit codes: 0 shown, 1 the question failed, 2 wrong usage or settings.
    """
    paths = [docs] if docs is not None else _own_documents()
    chosen = _settings(config, data, port, paths)
    asyncio.run(index_paths(chosen, paths))
    question = question or (asyncio.run(_question(Path(chosen.data))) if docs is not None else OWN_QUESTION)
    show = Show(chosen, question, once=once)
    app.serve(chosen, show.start)
    sys.exit(FAILED if show.failed else 0)


def _own_documents() -> list[Path]:
    """Those of the checkout, or their copies in the installed package."""
    package = Path(tidewire.__file__).parent
    root = package / "documents"
    if not root.is_dir():
        root = package.parents[1]
    found = [root / name for name in OWN if (root / name).exists()]
    if not found:
        raise click.UsageError("the project's own documents are not here; name a folder: tidewire demo DOCS")
    return found


def _settings(config: Path | None, data: str | None, port: int | None, paths: Sequence[Path]) -> Settings:
    """Loopback, quiet, a free port, and a data folder for just these documents."""
    loaded = settings(config, data=data, server__port=port)
    found = loaded.settings
    if not found.loopback:
        raise SettingsError(
            f"server.host is {found.server.host!r}; the demo only listens on loopback, `tidewire serve` elsewhere",
            param="server.host",
        )
    wanted = found.server.port
    if wanted and not free(found.server.host, wanted):
        if port is not None:
            raise SettingsError(f"port {wanted} is taken; leave --port out to get a free one", param="server.port")
        wanted = free_port(found.server.host)
        click.echo(f"Port {found.server.port} is taken; using {wanted}.", err=True)
    mark = hashlib.sha256("\n".join(str(path.resolve()) for path in paths).encode()).hexdigest()[:8]
    level = found.logging.level if "logging.level" in loaded.origins else "warning"
    return msgspec.structs.replace(
        found,
        data=str(Path(found.data) / f"demo-{mark}"),
        server=msgspec.structs.replace(found.server, port=wanted),
        retrieval=msgspec.structs.replace(found.retrieval, store="sqlite"),  # its documents are nobody else's
        logging=msgspec.structs.replace(found.logging, level=level),
    )


async def _question(data: Path) -> str:
    """A question that these documents can answer: about the title of the longest of them."""
    store = SqliteStore(data / DOCUMENTS)
    await store.start()
    try:
        documents = await store.documents("default", limit=1000)
    finally:
        await store.close()
    if not documents:
        raise click.UsageError("nothing in that folder could be read, so there is nothing to ask about")
    return f"What is {max(documents, key=lambda document: document.size).title} about?"


class Show:
    """Asks the question once the server listens, on a thread of its own; the server has the main one."""

    def __init__(self, settings: Settings, question: str, *, once: bool) -> None:
        self.failed = False
        self._settings = settings
        self._question = question
        self._once = once

    def start(self, address: str) -> None:
        """address: of the server that now listens."""
        threading.Thread(target=self._run, args=(address,), daemon=True).start()

    def _run(self, address: str) -> None:
        try:
            self._ask(address)
        except TidewireError as error:
            click.secho(f"\nThe question failed: {error.message}", err=True, fg="red")
            self.failed = True
        if self._once:
            os.kill(os.getpid(), signal.SIGTERM)  # the server's own way out
        else:
            click.secho(f"\nThe console is open at {address}/", bold=True)
            command = (
                sys.argv[0] if shutil.which("tidewire") is None else "tidewire"
            )  # make does not put it on the path
            click.echo(f'Ask more there, or with: {command} chat --url {address} "..."\nCtrl-C stops the server.')

    def _ask(self, address: str) -> None:
        with Tidewire(address, self._settings.server.api_key or None) as client:
            models = client.models()
            model = self._settings.models.default or FROM_DOCUMENTS
            click.echo(f"\n{_who(self._settings.models.aliases.get(model, model), models)}")
            click.secho(f"\n> {self._question}", bold=True)
            screen = Screen(stats=True)
            with client.stream(model, self._question) as answer:
                screen.paint(answer)
        self.failed = screen.closed is None or screen.closed.error is not None


def _who(name: str, models: Sequence[ModelInfo]) -> str:
    """Which model answers, why, and what else there is."""
    chosen = next((m for m in models if m.id == name), None)
    lines = [f"The model {name} answers." + (f" {chosen.note}" if chosen is not None and chosen.note else "")]
    others = [m for m in models if m is not chosen]
    if others:
        lines.append("Also on offer: " + "; ".join(f"{m.id} ({m.note or m.provider})" for m in others[:5]))
        lines.append("The option `-m NAME` of `chat` asks another; models.default in tidewire.toml chooses for good.")
    else:
        lines.append(
            "Nothing else is on offer: no model server was found on this machine, and no host answered whose key is set."
        )
    return "\n".join(lines)
