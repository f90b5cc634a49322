"""A first token that is due: a route asks whoever can keep that, in time, and says so where nobody could."""

from __future__ import annotations

import asyncio
import random

import pytest

from routing.played import Cup, Down, Host, attempts, plan, question, refusal, route, virtually
from tidewire.core.errors import TimedOut, UpstreamError
from tidewire.core.events import Closed, Notice
from tidewire.engine.plan import Plan as UsePlan
from tidewire.engine.plan import Plans
from tidewire.routing.due import Due
from tidewire.routing.health import Healths, Times
from tidewire.stores.memory import MemoryLog
from workshop import desk_of, read, well_formed
from workshop import question as asks

VOICE = UsePlan("voice", {"first_token": 300.0}, models=("r",), enforce=True)


def hung(name):
    return Host(name, wait=3600.0)


async def served(of, *, plans=VOICE):
    """The events of one stream of the route, behind a desk that enforces the plan."""
    desk = desk_of(MemoryLog(), {"r": of}, plans=Plans(others=[plans]))
    entries = await read(desk, (await desk.start(asks(model="r"))).stream)
    well_formed(entries)
    return [e.event for e in entries]


async def taught(of, times=20):
    """The route knows how long its candidates take."""
    now = asyncio.get_running_loop().time()
    for candidate in of.plan.candidates:
        known = of.healths[candidate.model].times
        for _ in range(times):
            known.add(HOSTS[candidate.model].wait, now)


HOSTS: dict[str, Host] = {}


def hosts(*given):
    HOSTS.clear()
    HOSTS.update({host.name: host for host in given})
    return list(given)


def test_the_deadline_is_kept_where_another_candidate_can_keep_it():
    async def run():
        first, second = hosts(hung("a"), Host("b", wait=0.1))
        of = route(plan("a", "b"), [first, second])
        await taught(of)
        of.healths["a"].times = Times()  # nothing is known of a: it is given the benefit of the doubt
        events = await served(of)
        assert isinstance(closed := events[-1], Closed)
        assert closed.status == "completed"
        assert 200 < closed.ttft < 300, "a was given the time that b did not need"
        cup = Cup()
        cup.feed(events)
        assert attempts(cup) == [(1, "a", "start"), (2, "b", "hedge")]
        assert cup.text == "b0 b1 b2 "
        assert not first.open

    virtually(run())


def test_who_speaks_in_time_is_not_asked_beside_anybody():
    async def run():
        first, second = hosts(Host("a", wait=0.15), Host("b", wait=0.1))
        of = route(plan("a", "b"), [first, second])
        await taught(of)
        assert (await served(of))[-1].status == "completed"
        assert (first.asked, second.asked) == (1, 0)

    virtually(run())


def test_who_mostly_takes_longer_is_asked_last_however_the_route_chooses():
    async def run():
        for choose in ("order", "weights", "price"):
            first, second = hosts(Host("a", wait=2.0), Host("b", wait=0.1))
            of = route(plan("a", "b", choose=choose), [first, second])
            await taught(of)
            assert (await served(of))[-1].status == "completed"
            assert (first.asked, second.asked) == (0, 1)

    virtually(run())


def test_a_failure_leaves_time_for_a_third_candidate():
    async def run():
        given = hosts(Host("a", wait=0.05, error=Down), hung("b"), Host("c", wait=0.05))
        of = route(plan("a", "b", "c"), given)
        events = await served(of)
        cup = Cup()
        cup.feed(events)
        assert attempts(cup) == [(1, "a", "start"), (2, "b", "fallback"), (3, "c", "hedge")]
        assert events[-1].status == "completed"

    virtually(run())


def test_nobody_is_asked_beside_another_who_could_not_speak_in_time_either():
    async def run():
        first, second = hosts(Host("a", wait=0.5), Host("b", wait=0.6))
        of = route(plan("a", "b"), [first, second])
        await taught(of)
        closed = (await served(of))[-1]
        assert closed.error.code == "plan_first_token"
        assert "the route 'r' gave up after 1 try at 1 model" in closed.error.message
        assert (first.asked, second.asked) == (1, 0)
        assert not first.open

    virtually(run())


def test_the_last_resort_is_left_the_time_that_it_needs():
    async def run():
        first, small = hosts(hung("a"), Host("small", wait=0.05))
        of = route(plan("a", degrade="small"), [first, small])
        events = await served(of)
        assert events[-1].status == "completed"
        assert [e.code for e in events if isinstance(e, Notice)] == ["degraded"]
        assert events[-1].ttft == pytest.approx(275, abs=10), "nothing was known of it: it had a quarter of the time"
        for _ in range(20):
            of.healths["small"].times.add(0.05, asyncio.get_running_loop().time())
        assert (await served(of))[-1].ttft == pytest.approx(290, abs=10)

    virtually(run())


def test_asking_beside_another_stays_within_the_tries_that_a_route_may_make():
    async def run():
        first, second = hosts(hung("a"), Host("b", wait=0.1))
        of = route(plan("a", "b", fallbacks=0), [first, second])
        assert (await served(of))[-1].error.code == "plan_first_token"
        assert second.asked == 0
        first, second = hosts(Host("a", wait=0.25), Host("b", wait=0.1))
        of = route(plan("a", "b"), [first, second])
        for _ in range(300):
            await served(of)
            of.healths["b"].times = Times()
        assert second.asked <= 0.2 * 300

    virtually(run())


