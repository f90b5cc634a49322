"""`tidewire documents`: a server's documents listed, shown, searched, deleted, indexed again."""
# ruff: noqa: D301, PLR0917 - click takes \b as it is, and flags as parameters

from __future__ import annotations

import sys
import time
from datetime import UTC, datetime
from typing import Final

import click
import msgspec

from tidewire.cli.main import FAILED
from tidewire.cli.options import server_options
from tidewire.cli.screen import harmless
from tidewire.client import Tidewire
from tidewire.client import documents as asked

EVERY: Final = 0.3  # seconds between two looks at a job
SNIPPET: Final = 240  # characters of a passage


@click.group(name="documents", short_help="List, show, search, delete and index again.")
def documents() -> None:
    """The documents of a server that runs. `tidewire ingest` brings them in; the console shows them at /documents.

    \b
    Examples:
      tidewire documents list --source handbook
      tidewire documents search "how long is leave?"
      tidewire documents reindex --everything

    \b
    Exit codes: 0 done, 1 refused or not there, 3 no server reached.
    """


@documents.command(name="list", short_help="List them by place.")
@click.argument("words", nargs=-1)
@click.option("--source", metavar="NAME", help='Only what this source brought; "" is what was put by hand.')
@click.option(
    "--only", type=click.Choice(["pending", "expiring"]), help="Those that wait for vectors, or expire within a day."
)
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object a line.")
@server_options
def list_(
    words: tuple[str, ...], source: str | None, only: str | None, as_json: bool, url: str | None, key: str | None
) -> None:
    """List the documents whose title or place holds all WORDS.

    \b
    Example:
      tidewire documents list minutes 2026
    """
    with Tidewire(url, key) as client:
        after: str | None = ""
        none = True
        while after is not None:
            wanted = asked.listing(after=after, limit=500, source=source, like=" ".join(words), only=only or "all")
            page = asked.page(client.ask(wanted))
            after, none = page.after, none and not page.documents
            for one in page.documents:
                line = f"{one.id}  {_day(one.published)}  {one.title}  ({one.uri})"
                click.echo(_json(one) if as_json else harmless(line))
    if none:
        click.echo(
            "no document fits" if words or source is not None or only else "there are no documents yet", err=True
        )


@documents.command(short_help="Show one with its text.")
@click.argument("name", metavar="ID|PLACE")
@click.option("--json", "as_json", is_flag=True, help="Print it as JSON.")
@server_options
def show(name: str, as_json: bool, url: str | None, key: str | None) -> None:
    """What is known of a document, and its text.

    \b
    Example:
      tidewire documents show doc_2f0c...
    """
    with Tidewire(url, key) as client:
        one = asked.document(client.ask(asked.reading(name)))
    if as_json:
        click.echo(_json(one))
        return
    facts = {
        "id": one.id,
        "place": one.location,
        "source": one.source or "put by hand",
        "format": one.kind,
        "version": str(one.version),
        "published": _day(one.published),
        "indexed": _day(one.indexed),
        "expires": _day(one.expires) if one.expires is not None else "never",
        "read by": ", ".join(one.readers) or "everybody of the tenant",
        "passages": f"{one.chunks}" + (f", {one.pending} wait for vectors" if one.pending else ""),
    }
    click.echo(click.style(harmless(one.title), bold=True))
    for fact, value in facts.items():
        click.echo(harmless(f"{fact + ':':11}{value}"))
    click.echo(harmless(f"\n{one.text}"))


