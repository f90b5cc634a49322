"""A route over hosts that are played: who is asked, how often, and what is said when nobody can."""

from __future__ import annotations

import asyncio
import random

import pytest
from played import Cup, Down, Host, Tally, attempts, plan, question, refusal, refused, route, virtually

from tidewire.core.errors import BadRequest, TidewireError, TimedOut, UnknownModel
from tidewire.core.events import Attempt, Delta, Finish, Notice, PartStarted
from tidewire.core.request import Image, Message, Text, Tool
from tidewire.routing.breaker import Breaker
from tidewire.routing.health import Healths, Times
from tidewire.routing.table import Candidate


def test_the_next_candidate_answers_where_the_first_is_down():
    async def run():
        cup = Cup()
        await route(plan("a", "b"), [Host("a", error=Down), Host("b")]).answer(question(), cup)
        assert attempts(cup) == [(1, "a", "start"), (2, "b", "fallback")]
        assert cup.text == "b0 b1 b2 "
        assert sum(isinstance(e, Finish) for e in cup.events) == 1
        assert [e.model for e in cup.events if isinstance(e, Attempt)][1] == "b-as-it-knows-it"

    virtually(run())


def test_the_same_candidate_is_asked_again_only_when_all_were_tried():
    async def run():
        hosts = [Host("a", error=Down), Host("b", error=Down)]
        cup = Cup()
        error = await refusal(route(plan("a", "b", retries=1), hosts), cup=cup)
        assert [reason for _, _, reason in attempts(cup)] == ["start", "fallback", "retry"]
        assert [n for n, _, _ in attempts(cup)] == [1, 2, 3]
        assert error.message == "it is down; the route 'r' gave up after 3 tries at 2 models"
        assert (error.kind, error.status, error.retryable) == ("upstream_unavailable", 502, True)

    virtually(run())


def test_fallbacks_are_limited():
    async def run():
        hosts = [Host(name, error=Down) for name in "abcd"]
        await refusal(route(plan(*"abcd", fallbacks=1, retries=0), hosts))
        assert [host.asked for host in hosts] == [1, 1, 0, 0]

    virtually(run())


@pytest.mark.parametrize("error", [refused(), BadRequest("no", param="top_p")])
def test_a_request_that_is_to_blame_is_not_tried_elsewhere(error):
    async def run():
        hosts = [Host("a", error=error), Host("b")]
        assert await refusal(route(plan("a", "b", degrade="b"), hosts)) is error
        assert [host.asked for host in hosts] == [1, 0]

    virtually(run())


def test_what_one_host_has_no_words_for_another_may_have():
    class Mute(Host):
        async def answer(self, request, sink):
            raise BadRequest("it has no n", code="unsupported_value", param="n")

    async def run():
        cup = Cup()
        await route(plan("a", "b"), [Mute("a"), Host("b")]).answer(question(), cup)
        assert attempts(cup) == [(1, "b", "start")]
        error = await refusal(route(plan("a"), [Mute("a")]))
        assert error.message == "it has no n"

    virtually(run())


@pytest.mark.parametrize("at", [1, 2])
def test_content_that_has_passed_is_never_asked_for_again(at):
    async def run():
        hosts = [Host("a", error=Down, at=at), Host("b")]
        cup = Cup()
        error = await refusal(route(plan("a", "b", degrade="b", retries=3), hosts), cup=cup)
        assert error.begun
        assert [host.asked for host in hosts] == [1, 0]
        assert cup.text == "".join(f"a{n} " for n in range(at))

    virtually(run())