def test_a_host_that_has_fallen_silent_is_soon_not_asked_any_more():
    async def run():
        first, second = hosts(Host("a", wait=0.1), Host("b", wait=0.1))
        of = route(plan("a", "b", fallbacks=0, retries=0), [first, second])
        for _ in range(20):
            await served(of)
        first.wait = 3600.0
        ends = [(await served(of))[-1].status for _ in range(60)]
        assert ends.count("failed") < 25
        assert ends[-20:].count("failed") <= 5, "a probe now and then"

    virtually(run())


def test_a_deadline_that_words_have_met_binds_nobody_who_goes_on():
    async def run():
        first, second = hosts(Host("a", wait=0.05, error=Down, at=2), Host("b", wait=5.0, words=1))
        of = route(plan("a", "b", continuations=1), [first, second])
        events = await served(of)
        cup = Cup()
        cup.feed(events)
        assert events[-1].status == "completed"
        assert attempts(cup)[-1] == (2, "b", "continuation")

    virtually(run())


def test_a_time_that_is_over_already_is_nobodys():
    async def run():
        now = asyncio.get_running_loop().time()
        cup = Cup()
        await route(plan("a"), [Host("a", wait=5.0)]).answer(question(first_by=now), cup)
        assert cup.text == "a0 a1 a2 "
        error = await refusal(route(plan("a"), [Host("a", wait=5.0)]), question(first_by=now + 6.0))
        assert isinstance(error, TimedOut)
        assert error.kind == "plan_first_token"

    virtually(run())


def test_a_plan_over_random_hosts_never_says_two_answers_and_keeps_its_deadline_where_one_host_is_quick():
    kept = asked = 0
    for seed in range(40):
        rng = random.Random(seed)

        async def run(rng=rng):
            nonlocal kept, asked
            given = hosts(Host("q", wait=0.02), *(Host(n, wait=rng.choice([0.01, 0.4, 3600.0])) for n in "xy"))
            rng.shuffle(given)
            of = route(
                plan(*(h.name for h in given), choose=rng.choice(["order", "weights"])), given, seed=rng.random()
            )
            for _ in range(5):
                events = await served(of)
                cup = Cup()
                cup.feed(events)
                assert len({word[0] for word in cup.text.split()}) <= 1
                assert all(not host.open for host in given)
                kept += events[-1].status == "completed"
                asked += 1

        virtually(run())
    assert kept >= 0.95 * asked, "lost are those where two silent hosts, of which nothing was known, came first"


def test_what_is_known_of_nobody_is_half_of_the_time():
    due = Due(10.0, 0.0, instead="", healths=Healths())
    assert due.rush("m", 0.0) == pytest.approx(4.999)
    assert due.rush("m", 8.0) == pytest.approx(0.999)
    assert Due(None, 0.0, instead="small", healths=Healths()).rush("m", 0.0) is None


def test_what_was_spent_before_a_route_is_asked_counts_towards_its_deadline():
    async def run():
        now = asyncio.get_running_loop().time()
        first, second = hosts(Host("a", wait=0.5, error=Down), Host("b", wait=30.0))
        of = route(plan("a", "b", retries=0), [first, second])
        error = await refusal(of, question(time_limit=10.0, deadline=now + 2.0))
        assert error.kind == "time_limit"
        assert asyncio.get_running_loop().time() - now == pytest.approx(2.0)
        assert of.healths["b"].failures == 0, "it was the request's time, not the host's"
        error = await refusal(of, question(deadline=now + 2.0))
        assert (error.kind, first.asked) == ("time_limit", 1), "nobody was asked, and no model is to blame"

    virtually(run())


def test_a_hedge_that_is_not_allowed_does_not_bring_the_last_moment_forward():
    async def run():
        first, second = hosts(Host("a", wait=0.02), Host("b", wait=0.1))
        of = route(plan("a", "b", hedge_share=0.05), [first, second])
        await taught(of)
        first.wait = 0.15
        assert (await served(of))[-1].status == "completed"
        assert (first.asked, second.asked) == (1, 0), "it is later than usual, and spoke before b had to be asked"
        first.wait = 3600.0
        assert 200 < (await served(of))[-1].ttft < 300

    virtually(run())


def test_whom_the_breaker_has_left_out_meanwhile_is_not_asked_beside():
    async def run():
        first, second = hosts(hung("a"), Host("b", wait=0.1))
        of = route(plan("a", "b"), [first, second])
        await taught(of)
        of.healths["a"].times = Times()
        loop = asyncio.get_running_loop()

        def breaks():
            for _ in range(5):
                of.healths["b"].breaker.failed(loop.time(), probe=False, share=0.5, pause=5.0)

        loop.call_later(0.1, breaks)
        assert (await served(of))[-1].error.code == "plan_first_token"
        assert second.asked == 0

    virtually(run())


def test_of_two_that_were_asked_side_by_side_each_is_tried_again_for_its_own_error_only():
    async def run():
        key = UpstreamError("no such key", code="upstream_unauthorized", upstream_status=401)
        key.status, key.retryable = 502, False
        first, second = hosts(Host("a", wait=0.5, error=key), Host("b", wait=0.1, error=Down))
        of = route(plan("a", "b", hedge_share=1.0, retries=3), [first, second])
        for _ in range(20):
            of.healths["a"].times.add(0.05, asyncio.get_running_loop().time())
        await refusal(of)
        assert (first.asked, second.asked) == (1, 4)

    virtually(run())