@documents.command(short_help="Search them, with the parts of each score.")
@click.argument("query")
@click.option("--limit", type=click.IntRange(1, 50), default=5, show_default=True, help="Passages wanted.")
@click.option("--group", "groups", multiple=True, metavar="GROUP", help="Search as a member of it; may be repeated.")
@click.option(
    "--source", "sources", multiple=True, metavar="NAME", help="Only what this source brought; may be repeated."
)
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object a line.")
@server_options
def search(
    query: str,
    limit: int,
    groups: tuple[str, ...],
    sources: tuple[str, ...],
    as_json: bool,
    url: str | None,
    key: str | None,
) -> None:
    """Find passages, best first, each with how it came to its place.

    \b
    Example:
      tidewire documents search "which ports are open?" --limit 3
    """
    with Tidewire(url, key) as client:
        found = asked.results(client.ask(asked.searching(query, limit=limit, groups=groups, sources=sources)))
    for one in found.passages:
        click.echo(_json(one) if as_json else _passage(one))
    for notice in found.notices:
        click.echo(f"done without: {notice}", err=True)
    if not found.passages:
        click.echo("nothing fits", err=True)


@documents.command(short_help="Delete for good.")
@click.argument("names", nargs=-1, required=True, metavar="ID|PLACE...")
@click.option("--yes", is_flag=True, help="Do not ask.")
@server_options
def delete(names: tuple[str, ...], yes: bool, url: str | None, key: str | None) -> None:
    """Delete documents: text, passages and vectors. A source that still holds one may bring it in again.

    \b
    Example:
      tidewire documents delete doc_2f0c... --yes
    """
    with Tidewire(url, key) as client:
        found = [asked.document(client.ask(asked.reading(name))) for name in names]
        if not yes:
            click.confirm(harmless(f"Delete {', '.join(one.title for one in found)}?"), abort=True)
        for one in found:
            client.ask(asked.deleting(one.id))
            click.echo(harmless(f"deleted {one.location}"))


@documents.command(short_help="Read, cut and embed anew.")
@click.argument("names", nargs=-1, metavar="[ID|PLACE...]")
@click.option("--source", metavar="NAME", help='All of this source; "" is what was put by hand.')
@click.option("--everything", is_flag=True, help="All there is.")
@server_options
def reindex(names: tuple[str, ...], source: str | None, everything: bool, url: str | None, key: str | None) -> None:
    """Index documents again, and wait for the end; Ctrl-C leaves, and the server goes on. The old passages serve meanwhile.

    \b
    Examples:
      tidewire documents reindex doc_2f0c...
      tidewire documents reindex --source handbook
      tidewire documents reindex --everything
    """
    if bool(names) + (source is not None) + everything != 1:
        raise click.UsageError("name documents, or give --source or --everything, and one of them")
    with Tidewire(url, key) as client:
        job: asked.Job | None = asked.begun(client.ask(asked.reindexing(documents=names, source=source)))
        while job is not None and job.status == "running":
            time.sleep(EVERY)
            job = asked.job(client.ask(asked.progress()))
            if job is not None and sys.stderr.isatty():
                click.echo(f"\r{job.done} of {job.total}", nl=False, err=True)
    if job is None:
        click.echo("the server has begun anew, and knows nothing of it", err=True)
        sys.exit(FAILED)
    click.echo(f"{job.done} documents indexed again, {len(job.failed)} left as they were")
    for name, why in job.failed:
        click.echo(harmless(f"  {name}: {why}"), err=True)
    if job.status != "done":
        click.echo(f"tidewire: {job.error or 'it was stopped'}", err=True)
        sys.exit(FAILED)


def _passage(one: asked.Passage) -> str:
    parts = one.parts
    score = " ".join(
        f"{name} {value:.2f}"
        for name, value in (
            ("words", parts.lexical),
            ("meaning", parts.dense),
            ("age", parts.recency),
            ("place", parts.lift),
            ("reranker", parts.rerank),
        )
        if value is not None
    )
    head = click.style(harmless(f"{one.score:.2f}  {one.heading or one.title}"), bold=True)
    text = " ".join(harmless(one.text).split())
    return f"{head}\n      {harmless(one.uri)}, {_day(one.published)}; {score}\n      {text[:SNIPPET]}{'...' if len(text) > SNIPPET else ''}"


def _day(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%d")


def _json(one: object) -> str:
    return msgspec.json.encode(one).decode()
