"""A search over an index and a store that are played: what comes out, and what is said of what did not work."""

from __future__ import annotations

import asyncio
import gc
import time
from collections.abc import Sequence
from typing import Any, cast

import pytest

from retrieval.test_ranking import NOW, row
from tidewire.core.errors import UpstreamError
from tidewire.core.ports import Encoder
from tidewire.retrieval.ports import Filter, Index, Row, Scored, Store
from tidewire.retrieval.ranking.recency import DAY
from tidewire.retrieval.reranking.bounded import Bounded
from tidewire.retrieval.search import Query, Results, Search, Terms
from tidewire.telemetry.rerankers import RerankMetrics
from workshop import in_virtual_time


class PlayedIndex:
    def __init__(self, words: list[Scored], meaning: list[Scored]) -> None:
        self._words, self._meaning = words, meaning

    def epoch(self, namespace: str) -> int:
        return 7

    ready = "full"

    async def filled(self, within: float) -> bool:
        return self.ready != "empty"

    def embedded(self, namespace: str, encoder: str) -> bool:
        return True

    async def lexical(self, namespace: str, query: str, limit: int, which: Filter) -> list[Scored]:
        return self._words

    async def dense(self, namespace: str, encoder: str, vector: bytes, limit: int, which: Filter) -> list[Scored]:
        return self._meaning


class PlayedStore:
    def __init__(self, rows: Sequence[Row]) -> None:
        self._rows = {one.chunk: one for one in rows}

    async def fetch(self, namespace: str, chunks: Sequence[int]) -> dict[int, Row]:
        return {chunk: self._rows[chunk] for chunk in chunks if chunk in self._rows}


class PlayedEncoder:
    name, dimensions = "played", 1

    def __init__(self, fault: Exception | None = None, *, hangs: bool = False) -> None:
        self._fault, self._hangs = fault, hangs

    async def encode(self, texts: Sequence[str], **_: Any) -> Sequence[bytes]:
        if self._hangs:
            await asyncio.Event().wait()
        if self._fault is not None:
            raise self._fault
        return [b"\0\0\0\0" for _ in texts]


class PlayedReranker:
    name = "played"

    def __init__(self, *, hangs: bool = False, reads: int = 100) -> None:
        self._hangs, self._reads = hangs, reads

    def warm(self) -> None: ...

    async def close(self) -> None: ...

    async def scores(self, question: str, texts: Sequence[str], until: float) -> Sequence[float]:
        if self._hangs:
            await asyncio.Event().wait()
        return [float(n) for n, _ in enumerate(texts[: self._reads])]


def bounded(reranker: PlayedReranker, candidates: int = 24) -> Bounded:
    return Bounded(reranker, RerankMetrics(), candidates=candidates, seconds=0.02)


ROWS = [row(n, f"d{n}", f"passage number {n}", NOW - n * 10 * DAY) for n in range(1, 5)]
WORDS = [(1, 9.0), (2, 5.0), (3, 4.0)]
MEANING = [(4, 0.8), (2, 0.7), (1, 0.2)]


def search(rows: Sequence[Row] = ROWS, encoder: PlayedEncoder | None = None, **other: Any) -> Search:
    return Search(
        cast(Store, PlayedStore(rows)),
        cast(Index, PlayedIndex(WORDS, MEANING)),
        encoder=cast(Encoder, encoder),
        clock=lambda: NOW,
        **other,
    )


async def find(searched: Search, **asked: Any) -> Results:
    return await searched.find("tenant", Query(text="a question", **asked))


@pytest.mark.parametrize("terms", [Terms(), Terms(dense=0.7), Terms(by_rank=True)])
async def test_the_parts_that_a_result_shows_give_its_score(terms: Terms) -> None:
    results = await find(search(encoder=PlayedEncoder(), terms=terms))
    share = 0.5 if terms.by_rank else terms.dense
    assert {one.row.chunk for one in results.found} == {1, 2, 3, 4}
    for one in results.found:
        fused = (1 - share) * (one.lexical or 0.0) + share * (one.dense or 0.0)
        assert one.score == pytest.approx(fused * one.recency * one.lift)
    assert results.epoch == 7
    assert results.notices == []


async def test_by_words_alone_the_parts_give_the_score_too() -> None:
    results = await find(search())
    assert [one.row.chunk for one in results.found] == [1, 2, 3]
    for one in results.found:
        assert one.dense is None
        assert one.score == pytest.approx((one.lexical or 0.0) * one.recency * one.lift)
        assert one.score > 0


async def test_an_encoder_that_fails_leaves_the_words_and_is_said() -> None:
    results = await find(search(encoder=PlayedEncoder(UpstreamError("no", code="upstream_refused"))))
    assert [one.row.chunk for one in results.found] == [1, 2, 3]
    assert len(results.notices) == 1
    assert results.notices[0].startswith("dense:")


