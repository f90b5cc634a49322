"""The parts of a route alone: the breaker, the budget, times that forget, and whom each choice begins with."""

from __future__ import annotations

import random
from collections import Counter

import pytest
from played import question

from tidewire.core.request import Message, Text
from tidewire.routing.breaker import Breaker
from tidewire.routing.budget import Budget
from tidewire.routing.choose import prefix, ranked
from tidewire.routing.health import Healths, Times
from tidewire.routing.table import Candidate, Needs, Plan, cycle, fault, needs

ASKED = Needs(vision=False, tools=False, tokens=1000, answer=0)


def failing(breaker, now, times, pause=10.0):
    for _ in range(times):
        breaker.failed(now, probe=breaker.begin(now), share=0.5, pause=pause)


def test_a_breaker_opens_at_its_share_of_failures_and_not_before_five_answers():
    breaker = Breaker()
    failing(breaker, 0.0, 4)
    assert breaker.allows(0.0)
    failing(breaker, 0.0, 1)
    assert breaker.state(0.0) == "open"
    assert not breaker.allows(9.9)
    assert breaker.wait(4.0) == 6.0
    mixed = Breaker()
    for _ in range(20):
        mixed.succeeded(0.0, probe=False)
    failing(mixed, 0.0, 19)
    assert mixed.state(0.0) == "closed"
    failing(mixed, 0.0, 1)
    assert mixed.state(0.0) == "open"


def test_old_failures_are_forgotten():
    breaker = Breaker()
    for now in range(0, 600, 60):
        failing(breaker, float(now), 1)
    assert breaker.state(600.0) == "closed"


def test_one_probe_at_a_time_and_a_longer_pause_after_each_that_fails():
    breaker = Breaker()
    failing(breaker, 0.0, 5)
    now = 10.0
    for pause in (20.0, 40.0, 80.0, 160.0, 160.0):
        assert breaker.state(now) == "half_open"
        assert breaker.allows(now)
        assert breaker.begin(now)
        assert not breaker.allows(now)
        breaker.failed(now, probe=True, share=0.5, pause=10.0)
        assert breaker.wait(now) == pause
        now += pause
    probe = breaker.begin(now)
    breaker.dropped(probe=probe)
    assert breaker.allows(now), "a probe that was stopped makes room for the next"
    breaker.succeeded(now, probe=breaker.begin(now))
    assert breaker.state(now) == "closed"
    failing(breaker, now, 3)
    assert breaker.state(now) == "closed", "what was before the pause does not count"


@pytest.mark.parametrize("seed", range(20))
def test_tries_beyond_the_first_stay_within_their_share(seed):
    rng = random.Random(seed)
    budget = Budget(0.2)
    now, requests, spent = 0.0, 0, 0
    for _ in range(2000):
        now += rng.expovariate(50)
        budget.request(now)
        requests += 1
        spent += sum(budget.take(now) for _ in range(rng.randrange(4)))
        assert spent <= max(10, 0.2 * requests + 0.001) or requests < 50
    assert spent <= 0.2 * requests
    assert spent > 0.15 * requests


def test_a_share_of_nothing_lends_nothing():
    budget = Budget(0.0)
    budget.request(0.0)
    assert not budget.take(0.0)


def test_quantiles_follow_the_times_and_forget_old_ones():
    rng = random.Random(3)
    times = Times()
    assert times.quantile(0.5, 0.0) is None
    given = sorted(rng.lognormvariate(-1, 0.5) for _ in range(5000))
    for n, seconds in enumerate(rng.sample(given, len(given))):
        times.add(seconds, n / 1000)
    for q in (0.5, 0.95):
        assert times.quantile(q, 5.0) == pytest.approx(given[int(q * len(given))], rel=0.2)
    for n in range(3000):
        times.add(4.0, 2000 + n / 10)
    assert times.quantile(0.05, 2300.0) == pytest.approx(4.0, rel=0.2)
    assert times.quantile(0.5, 2300 + 3600) is None, "an hour later nothing is known"


def first(plan, healths=None, now=0.0, seed=1, key=b""):
    rng = random.Random(seed)
    return ranked(plan, plan.candidates, ASKED, healths=healths or Healths(), rng=rng, now=now, key=key)[0].model


def plan(*candidates, **more):
    return Plan(candidates=list(candidates), **more)


