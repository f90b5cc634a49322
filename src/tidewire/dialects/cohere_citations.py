"""Cohere's citations, both ways. One of theirs may rest on several sources; each is a citation of ours."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final

import msgspec

from tidewire.core.events import Citation

PASSAGE: Final = 2000  # characters of a tool's output that are quoted
_WORDS: Final = ("text", "snippet", "content")


class RawSource(msgspec.Struct, gc=False):
    """type: "document" with `document`, or "tool" with `tool_output`; both are whatever fields the client gave."""

    type: str | None = None
    id: str | None = None
    document: dict[str, Any] | None = None
    tool_output: dict[str, Any] | None = None


class RawCitation(msgspec.Struct, gc=False):
    """start and end: characters of the content block that content_index names. type: TEXT_CONTENT, THINKING_CONTENT or PLAN."""

    start: int | None = None
    end: int | None = None
    text: str | None = None
    sources: list[RawSource] | None = None
    content_index: int | None = None
    type: str | None = None


def citations(raw: RawCitation, part: int) -> Iterator[Citation]:
    """Ours, one a source. A citation without offsets or sources says nothing that could be shown."""
    if raw.start is None or raw.end is None:
        return
    for source in raw.sources or ():
        fields = source.document or source.tool_output or {}
        name = source.id or _text(fields, "id")
        words = next((text for text in (_text(fields, word) for word in _WORDS) if text), "")
        if not words and source.tool_output:
            words = msgspec.json.encode(source.tool_output).decode()
        yield Citation(
            part=part,
            start=raw.start,
            end=raw.end,
            source=name,
            title=_text(fields, "title") or name,
            passage=words[:PASSAGE] if source.tool_output else words,
            uri=_text(fields, "url") or None,
        )


def written(event: Citation, said: str, block: int) -> dict[str, Any]:
    """A citation of ours as Cohere's. said: the text of its part so far; block: the index of that content."""
    document = {"id": event.source, "title": event.title, "text": event.passage}
    if event.uri is not None:
        document["url"] = event.uri
    return {
        "start": event.start,
        "end": event.end,
        "text": said[event.start : event.end],
        "sources": [{"type": "document", "id": event.source, "document": document}],
        "content_index": block,
        "type": "TEXT_CONTENT",
    }


def _text(fields: dict[str, Any], name: str) -> str:
    value = fields.get(name)
    return value if isinstance(value, str) else ""
