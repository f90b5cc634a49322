"""RSS and Atom: each item a document, by its guid. What leaves a feed stays, until its time is over.

An item of which only the guid changed is the same item: its link tells.
"""

from __future__ import annotations

import asyncio
from typing import Final

import msgspec

from tidewire.core.addresses import shown, without_user
from tidewire.retrieval.intake import Delivery, Found
from tidewire.retrieval.reading.feeds import Item
from tidewire.retrieval.reading.page import NotRead
from tidewire.retrieval.sources.port import SourceFailed
from tidewire.retrieval.sources.web import Web

REMEMBERED: Final = 2000  # items whose links are kept


class _Cursor(msgspec.Struct, omit_defaults=True):
    """What is remembered between two passes. items: location to link, the newest last. way: as `Delivery.way` has it."""

    etag: str = ""
    modified: str = ""
    items: dict[str, str] = {}
    way: str = ""


class Feed:
    """`sources.port.Source`. needs the extra "documents"."""

    def __init__(self, web: Web, url: str, readers: tuple[str, ...] = ()) -> None:
        self._web = web
        self._url = url
        self._place = without_user(url)  # what is stored of it, readers are shown
        self._readers = readers

    async def run(self, delivery: Delivery) -> None:
        """Raises SourceFailed where there is no feed at the address."""
        store = delivery.intake.store
        note = f"feed {delivery.namespace} {delivery.source} {self._place}"
        cursor = msgspec.json.decode((await store.note(note)) or "{}", type=_Cursor)
        way = delivery.way(self._readers)
        whole = delivery.again or cursor.way != way
        page = await self._web.get(self._url, *(("", "") if whole else (cursor.etag, cursor.modified)))
        if page.raw is None:
            return
        try:
            items = await delivery.intake.reader.items(page.raw)
        except NotRead as why:
            kind = page.kind.partition(";")[0][:80] or "something"
            raise SourceFailed(f"{shown(self._url)} answered {kind}, and {why}") from None
        found = {one.location: one for one in map(self._found, items)}
        known = await store.known(delivery.namespace, list(found))
        moved = [
            place
            for place, link in cursor.items.items()
            if place not in found and link and any(one.uri == link and n not in known for n, one in found.items())
        ]
        for place, one in found.items():
            await delivery.offer(one, known[place].digest if place in known else None)
        await delivery.remove(moved)
        links = {place: link for place, link in cursor.items.items() if place not in found and place not in moved}
        links |= {place: one.uri for place, one in found.items()}
        kept = dict(list(links.items())[-REMEMBERED:])
        await store.set_note(note, msgspec.json.encode(_Cursor(page.etag, page.modified, kept, way)).decode())

    async def wait(self, seconds: float) -> None:
        await asyncio.sleep(seconds)

    async def close(self) -> None:
        """The web is its maker's to close."""

    def _found(self, item: Item) -> Found:
        return Found(
            location=f"{self._place}#{item.guid}",
            name="item.html",
            uri=without_user(item.link or self._place),
            raw=(item.body or item.title).encode(),
            kind="text/html",
            title=item.title,
            published=item.published,
            readers=self._readers,
        )
