"""Answers made of documents, with every cache there is and with none: nobody is told what is gone, whatever happens when."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest
from test_flights import Cup, Told

from shelves import TENANTS, WORDS, Shelves, marks
from tidewire.cache.answers import Cache, Cached, Rules
from tidewire.cache.disk import DiskShelf
from tidewire.cache.flight import Flights, Shared
from tidewire.cache.identity import Basis, key
from tidewire.cache.shelf import MemoryShelf, Shelf
from tidewire.core.events import Delta, Finish, PartEnded, PartStarted
from tidewire.core.request import Retrieval
from tidewire.providers.extractive import Extractive
from tidewire.retrieval.corpus import Corpus
from tidewire.retrieval.grounding import Grounded, Terms
from tidewire.retrieval.recent import Recent
from tidewire.retrieval.watch import Watch
from workshop import Acts, question

STAFF = frozenset({"staff"})
TERMS = Terms(within=60.0, groups=STAFF, secret=b"the same after a restart")


class House:
    """A model that is given passages, and one that searches by itself; both behind all the caches. asked: of the first, how often."""

    def __init__(self, shelves: Shelves, folder: Path, kept: str) -> None:
        self.shelves = shelves
        self.asked = 0
        self.meter = Told()
        self.plain = Grounded(
            Acts(self.says), shelves.search, Watch(shelves.index, lambda: shelves.now), TERMS, clock=lambda: shelves.now
        )
        self._folder, self._kept = folder, kept
        self.open()

    def open(self) -> None:
        shelves = self.shelves
        clock = lambda: shelves.now
        limit, ttl = 1 << 20, 3600.0
        disk = self._kept == "disk"
        self.shelf: Shelf = (
            DiskShelf(self._folder / "cache.db", limit, ttl, clock) if disk else MemoryShelf(limit, ttl, clock)
        )
        cache = Cache(
            self.shelf, Rules(answers="all"), basis=lambda name, request: Basis(name, "1"), meter=self.meter,
            now=clock, clock=clock,
        )  # fmt: skip
        flights = Flights(self.meter)

        def around(provider: Any, name: str) -> Any:
            return Cached(Shared(provider, flights, lambda request: key(request, Basis(name, "1"))), cache, name)

        finder = Recent(shelves.search, 30.0, limit, clock)
        watch = Watch(shelves.index, clock)
        self.given = Grounded(around(Acts(self.says), "given"), finder, watch, TERMS, clock=clock)
        self.quotes = around(Extractive(Corpus(finder, shelves.index, watch, STAFF), interval=0.0005), "quotes")

    async def says(self, request: Any, sink: Any) -> None:
        """What it was given, and a marker. It takes its time, so that others come meanwhile."""
        self.asked += 1
        sink.feed([PartStarted(part=0, kind="text")])
        await asyncio.sleep(0.001)
        told = " ".join(sorted(marks(request.messages[-1].text)))
        sink.feed([Delta(part=0, text=f"{told} [1]"), PartEnded(part=0), Finish(reason="stop")])

    async def ask(self, provider: Any, tenant: str, word: str, groups: frozenset[str] = STAFF) -> str:
        """What is said, looked at by what its caller may be told from the moment of the asking on: one change happens meanwhile, at most."""
        may = self.shelves.readable(tenant, groups)
        cup = Cup()
        rights = Retrieval(groups=sorted(groups))
        await provider.answer(question(f"What of the {word}?", tenant=tenant, retrieval=rights), cup)
        assert marks(cup.text) <= may | self.shelves.readable(tenant, groups)
        return cup.text


@pytest.mark.parametrize("kept", ["memory", "disk"])
@pytest.mark.parametrize("seed", range(2))
async def test_nothing_is_said_that_a_search_would_not_find_now(seed: int, kept: str, tmp_path: Path) -> None:
    async with Shelves(seed, tmp_path).open() as shelves:
        house = House(shelves, tmp_path, kept)
        rng, quoted, compared = shelves.rng, 0, 0
        for _ in range(150):
            asked = rng.choice(TENANTS[:2]), rng.choice(WORDS[:2]), rng.choice([STAFF, frozenset[str]()])
            what = rng.choices(["change", "given", "quotes", "meanwhile", "restart"], [6, 8, 3, 3, 0.3])[0]
            if what == "change":
                await shelves.change()
            elif what == "given":
                said = await house.ask(house.given, *asked)
                plain = await house.ask(house.plain, *asked)
                if not shelves.behind:
                    assert said == plain
                    compared += 1
            elif what == "quotes":
                quoted += bool(marks(await house.ask(house.quotes, *asked)))
            elif what == "meanwhile":
                provider = rng.choice([house.given, house.quotes])
                first = asyncio.ensure_future(house.ask(provider, *asked))
                await asyncio.sleep(rng.choice([0.0, 0.003]))
                await shelves.change(asked[0])
                await house.ask(provider, *asked)
                await first
            else:
                await house.shelf.close()
                house.open()
        await house.shelf.close()
        assert sum(tier == "exact" for tier, *_ in house.meter.hits) > 5, (
            "a test of a cache that is never hit shows nothing"
        )
        assert compared > 20
        assert quoted


async def test_a_write_forgets_what_it_changes_and_nothing_else(tmp_path: Path) -> None:
    async with Shelves(0, tmp_path).open() as shelves:
        house = House(shelves, tmp_path, "memory")
        for word in ("heron", "tide"):
            await shelves.put("acme", f"{word}.md", f"All of the {word}")
        assert await shelves.index.visible(await shelves.store.seq())
        for _ in range(2):
            for word in ("heron", "tide"):
                await house.ask(house.given, "acme", word)
        assert house.asked == 2
        await shelves.put("acme", "tide.md", "More of the tide")
        await shelves.put("acme", "lamp.md", "All of the lamp")
        assert await shelves.index.visible(await shelves.store.seq())
        await house.ask(house.given, "acme", "heron")
        assert house.asked == 2
        await house.ask(house.given, "acme", "tide")
        assert house.asked == 3
