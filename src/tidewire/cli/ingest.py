"""`tidewire ingest`."""
# ruff: noqa: D301, PLR0917 - click takes \b as it is, and flags as parameters

from __future__ import annotations

import asyncio
import contextlib
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

import click

from tidewire.cli.main import FAILED, PARTIAL
from tidewire.cli.options import settings, settings_options
from tidewire.cli.screen import harmless
from tidewire.core.errors import TidewireError
from tidewire.retrieval.intake import Delivery, Report
from tidewire.retrieval.reading.dates import seconds
from tidewire.retrieval.remedies import remedy
from tidewire.retrieval.sources.folder import Choice, Folder
from tidewire.retrieval.sources.port import Source
from tidewire.retrieval.sources.web import Pages, Web
from tidewire.server.document_store import store_of
from tidewire.server.intake import intake_of
from tidewire.server.settings import Settings

SHOWN: Final = 10  # documents that were skipped and are named
EVERY: Final = 60.0  # seconds between two looks with --watch, where nothing tells of changes


@click.command(short_help="Index documents to answer from.")
@click.argument("place", metavar="PATH|URL")
@click.option("--namespace", default="default", show_default=True, help="Whose documents they are: the tenant.")
@click.option("--watch", is_flag=True, help="Stay, and follow what changes, until Ctrl-C.")
@click.option("--ttl", type=click.FloatRange(min=1), metavar="SECONDS", help="Serve them so long from their date on.")
@click.option("--published", metavar="DATE", help="Their date, as in 2024-05-06, instead of what they say.")
@click.option("--reader", "readers", multiple=True, metavar="GROUP", help="Only for this group; may be repeated.")
@click.option("--private", is_flag=True, help="Fetch from addresses that are not public, too.")
@settings_options
def ingest(
    place: str,
    namespace: str,
    watch: bool,
    ttl: float | None,
    published: str | None,
    readers: tuple[str, ...],
    private: bool,
    config: Path | None,
    data: str | None,
) -> None:
    """Index the file, folder or page at PATH or URL, so that answers can quote it. Again: only what changed is done, and
    what is gone from a folder is removed. A server that runs on the same data folder sees it at once.

    \b
    Examples:
      tidewire ingest docs/
      tidewire ingest handbook.pdf --data /var/lib/tidewire
      tidewire ingest https://example.org/prices --ttl 86400
      tidewire ingest notes/ --watch

    \b
    Exit codes: 0 all of it is indexed, 1 nothing could be read at PATH or URL, 2 wrong settings, 4 some
    documents could not be read. Files that hold no text, or are of a kind that is not read, do not count.
    """
    loaded = settings(config, data=data).settings
    when = seconds(published) if published is not None else None
    if published is not None and when is None:
        raise click.UsageError(f"--published is {published[:40]!r}; it must be a date such as 2024-05-06")
    report = asyncio.run(
        _ingest(
            loaded,
            [place],
            namespace=namespace,
            choice=Choice(readers=readers, published=when),
            ttl=ttl,
            watch=watch,
            private=private,
        )
    )
    if report.indexed + report.unchanged == 0:
        click.echo(f"nothing in {place!r} could be read; docs/ingest.md lists what can", err=True)
        sys.exit(FAILED)
    if report.unread:
        sys.exit(PARTIAL)


async def index_paths(given: Settings, paths: Sequence[Path]) -> Report:
    """Index each path with a progress bar on standard error, and say what was done."""
    return await _ingest(given, [str(path) for path in paths])


async def _ingest(
    given: Settings,
    places: Sequence[str],
    *,
    namespace: str = "default",
    choice: Choice | None = None,
    ttl: float | None = None,
    watch: bool = False,
    private: bool = False,
) -> Report:
    choice = choice or Choice()
    async with contextlib.AsyncExitStack() as stack:
        bounds = given.ingest
        store = store_of(given)
        await store.start()
        stack.push_async_callback(store.close)
        intake = intake_of(bounds, store)
        stack.push_async_callback(intake.reader.close)
        web = Web(largest=bounds.file_bytes, private=private or bounds.private)
        stack.push_async_callback(web.close)
        total = Report()
        for place in places:
            bar = _Bar(Path(place).name or place)
            source: Source
            if place.startswith(("http://", "https://")):
                source = Pages(web, [place], choice.readers, choice.published)
            else:
                source = Folder(place, choice, bar)
            stack.push_async_callback(source.close)
            delivery = Delivery(intake, namespace, ttl=ttl)
            try:
                await source.run(delivery)
            finally:
                _add(total, await delivery.end())
                bar.close()
        if total.removed:
            await store.compact()
        say(total)
        while watch:
            await source.wait(EVERY)
            await _look(source, Delivery(intake, namespace, ttl=ttl))
        return total


async def _look(source: Source, delivery: Delivery) -> None:
    """One more pass; what fails is said, and tried again."""
    try:
        await source.run(delivery)
    except TidewireError as error:
        click.echo(f"tidewire: {error.message}", err=True)
        await asyncio.sleep(1.0)
    report = await delivery.end()
    if report.indexed or report.removed:
        say(report)


def _add(total: Report, report: Report) -> None:
    for name in ("files", "indexed", "unchanged", "removed", "left_out", "unread", "chunks", "kept", "seconds"):
        setattr(total, name, getattr(total, name) + getattr(report, name))
    total.skipped = [*total.skipped, *report.skipped]
    total.suspicious = [*total.suspicious, *report.suspicious]


class _Bar:
    """A progress bar that begins when it is known how much there is to do."""

    def __init__(self, label: str) -> None:
        self._label = label
        self._bar: Any = None
        self._done = 0

    def __call__(self, done: int, total: int, name: str) -> None:
        if self._done == sys.maxsize:
            return
        if self._bar is None:
            self._bar = click.progressbar(length=total, label=f"Indexing {self._label}", file=sys.stderr)
            self._bar.__enter__()
        self._bar.update(max(0, done - self._done))
        self._done = max(done, self._done)

    def close(self) -> None:
        self._done = sys.maxsize  # a later pass has no bar
        if self._bar is not None:
            self._bar.__exit__(None, None, None)


def say(report: Report) -> None:
    """One line of what was done, and what could not be read."""
    click.echo(
        f"{report.indexed} files indexed ({report.chunks} passages), {report.unchanged} unchanged, {report.removed} removed, "
        f"{report.left_out} skipped, in {report.seconds:.1f} s"
    )
    for name, why in report.skipped[:SHOWN]:
        click.echo(harmless(f"  {name}: {why}. {remedy(why)}".rstrip(". ")), err=True)
    if report.left_out > SHOWN:
        click.echo(f"  and {report.left_out - SHOWN} more", err=True)
    for name, phrase in report.suspicious[:SHOWN]:
        click.echo(harmless(f"  {name} speaks to a model: {phrase!r}; it is kept as data"), err=True)