@pytest.mark.filterwarnings("ignore:delta is less than resolution")
@pytest.mark.parametrize("seed", range(60))
def test_over_random_faults_no_request_is_sent_after_a_first_token_and_each_answer_ends_once(seed):
    """Also: the text is one host's own, attempts are numbered from 1 without a gap, nobody is left open."""
    rng = random.Random(seed)
    spoken: list[str] = []

    class Odd(Host):
        async def answer(self, request, sink):
            assert not any(isinstance(e, Delta | PartStarted) for e in cups[request.stream].events)
            self.wait = rng.choice([0.0, 0.05, 3.0, 45.0])
            self.error = rng.choice([None, None, Down, refused(), TimedOut("slow"), UnknownModel("gone")])
            self.at = rng.choice([0, 0, 1, 2])
            await super().answer(request, sink)

    cups: dict[str, Cup] = {}

    async def one(of, n):
        await asyncio.sleep(rng.uniform(0, 20))
        cup = cups[f"s{n}"] = Cup()
        task = asyncio.ensure_future(of.answer(question(stream=f"s{n}", time_limit=rng.choice([None, 40.0])), cup))
        if rng.random() < 0.1:
            await asyncio.sleep(rng.uniform(0, 1))
            task.cancel()
        ended = (await asyncio.gather(task, return_exceptions=True))[0]
        finishes = sum(isinstance(e, Finish) for e in cup.events)
        assert finishes == (ended is None)
        assert ended is None or isinstance(ended, TidewireError | asyncio.CancelledError), ended
        assert [n for n, _, _ in attempts(cup)] == list(range(1, len(attempts(cup)) + 1))
        assert len({word[0] for word in cup.text.split()}) <= 1
        spoken.append(cup.text)

    async def run():
        hosts = [Odd(name) for name in "abc"]
        choose = rng.choice(["latency", "order", "weights", "price"])
        of = route(
            plan(*"abc", choose=choose, retries=rng.randrange(3), degrade=rng.choice(["", "c2"])), [*hosts, Odd("c2")]
        )
        await asyncio.gather(*(one(of, n) for n in range(40)))
        assert all(not host.open for host in hosts)
        assert all(not health.in_flight for _, health in of.healths.items())

    virtually(run())
    assert any(spoken)


class Blind(Breaker):
    """Never opens, so that the budget is all that holds tries back."""

    def allows(self, now):
        return True


@pytest.mark.parametrize("more", [{"retries": 5}, {"retries": 0, "fallbacks": 5}, {"retries": 5, "fallbacks": 5}])
def test_where_every_try_fails_there_is_at_most_a_fifth_more_of_them(more):
    async def run():
        hosts = [Host(name, error=Down, wait=0.01) for name in "abc"[: 1 + more.get("fallbacks", 0)]]
        of = route(plan(*(host.name for host in hosts), **more), hosts)
        for host in hosts:
            of.healths[host.name].breaker = Blind()
        for _ in range(10_000):
            await refusal(of)
        assert hosts[0].asked >= 10_000
        assert 11_000 < sum(host.asked for host in hosts) <= 12_000

    virtually(run())


def test_with_the_breaker_a_host_that_fails_every_request_is_hardly_asked_at_all():
    async def run():
        host = Host("a", error=Down, wait=0.01)
        of = route(plan("a", retries=5), [host])
        for _ in range(1000):
            await refusal(of)
        assert host.asked < 50

    virtually(run())


def test_a_candidate_that_failed_of_late_is_left_alone_and_probed_by_one_at_a_time():
    async def run():
        tally = Tally()
        host, other = Host("a", error=Down), Host("b", wait=1.0)
        of = route(plan("a", "b", break_s=10.0), [host, other], tally=tally)
        for _ in range(8):
            await of.answer(question(), Cup())
        assert host.asked == 5
        assert tally.states["a"] == "open"
        await asyncio.sleep(11)
        host.error, host.wait = None, 2.0
        asked = host.asked
        await asyncio.gather(*(of.answer(question(), Cup()) for _ in range(5)))
        assert host.asked == asked + 1, "one probe"
        assert tally.states["a"] == "closed"
        cup = Cup()
        await of.answer(question(), cup)
        assert attempts(cup) == [(1, "a", "start")]

    virtually(run())


