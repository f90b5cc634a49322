"""RSS and Atom as their items. Only in a process of its own (`reader.py`): it is a stranger's XML."""

from __future__ import annotations

import calendar
import io
from typing import Any

import msgspec

from tidewire.retrieval.reading.page import NotRead, printable


class Item(msgspec.Struct, frozen=True, array_like=True):
    """guid: its link, where it has none of its own. body: HTML, the full text where the feed has it, else its summary. published: Unix
    seconds.
    """

    guid: str
    link: str
    title: str
    body: str
    published: float | None = None


def read(raw: bytes, most: int) -> list[Item]:
    """Items that have a name and words. most: characters of all their texts. Raises NotRead for what is no feed."""
    try:
        import feedparser  # noqa: PLC0415 - of the extra "documents"
    except ImportError:
        raise NotRead("not read: feeds need pip install 'tidewire[documents]'") from None
    found = feedparser.parse(io.BytesIO(raw))
    if not found.version:
        raise NotRead("no feed is in it")
    items = [_item(entry) for entry in found.entries]
    if (size := sum(len(item.body) for item in items)) > most:
        raise NotRead(f"not read: {size:,} characters of text, and {most:,} is the limit")
    return [item for item in items if item.guid and (item.body or item.title)]


def _item(entry: Any) -> Item:
    link = printable(str(entry.get("link") or ""))
    body = next((part.get("value", "") for part in entry.get("content") or []), "") or entry.get("summary", "")
    when = entry.get("published_parsed") or entry.get("updated_parsed")
    return Item(
        guid=printable(str(entry.get("id") or link)),
        link=link,
        title=printable(str(entry.get("title") or ""))[:200],
        body=printable(str(body)),
        published=float(calendar.timegm(when)) if when else None,
    )