async def test_an_index_that_cannot_be_asked_by_meaning_leaves_the_words_and_is_said(monkeypatch) -> None:
    async def broken(*_: Any) -> list[Scored]:
        raise UpstreamError("no", code="upstream_unreachable")

    monkeypatch.setattr(PlayedIndex, "dense", broken)
    results = await find(search(encoder=PlayedEncoder()))
    assert [one.row.chunk for one in results.found] == [1, 2, 3]
    assert results.notices == ["dense:upstream_unreachable"]


@in_virtual_time
async def test_an_encoder_that_is_late_leaves_the_words_and_is_said() -> None:
    deadline = asyncio.get_running_loop().time() + 0.02
    results = await find(search(encoder=PlayedEncoder(hangs=True)), deadline=deadline)
    assert [one.row.chunk for one in results.found] == [1, 2, 3]
    assert results.notices == ["dense:late"]


async def test_a_search_whose_time_is_over_with_the_vector_asks_for_nothing_more() -> None:
    class Blocks(PlayedEncoder):
        async def encode(self, texts: Sequence[str], **_: Any) -> Sequence[bytes]:
            time.sleep(0.02)
            return await super().encode(texts)

    deadline = asyncio.get_running_loop().time() + 0.01
    results = await find(search(encoder=Blocks()), deadline=deadline)
    assert [one.row.chunk for one in results.found] == [1, 2, 3]
    assert results.notices == ["dense:late"]
    gc.collect()  # what was begun and never awaited would be said now


async def test_what_the_index_gives_by_mistake_never_comes_out() -> None:
    rows = [
        row(1, "expired", "one", expires=NOW),
        row(2, "secret", "two", readers=("board",)),
        row(4, "lives", "four", expires=NOW + 1),
    ]  # 3 is deleted
    searched = search(rows, PlayedEncoder())
    assert [one.row.chunk for one in (await find(searched)).found] == [4]
    assert {one.row.chunk for one in (await find(searched, groups=frozenset({"board"}))).found} == {2, 4}
    assert (await find(searched, until=NOW - 1)).found == []


@in_virtual_time
async def test_a_reranker_decides_the_order_and_one_that_is_late_keeps_it() -> None:
    before = [one.row.chunk for one in (await find(search())).found]
    turned = await find(search(reranker=bounded(PlayedReranker())))
    assert [one.row.chunk for one in turned.found] == before[::-1]
    assert (turned.reranker, turned.notices) == ("played", [])
    assert [one.rerank for one in turned.found] == [2.0, 1.0, 0.0]
    late = await find(search(reranker=bounded(PlayedReranker(hangs=True))))
    assert [one.row.chunk for one in late.found] == before
    assert (late.reranker, late.notices) == ("", ["rerank:skipped:late"])
    assert [one.rerank for one in late.found] == [None] * 3


@in_virtual_time
async def test_what_a_reranker_is_not_given_stays_behind_what_it_has_read() -> None:
    before = [one.row.chunk for one in (await find(search())).found]
    turned = await find(search(reranker=bounded(PlayedReranker(), candidates=2)))
    assert [one.row.chunk for one in turned.found] == [before[1], before[0], before[2]]
    assert [one.rerank for one in turned.found] == [1.0, 0.0, None]
    assert turned.notices == []
    slow = await find(search(reranker=bounded(PlayedReranker(reads=2))))
    assert [one.row.chunk for one in slow.found] == [before[1], before[0], before[2]]
    assert (slow.reranker, slow.notices) == ("played", ["rerank:read:2 of 3"])


class StandingStill(PlayedIndex):
    """A thread that searches by words, and does not come back."""

    async def lexical(self, namespace: str, query: str, limit: int, which: Filter) -> list[Scored]:
        await asyncio.sleep(3600)
        raise AssertionError


@in_virtual_time
async def test_words_that_are_late_leave_what_was_found_by_meaning_and_are_said() -> None:
    loop = asyncio.get_running_loop()
    for encoder, chunks in ((PlayedEncoder(), [3]), (None, [])):
        index = StandingStill([], [(3, 0.9)])
        store = PlayedStore([row(3)])
        search = Search(cast(Store, store), cast(Index, index), encoder=encoder, clock=lambda: NOW)
        began = loop.time()
        results = await search.find("a", Query(text="heron", deadline=began + 0.2))
        assert [one.row.chunk for one in results.found] == chunks
        assert results.notices == ["lexical:late"]
        assert loop.time() - began == pytest.approx(0.2)


@in_virtual_time
async def test_words_have_a_moment_where_the_time_is_over_already() -> None:
    results = await find(search(), deadline=asyncio.get_running_loop().time() - 1.0)
    assert [one.row.chunk for one in results.found] == [1, 2, 3]
    assert results.notices == []


async def test_a_search_before_the_index_is_made_says_so() -> None:
    index = PlayedIndex([(1, 2.0)], [])
    index.ready = "empty"
    search = Search(cast(Store, PlayedStore([row(1)])), cast(Index, index), clock=lambda: NOW)
    results = await search.find("a", Query(text="heron"))
    assert results.notices == ["index:filling"]
    assert [one.row.chunk for one in results.found] == [1]
