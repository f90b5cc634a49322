"""An answer on a terminal: text and sources on standard output, everything else on standard error."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Mapping
from types import MappingProxyType
from typing import Final

import click

from tidewire.core.events import (
    AnyEvent,
    Attempt,
    Blob,
    Citation,
    Closed,
    Delta,
    Edit,
    Notice,
    PartEnded,
    PartStarted,
    Progress,
    Superseded,
    edit,
)

# What a model or a document says must not drive the terminal: control characters are left out, but tab and line feed.
_HARMLESS: Final = dict.fromkeys([*(set(range(0x20)) - {0x09, 0x0A}), 0x7F, *range(0x80, 0xA0)])


def harmless(text: str) -> str:
    """The text without control characters."""
    return text.translate(_HARMLESS)


class Screen:
    """Paints events as they come. seq: of the last one painted. closed: the last event of the stream, once painted.

    A text that was edited is shown again at its end: lines that have scrolled away cannot be changed.
    """

    def __init__(self, *, stats: bool = False) -> None:
        self.seq = 0
        self.closed: Closed | None = None
        self._stats = stats
        self._kinds: dict[int, str] = {}
        self._texts: dict[int, list[str]] = {}
        self._edited: set[int] = set()
        self._citations: list[Citation] = []
        self._superseded: dict[str, str] = {}  # documents that changed meanwhile
        self._live = sys.stderr.isatty()
        self._status = False  # a line that the next output wipes
        self._fresh = True  # standard output is at the beginning of a line
        self._thinking = False  # standard error is in the middle of a thought

    def paint(self, events: Iterable[AnyEvent]) -> None:
        for event in events:
            self.seq = event.seq
            self._paint(event)

    def _paint(self, event: AnyEvent) -> None:
        match event:
            case Delta(part=part, text=text):
                if part in self._texts:
                    self._texts[part].append(text)
                self._say(self._kinds.get(part, "text"), text)
            case Edit(part=part) if part in self._texts:
                edit(self._texts[part], event)
                self._edited.add(part)
            case Progress(stage=stage, detail=detail):
                self._tell(f"{stage}: {harmless(detail)}" if detail else stage)
            case PartStarted(part=part, kind=kind, name=name):
                self._kinds[part] = kind
                if kind == "text":
                    self._texts[part] = []
                if kind == "tool_call":
                    self.remark(f"asks for the tool {harmless(name or '')}")
                elif kind == "server_call":
                    self.remark(f"the server runs its tool {harmless(name or '')}")
            case PartEnded(part=part) if self._kinds.get(part) == "thinking":
                self._stop_thinking()
            case PartEnded(part=part) if part in self._edited:
                self.line()
                self.remark("the answer was edited, and reads now:")
                self._say("text", "".join(self._texts[part]))
            case Attempt(n=n, provider=provider, reason=reason) if n > 1:
                self.remark(f"attempt {n}, at {provider} ({reason})")
            case Citation():
                self._citations.append(event)
            case Superseded(document=document, deleted=deleted):
                self._superseded[document] = "deleted since" if deleted else "superseded"
            case Blob(part=part, data=data, partial=False):
                self.remark(f"{self._kinds.get(part, 'bytes')}: {len(data):,} bytes, which the console shows")
            case Notice(message=message):
                self.remark(harmless(message))
            case Closed():
                self._end(event)

    def remark(self, text: str) -> None:
        """A line on standard error."""
        self._wipe()
        self._stop_thinking()
        self.line()
        click.secho(text, err=True, dim=True)

    def line(self) -> None:
        """End the line of text, if one has begun."""
        if not self._fresh:
            click.echo()
            self._fresh = True

    def _say(self, kind: str, text: str) -> None:
        self._wipe()
        text = harmless(text)
        if kind in ("text", "refusal") and text:
            self._stop_thinking()
            click.echo(text, nl=False)
            sys.stdout.flush()
            self._fresh = text.endswith("\n")
        elif kind == "thinking" and text:
            click.secho(text, err=True, dim=True, nl=False)
            self._thinking = True

    def _stop_thinking(self) -> None:
        if self._thinking:
            click.echo(err=True)
            self._thinking = False

    def _tell(self, text: str) -> None:
        if not self._live:
            click.echo(text, err=True)
        elif self._fresh and not self._thinking:
            click.secho(f"\r\x1b[K{text[:100]} …", err=True, dim=True, nl=False)
            self._status = True

    def _wipe(self) -> None:
        if self._status:
            click.echo("\r\x1b[K", err=True, nl=False)
            self._status = False

    def _end(self, closed: Closed) -> None:
        self.closed = closed
        self._wipe()
        self._stop_thinking()
        self.line()
        for n, line in enumerate(sources(self._citations, self._superseded), 1):
            click.echo(f"{'' if n > 1 else chr(10)}[{n}] {line}")
        if closed.error is not None:
            click.secho(f"failed: {harmless(closed.error.message)}", err=True, fg="red")
        elif closed.status == "cancelled":
            self.remark(f"stopped ({closed.reason})")
        elif closed.status == "incomplete":
            self.remark(f"not complete ({closed.reason})")
        if self._stats:
            for line in figures(closed):
                click.secho(line, err=True, dim=True)


def sources(citations: Iterable[Citation], since: Mapping[str, str] = MappingProxyType({})) -> list[str]:
    """One line for each source, in the order in which they are first used. since: what became of some while the answer was written."""
    lines: dict[str, str] = {}
    for citation in citations:
        place = citation.uri or citation.source
        title = harmless(citation.title)
        lines.setdefault(citation.source, title if place == title else f"{title} ({harmless(place)})")
    return [f"{line} ({since[source]})" if source in since else line for source, line in lines.items()]


def figures(closed: Closed) -> list[str]:
    """First token, pace and counts on one line; then the waterfall, a line a span."""
    parts = []
    if closed.ttft is not None:
        parts.append(f"first token after {closed.ttft:.0f} ms")
    if closed.tokens_per_second is not None:
        parts.append(f"{closed.tokens_per_second:.1f} tokens/s")
    if closed.output_tokens is not None:
        parts.append(f"{closed.output_tokens} tokens")
    if closed.cost is not None:
        parts.append(f"{closed.cost:.6f} USD")
    if closed.reused is not None:
        parts.append("from the cache" if closed.reused == "cache" else "shared with an equal request")
    lines = [" · ".join(parts)] if parts else []
    width = max((len(span.name) for span in closed.spans), default=0)
    total = max((span.start + span.ms for span in closed.spans), default=0.0) or 1.0
    for span in closed.spans:
        before, length = round(30 * span.start / total), max(1, round(30 * span.ms / total))
        note = "" if span.source == "measured" else f" ({span.source})"
        lines.append(f"{span.name:{width}}  {' ' * before}{'█' * length}  {span.ms:.1f} ms{note}")
    return lines
