"""What an answer of a route costs: told with its tokens, and counted, for each try that a host has counted."""

from __future__ import annotations

import pytest

from routing.played import Cup, Down, Host, Tally, plan, question, route, virtually
from tidewire.core.events import Delta, Finish, PartEnded, PartStarted, Usage
from tidewire.routing.table import Candidate

CHEAP = Candidate(model="cheap", price_in=1.0, price_out=4.0)
DEAR = Candidate(model="dear", price_in=10.0, price_out=40.0, prefill="assistant")


class Counting(Host):
    """Reports its tokens in the middle and at the end; the last figure is the one that counts. fails: once it has said a word."""

    def __init__(self, name, *, fails=False, counted_by="host", **more):
        super().__init__(name)
        self.fails, self.counted_by, self.more = fails, counted_by, more

    async def answer(self, request, sink):
        self.asked += 1
        sink.feed([PartStarted(part=0, kind="text")])
        if request.messages[-1].role != "assistant":
            sink.feed([Delta(part=0, text="One. ")])
        sink.feed([Usage(counted_by=self.counted_by, input=1000, output=1)])
        if self.fails:
            raise Down
        sink.feed([Delta(part=0, text="Two."), PartEnded(part=0)])
        sink.feed([Usage(counted_by=self.counted_by, input=1000, output=500, **self.more), Finish(reason="stop")])


def played(hosts, *candidates, **settings):
    """The last usage that a client is told, and what was counted."""
    cup, tally = Cup(), Tally()

    async def work():
        await route(plan(*candidates, **settings), hosts, tally=tally).answer(question(), cup)

    virtually(work())
    return [event for event in cup.events if isinstance(event, Usage)][-1], tally.costs


def test_what_the_host_has_counted_is_told_with_its_cost_at_the_prices_of_the_candidate():
    usage, costs = played([Counting("cheap")], CHEAP)
    assert (usage.input, usage.output, usage.cost) == (1000, 500, 0.003)
    assert costs == [("cheap", 0.003)]


@pytest.mark.parametrize(
    ("host", "candidate"),
    [
        (Counting("cheap"), Candidate(model="cheap")),
        (Counting("cheap", counted_by="server"), CHEAP),
        (Counting("cheap", reused="cache"), CHEAP),
    ],
    ids=["no prices", "only what passed by here", "no host was paid"],
)
def test_without_prices_or_a_figure_of_the_host_nothing_is_said(host, candidate):
    usage, _ = played([host], candidate)
    assert usage.cost is None


def test_an_answer_that_another_candidate_went_on_with_costs_what_both_took():
    usage, costs = played([Counting("cheap", fails=True), Counting("dear")], CHEAP, DEAR, continuations=1)
    both = (1000 + 4) / 1e6 + (10_000 + 20_000) / 1e6
    assert usage.cost == pytest.approx(both)
    assert dict(costs) == pytest.approx({"cheap": 1004 / 1e6, "dear": 0.03})


def test_a_route_behind_a_route_says_it_once():
    usage, costs = played([Counting("cheap", cost=0.25)], Candidate(model="cheap"))
    assert (usage.cost, costs) == (0.25, [])
