"""Results of the last seconds: the same as those of a search made now, whatever has happened in between."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from shelves import TENANTS, WORDS, Shelves, marks
from tidewire.retrieval.ports import Vector
from tidewire.retrieval.ranking.recency import Recency
from tidewire.retrieval.recent import COPY, ENTRY, PASSAGE, Recent
from tidewire.retrieval.search import Query, Results

LIMIT = 1 << 20


def shown(results: Results) -> set[str]:
    return {mark for one in results.found for mark in marks(one.row.text)}


@pytest.mark.parametrize("seed", range(3))
async def test_it_gives_what_a_search_gives_and_never_what_is_gone(seed: int, tmp_path: Path) -> None:
    async with Shelves(seed, tmp_path).open() as shelves:
        recent = Recent(shelves.search, 30.0, LIMIT, lambda: shelves.now)
        hits = 0
        for _ in range(250):
            if shelves.rng.random() < 0.4:
                await shelves.change()
                continue
            tenant = shelves.rng.choice(TENANTS)
            groups = shelves.rng.choice([frozenset[str](), frozenset({"staff"})])
            query = Query(text=shelves.rng.choice(WORDS), groups=groups, limit=50)
            given = await recent.find(tenant, query)
            assert shown(given) <= shelves.readable(tenant, groups)
            plain = await shelves.search.find(tenant, query)
            if not shelves.behind:
                assert shown(given) == shown(plain)
            hits += given.cached
        assert hits > 10


async def filled(shelves: Shelves) -> None:
    for n in range(3):
        await shelves.put("acme", f"{n}.md", f"the tide and heron number {n}")
    assert await shelves.index.visible(await shelves.store.seq())


async def test_a_hit_says_so_and_has_the_same_scores(tmp_path: Path) -> None:
    async with Shelves(0, tmp_path).open() as shelves:
        await filled(shelves)
        recent = Recent(shelves.search, 30.0, LIMIT, lambda: shelves.now)
        first = await recent.find("acme", Query(text="the  tide and the heron"))
        again = await recent.find("acme", Query(text=" the tide and the heron\n"))
        assert (first.cached, again.cached) == (False, True)
        assert again.found == first.found
        assert set(again.took) == {"fetch"}
        assert (again.weight, again.epoch, again.notices) == (first.weight, first.epoch, [])


@pytest.mark.parametrize(
    "other",
    [
        Query(text="heron"),
        Query(text="tide", limit=3),
        Query(text="tide", groups=frozenset({"staff"})),
        Query(text="tide", sources=frozenset({"news"})),
        Query(text="tide", since=5.0),
        Query(text="tide", until=5e9),
        Query(text="tide", per_document=1),
        Query(text="tide", recency=Recency(0.0)),
    ],
)
async def test_another_question_is_another_search(other: Query, tmp_path: Path) -> None:
    async with Shelves(0, tmp_path).open() as shelves:
        recent = Recent(shelves.search, 30.0, LIMIT, lambda: shelves.now)
        await recent.find("acme", Query(text="tide"))
        assert not (await recent.find("default", Query(text="tide"))).cached
        await filled(shelves)
        await recent.find("acme", Query(text="tide"))
        assert not (await recent.find("acme", other)).cached
        assert (await recent.find("acme", Query(text="tide", deadline=9e9))).cached


async def test_time_passes_and_a_clock_put_back_is_not_believed(tmp_path: Path) -> None:
    async with Shelves(0, tmp_path).open() as shelves:
        await filled(shelves)
        recent = Recent(shelves.search, 30.0, LIMIT, lambda: shelves.now)
        found = []
        for step in (0.0, 2.0, -3.0, 29.0, 1.0):
            shelves.now += step
            found.append((await recent.find("acme", Query(text="nothing of this"))).cached)
        assert found == [False, True, False, True, False]


async def test_a_copy_that_is_not_shown_is_looked_at_too(tmp_path: Path) -> None:
    async with Shelves(0, tmp_path).open() as shelves:
        long = " ".join(f"word{n}" for n in range(60))
        await shelves.put("acme", "old.md", f"tide {long}", expires=shelves.now + 10.0)
        await shelves.put("acme", "new.md", f"tide {long}")
        assert await shelves.index.visible(await shelves.store.seq())
        recent = Recent(shelves.search, 30.0, LIMIT, lambda: shelves.now)
        hidden = []
        for step in (0.0, 1.0, 10.0):
            shelves.now += step
            results = await recent.find("acme", Query(text="tide"))
            hidden.append((results.cached, len(results.found), sum(len(one.copies) for one in results.found)))
        assert hidden == [(False, 1, 1), (True, 1, 1), (False, 1, 0)]


async def test_what_was_done_without_a_part_is_not_kept(tmp_path: Path) -> None:
    class Hangs:
        name, dimensions = "hangs", 1

        async def encode(self, *_: object, **__: object) -> list[bytes]:
            await asyncio.Event().wait()
            return []

        async def close(self) -> None: ...

    async with Shelves(0, tmp_path).open() as shelves:
        await filled(shelves)
        recent = Recent(shelves.search, 30.0, LIMIT, lambda: shelves.now)
        shelves.search.encoder = Hangs()
        for _ in range(2):
            late = Query(text="tide", deadline=asyncio.get_running_loop().time() + 0.01)
            results = await recent.find("acme", late)
            assert (results.cached, results.notices) == (False, ["dense:late"])


async def test_a_vector_that_arrives_makes_a_new_search_as_a_document_does(tmp_path: Path) -> None:
    async with Shelves(0, tmp_path).open() as shelves:
        await filled(shelves)
        recent = Recent(shelves.search, 30.0, LIMIT, lambda: shelves.now)
        results = await recent.find("acme", Query(text="tide"))
        epoch = results.epoch
        await shelves.store.add_vectors("e", [(results.found[0].row.chunk, Vector(b"\x01", 1.0))])
        assert await shelves.index.visible(await shelves.store.seq())
        results = await recent.find("acme", Query(text="tide"))
        assert (results.cached, results.epoch) == (False, epoch)


async def test_what_is_kept_is_bounded_and_holds_no_text(tmp_path: Path) -> None:
    async with Shelves(0, tmp_path).open() as shelves:
        await filled(shelves)
        limit = 10 * (ENTRY + 3 * PASSAGE)
        recent = Recent(shelves.search, 30.0, limit, lambda: shelves.now)
        for n in range(100):
            await recent.find("acme", Query(text=f"tide heron {n}"))
            assert recent.size <= limit
        assert recent.size == sum(kept.size for kept in recent._kept.values()) > limit / 2
        assert (await recent.find("acme", Query(text="tide heron 99"))).cached
        assert not (await recent.find("acme", Query(text="tide heron 0"))).cached
        assert not {mark for mark in shelves.readable("acme", frozenset({"staff"})) if mark in repr(recent._kept)}


async def test_half_a_character_is_searched_each_time(tmp_path: Path) -> None:
    async with Shelves(0, tmp_path).open() as shelves:
        recent = Recent(shelves.search, 30.0, LIMIT, lambda: shelves.now)
        for _ in range(2):
            assert not (await recent.find("acme", Query(text="half \ud83d a character"))).cached


async def test_copies_that_are_not_shown_count_as_memory_too(tmp_path: Path) -> None:
    async with Shelves(0, tmp_path).open() as shelves:
        words = " ".join(f"word{n}" for n in range(100))  # so many that a mark makes no other text of them
        for n in range(30):
            await shelves.put("acme", f"{n}.md", f"the tide and {words}")
        assert await shelves.index.visible(await shelves.store.seq())
        recent = Recent(shelves.search, 30.0, LIMIT, lambda: shelves.now)
        found = (await recent.find("acme", Query(text="tide"))).found
        copies = sum(len(one.copies) for one in found)
        assert copies > 20
        assert recent.size == ENTRY + PASSAGE * len(found) + COPY * copies