def test_where_nobody_is_asked_now_the_error_says_when_to_come_back():
    async def run():
        of = route(plan("a", retries=0, break_s=30.0), [Host("a", error=Down)])
        for _ in range(5):
            await refusal(of)
        error = await refusal(of)
        assert (error.status, error.kind, error.retryable) == (503, "upstream_unavailable", True)
        assert 25 < error.retry_after <= 30
        await asyncio.sleep(29.9)
        error = await refusal(of)
        assert error.retry_after == 1.0
        assert error.message.endswith("try again in 1 s")  # not in 0, when it would be refused again

    virtually(run())


def test_a_first_token_that_does_not_come_is_not_waited_for_for_ever():
    async def run():
        slow, quick = Host("a", wait=100.0), Host("b")
        cup = Cup()
        loop = asyncio.get_running_loop()
        began = loop.time()
        await route(plan("a", "b", first_token_s=4.0), [slow, quick]).answer(question(), cup)
        assert cup.text.startswith("b0")
        assert 4.0 < loop.time() - began < 4.5
        assert not slow.open
        long = Host("c", wait=1.0, pace=10.0)
        await route(plan("c", first_token_s=4.0), [long]).answer(question(), Cup())  # only the first token

    virtually(run())


def test_no_try_begins_that_is_not_likely_to_speak_in_time():
    async def run():
        healths = Healths()
        loop = asyncio.get_running_loop()
        for _ in range(20):
            healths["b"].spoke(8.0, loop.time())
        hosts = [Host("a", error=Down, wait=5.0), Host("b", wait=8.0)]
        await refusal(route(plan("a", "b", retries=0), hosts, healths=healths), question(time_limit=10.0))
        assert [host.asked for host in hosts] == [1, 0]
        await route(plan("a", "b", retries=0), hosts, healths=healths).answer(question(time_limit=20.0), Cup())

    virtually(run())


def test_the_smaller_model_answers_when_no_candidate_can_and_the_client_is_told():
    async def run():
        cup = Cup()
        await route(plan("a", retries=0, degrade="small"), [Host("a", error=Down), Host("small")]).answer(
            question(), cup
        )
        assert [e.code for e in cup.events if isinstance(e, Notice)] == ["degraded"]
        assert attempts(cup) == [(1, "a", "start"), (2, "small", "fallback")]
        assert cup.text.startswith("small0")
        error = await refusal(
            route(plan("a", retries=0, degrade="small"), [Host("a", error=Down), Host("small", error=Down)])
        )
        assert "2 tries at 2 models" in error.message

    virtually(run())


def test_candidates_that_cannot_are_passed_over_and_what_is_missing_is_said():
    picture = Message(role="user", content=[Text("what?"), Image("data:image/png;base64,AA")])
    blind = Candidate(model="a", vision=False, tools=False, context=50)

    async def run():
        hosts = [Host("a"), Host("b")]
        for more in ({"tools": [Tool(name="t")]}, {"max_tokens": 60}):
            cup = Cup()
            await route(plan(blind, "b"), hosts).answer(question(**more), cup)
            assert attempts(cup) == [(1, "b", "start")]
        asked = question()
        asked.messages.append(picture)
        assert "images (vision)" in (await refusal(route(plan(blind), hosts), asked)).message
        assert (await refusal(route(plan(blind), hosts), question(tools=[Tool(name="t")]))).param == "tools"
        error = await refusal(route(plan(blind), hosts), question("word " * 1000))
        assert error.status == 400
        assert "a context of about 957 tokens" in error.message
        assert hosts[0].asked == 0

    virtually(run())


def test_regions_and_tenants_decide_who_may_be_asked():
    far, near = Candidate(model="a", region="us"), Candidate(model="b", region="eu", tenants=["t1"])

    async def run():
        hosts = [Host("a"), Host("b")]
        of = route(plan(far, near, regions=["eu"]), hosts)
        await of.answer(question(tenant="t1"), Cup())
        assert [host.asked for host in hosts] == [0, 1]
        assert (await refusal(of, question(tenant="t2"))).status == 404

    virtually(run())


