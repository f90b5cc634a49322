"""RSS and Atom: each item a document, by its guid. What leaves a feed stays, until its time is over.

An item of which only the guid changed is the same item: its link tells.
"""

from __future__ import annotations

import asyncio
import calendar
import io
from typing import Any, Final

import msgspec

from tidewire.retrieval.intake import Delivery, Found
from tidewire.retrieval.sources.port import SourceFailed
from tidewire.retrieval.sources.web import Web, shown

REMEMBERED: Final = 2000  # items whose links are kept


class _Cursor(msgspec.Struct, omit_defaults=True):
    """What is remembered between two passes. items: location to link, the newest last."""

    etag: str = ""
    modified: str = ""
    items: dict[str, str] = {}


class Feed:
    """`sources.port.Source`. needs the extra "documents"."""

    def __init__(self, web: Web, url: str, readers: tuple[str, ...] = ()) -> None:
        self._web = web
        self._url = url
        self._readers = readers

    async def run(self, delivery: Delivery) -> None:
        """Raises SourceFailed where there is no feed at the address."""
        store = delivery.intake.store
        note = f"feed {delivery.namespace} {delivery.source} {self._url}"
        cursor = msgspec.json.decode((await store.note(note)) or "{}", type=_Cursor)
        asked = ("", "") if delivery.again else (cursor.etag, cursor.modified)
        page = await self._web.get(self._url, *asked)
        if page.raw is None:
            return
        entries = await asyncio.to_thread(parsed, page.raw, page.kind, self._url)
        found = {one.location: one for one in (self._found(entry) for entry in entries) if one is not None}
        known = await store.known(delivery.namespace, list(found))
        moved = [
            place
            for place, link in cursor.items.items()
            if place not in found and link and any(one.uri == link and n not in known for n, one in found.items())
        ]
        for place, one in found.items():
            await delivery.offer(one, known[place].digest if place in known else None)
        await delivery.remove(moved)
        items = {place: link for place, link in cursor.items.items() if place not in found and place not in moved}
        items |= {place: one.uri for place, one in found.items()}
        kept = dict(list(items.items())[-REMEMBERED:])
        await store.set_note(note, msgspec.json.encode(_Cursor(page.etag, page.modified, kept)).decode())

    async def wait(self, seconds: float) -> None:
        await asyncio.sleep(seconds)

    async def close(self) -> None:
        """The web is its maker's to close."""

    def _found(self, entry: Any) -> Found | None:
        """An item as a document: its full text where the feed has it, else its summary. None for one without words."""
        link = str(entry.get("link") or "")
        guid = str(entry.get("id") or link)
        body = next((part.get("value", "") for part in entry.get("content") or []), "") or entry.get("summary", "")
        title = str(entry.get("title") or "")
        if not guid or not (body or title):
            return None
        when = entry.get("published_parsed") or entry.get("updated_parsed")
        return Found(
            location=f"{self._url}#{guid}",
            name="item.html",
            uri=link or self._url,
            raw=(body or title).encode("utf-8", "replace"),
            kind="text/html",
            title=title[:200],
            published=float(calendar.timegm(when)) if when else None,
            readers=self._readers,
        )


def parsed(raw: bytes, kind: str, url: str) -> list[Any]:
    """The items of a feed. Raises SourceFailed for what is none."""
    try:
        import feedparser  # noqa: PLC0415 - of the extra "documents"
    except ImportError:
        raise SourceFailed("feeds need pip install 'tidewire[documents]'") from None
    found = feedparser.parse(io.BytesIO(raw))
    if not found.version:
        raise SourceFailed(f"{shown(url)} answered {kind.partition(';')[0][:80] or 'something'}, and no feed is in it")
    return list(found.entries)