def test_the_slow_and_the_busy_get_less():
    healths = Healths()
    for model, seconds in (("quick", 0.1), ("slow", 2.0)):
        healths[model].spoke(seconds, 0.0)
    two = plan(Candidate(model="slow"), Candidate(model="quick"))
    assert {first(two, healths, seed=seed) for seed in range(20)} == {"quick"}
    healths["quick"].in_flight = 30
    assert {first(two, healths, seed=seed) for seed in range(20)} == {"slow"}


def test_of_many_two_are_drawn_so_that_not_everybody_takes_the_best():
    healths = Healths()
    many = plan(*(Candidate(model=f"m{n}") for n in range(8)))
    for n in range(8):
        healths[f"m{n}"].spoke(1.0 + n, 0.0)
    taken = Counter(first(many, healths, seed=seed) for seed in range(2000))
    assert 0.2 < taken["m0"] / 2000 < 0.3
    assert taken["m7"] == 0


def test_weights_are_kept():
    three = plan(*(Candidate(model=m, weight=w) for m, w in (("a", 6), ("b", 3), ("c", 1))), choose="weights")
    rng = random.Random(5)
    healths = Healths()
    taken = Counter(
        ranked(three, three.candidates, ASKED, healths=healths, rng=rng, now=0.0)[0].model for _ in range(20_000)
    )
    assert [round(taken[m] / 20_000, 1) for m in "abc"] == [0.6, 0.3, 0.1]


def test_the_cheapest_depends_on_the_length_of_question_and_answer():
    reads = Candidate(model="reads", price_in=1, price_out=20)
    writes = Candidate(model="writes", price_in=5, price_out=5)
    both = plan(reads, writes, choose="price")
    for tokens, answer, cheapest in ((100_000, 100, "reads"), (100, 4000, "writes")):
        need = Needs(vision=False, tools=False, tokens=tokens, answer=answer)
        order = ranked(both, both.candidates, need, healths=Healths(), rng=random.Random(1), now=0.0)
        assert order[0].model == cheapest


def test_equal_beginnings_stay_and_only_those_of_a_candidate_that_went_move():
    four = plan(*(Candidate(model=m) for m in "abcd"))
    three = plan(*(Candidate(model=m) for m in "abc"))
    keys = [str(n).encode() for n in range(400)]
    home = {key: first(four, key=key, seed=n) for n, key in enumerate(keys)}
    assert all(60 < home_of < 140 for home_of in Counter(home.values()).values())
    assert all(first(four, key=key, seed=7) == home[key] for key in keys)
    assert all(first(three, key=key) == home[key] for key in keys if home[key] != "d")


def test_a_conversation_keeps_its_beginning_as_it_goes_on():
    begun = question("Hello?")
    later = question("Hello?")
    later.messages += [Message(role="assistant", content=[Text("Hi.")]), Message(role="user", content=[Text("And?")])]
    assert prefix(begun) == prefix(later)
    assert prefix(begun) != prefix(question("Hallo?"))
    assert prefix(begun) != prefix(question("Hello?", tenant="other"))


def test_the_length_of_a_question_is_counted_in_every_script():
    assert needs(question("a" * 400)).tokens == 100  # 96 and what is put around a message
    assert needs(question("水" * 400)).tokens == 368


def test_circles_of_routes_are_found():
    def to(*names, degrade=""):
        return plan(*(Candidate(model=n) for n in names), degrade=degrade)

    assert cycle({"a": to("b", "x"), "b": to("x")}) == []
    assert cycle({"a": to("x", "b"), "b": to("x", degrade="a")}) == ["a", "b", "a"]
    assert cycle({"a": to("a")}) == ["a", "a"]
    assert fault({"a": to("b"), "b": to("a")})[1].startswith(" leads back to itself: a -> b -> a")


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        (plan(), "has no candidates"),
        (plan(Candidate(model="m"), Candidate(model="m")), "'m' twice"),
        (plan(Candidate(model="m", region="us"), regions=["eu"]), "no candidate is in one"),
        (plan(Candidate(model="m"), sticky=True, choose="order"), "sticky goes with"),
        (plan(Candidate(model="m"), degrade="m"), "a candidate already"),
    ],
)
def test_what_a_route_cannot_be_is_said(wrong, said):
    name, sentence = fault({"good": plan(Candidate(model="m")), "bad": wrong})
    assert name == "bad"
    assert said in sentence
