"""What is counted of searches, and the last look before passages go out."""

from __future__ import annotations

import asyncio
from typing import Any, cast

import pytest

from retrieval.test_grounding import Collected, Model
from retrieval.test_ranking import NOW, row
from retrieval.test_search import PlayedEncoder, PlayedIndex, PlayedStore
from tidewire.core.errors import UpstreamError
from tidewire.core.events import Citation, Timing
from tidewire.core.ports import Encoder
from tidewire.core.request import Message, Request, Text
from tidewire.retrieval.grounding import Grounded, Terms
from tidewire.retrieval.measured import Measured
from tidewire.retrieval.ports import Index, Row, Store
from tidewire.retrieval.search import Finder, Found, Query, Results, Search
from tidewire.retrieval.waterfall import spans
from tidewire.telemetry.searches import SearchMetrics
from watched import watch
from workshop import in_virtual_time


class BrokenIndex(PlayedIndex):
    """Gives whatever it ever held."""

    def __init__(self, rows: list[Row]) -> None:
        super().__init__([(one.chunk, 1.0 + one.chunk) for one in rows], [])


def searching(rows: list[Row], now: float, encoder: Any = None) -> Search:
    return Search(
        cast(Store, PlayedStore(rows)),
        cast(Index, BrokenIndex(rows)),
        encoder=cast(Encoder, encoder),
        clock=lambda: now,
    )


class Playing:
    """Gives these; `meanwhile` happens before it does."""

    def __init__(self, results: Results | None, meanwhile: Any = lambda: None) -> None:
        self.results, self.meanwhile = results, meanwhile

    async def find(self, namespace: str, query: Query) -> Results:
        self.meanwhile()
        if self.results is None:
            await asyncio.Event().wait()
        return cast(Results, self.results)


def results(*rows: Row, **other: Any) -> Results:
    given = {"epoch": 1, "took": {}, "notices": [], "weight": 0.0}
    return Results(found=[Found(row=one, score=1.0) for one in rows], **(given | other))


async def find(finder: Finder, meter: SearchMetrics, clock: Any = lambda: NOW) -> list[int]:
    found = await Measured(finder, meter, clock).find("tenant", Query(text="passages"))
    return [one.row.chunk for one in found.found]


async def test_what_an_index_and_a_filter_let_through_after_its_time_is_counted_and_held_back() -> None:
    rows = [row(1, "over", "passage one", expires=NOW - 5), row(2, "lives", "passage two", expires=NOW + 5)]
    meter = SearchMetrics()
    assert await find(searching(rows, NOW), meter) == [2]
    assert meter.expired == 0, "the index is broken, and the filter after it is not"
    assert await find(searching(rows, NOW - 60), meter) == [2]
    assert meter.expired == 1, "the clock of the filter stands still as well"


async def test_a_passage_that_expires_while_it_is_searched_for_is_held_back_and_no_defect() -> None:
    now = [NOW]
    meter = SearchMetrics()
    slow = Playing(results(row(1, expires=NOW + 1)), lambda: now.__setitem__(0, NOW + 2))
    assert await find(slow, meter, lambda: now[0]) == []
    assert (meter.expired, meter.searches["words", "none"]) == (0, 1)


async def test_the_ages_of_what_went_out_are_counted_and_a_clock_that_jumps_back_makes_none_negative() -> None:
    meter = SearchMetrics()
    await find(Playing(results(row(1, published=NOW - 3600, indexed=NOW - 2))), meter)
    assert [meter.ages[since].sum for since in ("published", "indexed")] == [3600, 2]
    await find(Playing(results(row(1, published=NOW, indexed=NOW))), meter, lambda: NOW - 86400)
    assert [meter.ages[since].sum for since in ("published", "indexed")] == [3600, 2]
    assert meter.ages["indexed"].count == 2


@pytest.mark.parametrize(
    ("encoder", "how"),
    [
        (None, "words"),
        (PlayedEncoder(), "hybrid"),
        (PlayedEncoder(hangs=True), "encoder_late"),
        (PlayedEncoder(UpstreamError("no", code="upstream_refused")), "encoder_failed"),
    ],
)
@in_virtual_time
async def test_a_search_is_counted_by_how_it_was_made_and_timed_by_part(encoder: Any, how: str) -> None:
    meter = SearchMetrics()
    deadline = asyncio.get_running_loop().time() + 0.02
    query = Query(text="passage", deadline=deadline)
    await Measured(searching([row(1)], NOW, encoder), meter).find("tenant", query)
    assert meter.searches == {(how, "some"): 1}
    parts = {"all", "lexical", "fuse", "fetch", "rank"}
    parts |= {"encode"} if encoder is not None else set()
    assert set(meter.parts) == parts | ({"dense"} if how == "hybrid" else set())


async def test_kept_searches_failures_and_those_that_nobody_waits_for_are_counted_apart() -> None:
    meter = SearchMetrics()
    await find(Playing(results(row(1), cached=True)), meter)
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.01):
            await find(Playing(None), meter)
    broken = Playing(results(), lambda: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        await find(broken, meter)
    assert meter.searches == {("cached", "some"): 1, ("abandoned", "none"): 1, ("failed", "none"): 1}


@in_virtual_time
async def test_where_the_encoder_hangs_a_model_is_given_what_words_find_and_that_is_counted() -> None:
    meter, model = SearchMetrics(), Model("So [1].", " And so [9].")
    finder = Measured(searching([row(1)], NOW, PlayedEncoder(hangs=True)), meter, lambda: NOW)
    out = Collected()
    asked = Request(model="m", messages=[Message("user", [Text("Which passage?")])])
    await Grounded(model, finder, watch(), Terms(within=0.3), clock=lambda: NOW, meter=meter).answer(asked, out)
    assert len([event for event in out if isinstance(event, Citation)]) == 1
    assert meter.searches == {("encoder_late", "some"): 1}
    assert (meter.groundings, meter.passages) == ({"given": 1}, 1)
    assert meter.citations == {"given": 1, "unknown": 1}
    named = [event.span.name for event in out if isinstance(event, Timing)]
    assert named[0] == "retrieval"
    assert {"retrieval.encode", "retrieval.lexical"} <= set(named)


def test_the_parts_of_a_search_are_laid_out_one_behind_the_other() -> None:
    laid = spans({"encode": 4.0, "dense": 2.0, "lexical": 1.0, "fuse": 0.5, "fetch": 3.0, "rank": 0.25})
    assert {span.name: (span.start, span.ms) for span in laid} == {
        "retrieval.encode": (0.0, 4.0),
        "retrieval.dense": (4.0, 2.0),
        "retrieval.lexical": (0.0, 1.0),
        "retrieval.fuse": (6.0, 0.5),
        "retrieval.fetch": (6.5, 3.0),
        "retrieval.rank": (9.5, 0.25),
    }
