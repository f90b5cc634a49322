"""`tidewire ingest`."""
# ruff: noqa: D301 - click takes \b as it is

from __future__ import annotations

import asyncio
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

import click

from tidewire.cli.main import FAILED
from tidewire.cli.options import settings, settings_options
from tidewire.retrieval.index import Index
from tidewire.retrieval.ingest import Report
from tidewire.retrieval.ingest import ingest as bring_in

SHOWN: Final = 10  # files that were skipped and are named


@click.command(short_help="Index documents to answer from.")
@click.argument("path", type=click.Path(path_type=Path))
@settings_options
def ingest(path: Path, config: Path | None, data: str | None) -> None:
    """Index the file or folder PATH, so that answers can quote it. Again: only what changed is done, what is gone is removed.

    A server that runs on the same data folder sees it at once.

    \b
    Examples:
      tidewire ingest docs/
      tidewire ingest handbook.md --data /var/lib/tidewire

    \b
    Exit codes: 0 indexed, 1 nothing could be read at PATH, 2 wrong settings.
    """
    loaded = settings(config, data=data)
    report = asyncio.run(index_paths(loaded.settings.index_path, [path]))
    if report.indexed + report.unchanged == 0:
        click.echo(
            f"nothing in {str(path)!r} could be read; text, Markdown, reStructuredText, HTML, tables, JSON and source code can",
            err=True,
        )
        sys.exit(FAILED)


async def index_paths(index_path: Path, paths: Sequence[Path]) -> Report:
    """Index each path with a progress bar on standard error, and say what was done."""
    index = Index(index_path)
    total = Report()
    try:
        for path in paths:
            bar = _Bar(path.name or str(path))
            try:
                report = await bring_in(index, path, "default", bar)
            finally:
                bar.close()
            total.files += report.files
            total.indexed += report.indexed
            total.unchanged += report.unchanged
            total.removed += report.removed
            total.chunks += report.chunks
            total.seconds += report.seconds
            total.skipped = [*total.skipped, *report.skipped]
    finally:
        await index.close()
    say(total)
    return total


class _Bar:
    """A progress bar that begins when it is known how much there is to do."""

    def __init__(self, label: str) -> None:
        self._label = label
        self._bar: Any = None
        self._done = 0

    def __call__(self, done: int, total: int, name: str) -> None:
        if self._bar is None:
            self._bar = click.progressbar(length=total, label=f"Indexing {self._label}", file=sys.stderr)
            self._bar.__enter__()
        self._bar.update(done - self._done)
        self._done = done

    def close(self) -> None:
        if self._bar is not None:
            self._bar.__exit__(None, None, None)


def say(report: Report) -> None:
    """One line of what was done, and what could not be read."""
    click.echo(
        f"{report.indexed} files indexed ({report.chunks} passages), {report.unchanged} unchanged, {report.removed} removed, "
        f"{len(report.skipped)} skipped, in {report.seconds:.1f} s"
    )
    for name, why in report.skipped[:SHOWN]:
        click.echo(f"  {name}: {why}", err=True)
    if len(report.skipped) > SHOWN:
        click.echo(f"  and {len(report.skipped) - SHOWN} more", err=True)