def test_a_candidate_that_is_not_on_offer_costs_no_try():
    async def run():
        cup = Cup()
        await route(plan("gone", "b", fallbacks=0), [Host("b")]).answer(question(), cup)
        assert attempts(cup) == [(1, "b", "start")]
        assert (await refusal(route(plan("gone"), []))).status == 404

    virtually(run())


def test_a_route_of_routes_numbers_its_attempts_as_one():
    async def run():
        inner = route(plan("a", "b"), [Host("a", error=Down), Host("b", error=Down)])
        inner.name = "inner"
        cup = Cup()
        await route(plan("inner", "c", retries=0), [inner, Host("c")]).answer(question(), cup)
        assert [n for n, _, _ in attempts(cup)] == [1, 2, 3, 4]
        assert attempts(cup)[-1] == (4, "c", "fallback")

    virtually(run())


def test_cancelling_lets_go_of_the_host_and_leaves_no_probe_behind():
    async def run():
        host = Host("a", error=Down)
        of = route(plan("a", retries=0, break_s=1.0), [host])
        for _ in range(5):
            await refusal(of)
        await asyncio.sleep(2)
        host.wait = 100.0
        task = asyncio.ensure_future(of.answer(question(), Cup()))
        await asyncio.sleep(1)
        assert host.open == 1
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        assert host.open == 0
        host.error, host.wait = None, 0.1
        await of.answer(question(), Cup())

    virtually(run())


def test_a_second_candidate_is_asked_when_the_first_is_later_than_it_mostly_is():
    async def run():
        slow, quick = Host("a", wait=0.2), Host("b", wait=0.1)
        of = route(plan("a", "b", hedge_share=0.1), [slow, quick])
        for _ in range(30):
            await of.answer(question(), Cup())
        assert quick.asked == 0
        loop = asyncio.get_running_loop()
        began = loop.time()
        slow.wait = 20.0
        cup = Cup()
        await of.answer(question(), cup)
        assert attempts(cup) == [(1, "a", "start"), (2, "b", "hedge")]
        assert cup.text == "b0 b1 b2 "
        assert loop.time() - began < 0.6
        assert not slow.open
        assert all(not health.in_flight for _, health in of.healths.items())
        assert of.healths["a"].load(loop.time()) > of.healths["b"].load(loop.time()), "how late it was is not forgotten"
        quick.error = slow.error = Down
        slow.wait = 0.5
        error = await refusal(of)
        assert "it is down; the route 'r' gave up after 3 tries at 2 models" in error.message

    virtually(run())


def test_hedges_stay_within_their_share():
    async def run():
        hosts = [Host("a", wait=3.0), Host("b")]
        of = route(plan("a", "b", hedge_share=0.05), hosts)
        for _ in range(1000):
            known = of.healths["a"].times = Times()
            known.add(0.1, asyncio.get_running_loop().time())  # every answer is later than expected
            await of.answer(question(), Cup())
        assert hosts[0].asked == 1000
        assert 45 <= hosts[1].asked <= 50

    virtually(run())


def test_a_time_limit_of_the_request_says_nothing_of_the_host():
    async def run():
        host = Host("a", wait=5.0)
        of = route(plan("a"), [host])
        for _ in range(20):
            assert (await refusal(of, question(time_limit=1.0))).kind == "time_limit"
        await of.answer(question(), Cup())
        assert host.asked == 21

    virtually(run())


@pytest.mark.parametrize(
    "fault",
    [{"error": TimedOut("silent", code="upstream_idle_timeout"), "at": 2}, {"error": Down, "at": 1}, {"wait": 8.0}],
)
def test_stalls_cuts_and_slow_first_tokens_open_the_breaker_too(fault):
    async def run():
        host = Host("a", **fault)
        of = route(plan("a", slow_s=6.0), [host])
        for _ in range(30):
            await asyncio.gather(of.answer(question(), Cup()), return_exceptions=True)
            assert not host.open
        assert host.asked < 15

    virtually(run())
