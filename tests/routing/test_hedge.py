"""Two models asked, in virtual time: who wins, what flows, what is closed, and how often."""

from __future__ import annotations

import asyncio
import random

import pytest

from routing.played import Cup, Down, Host, question, virtually
from tidewire.core.errors import TimedOut, UpstreamError
from tidewire.core.events import Attempt, Delta, Finish, PartStarted, Progress, Span, Timing, Usage
from tidewire.routing.hedge import Hedged, Hedges


def rich():
    budget = Hedges()
    for _ in range(1000):
        budget.request()
    return budget


def hedged(one, two, *, delay=0.5, budget=None, model=None):
    return Hedged("h", one, two, delay=lambda: delay, budget=budget or rich(), model=model)


class Scripted(Host):
    """Feeds what it is told to, when it is told to: (seconds, events or an error)."""

    def __init__(self, name, *script):
        super().__init__(name)
        self.script = script
        self.closed_at = None

    async def answer(self, request, sink):
        self.asked += 1
        self.open += 1
        try:
            sink.feed([Attempt(n=1, provider=self.name, model=request.model, reason="start")])
            for wait, step in self.script:
                await asyncio.sleep(wait)
                if isinstance(step, Exception):
                    raise step
                sink.feed(step)
        finally:
            self.open -= 1
            self.closed_at = asyncio.get_running_loop().time()


WORDS = [PartStarted(part=0, kind="text"), Delta(part=0, text="hello")]
END = [Finish(reason="stop")]


async def asked(provider, cup=None):
    cup = cup or Cup()
    await provider.answer(question(), cup)
    return cup


def attempts(cup):
    return [(e.n, e.provider, e.reason) for e in cup.events if isinstance(e, Attempt)]


def test_a_first_that_is_in_time_is_the_only_one_asked():
    one, two = Host("a", wait=0.4), Host("b")

    async def work():
        cup = await asked(hedged(one, two))
        assert cup.text == "a0 a1 a2 "

    virtually(work())
    assert two.asked == 0


def test_a_late_first_loses_to_the_second_and_is_closed_at_once():
    one, two = Scripted("a", (30, WORDS)), Host("b", wait=0.1, pace=1.0)

    async def work():
        loop = asyncio.get_running_loop()
        began = loop.time()
        cup = await asked(hedged(one, two))
        assert cup.text == "b0 b1 b2 "
        assert attempts(cup) == [(1, "a", "start"), (2, "b", "hedge")]
        assert one.closed_at - began == pytest.approx(0.6, abs=0.001)  # the moment the second spoke, not its end

    virtually(work())
    assert one.open == two.open == 0


def test_a_first_that_speaks_after_all_wins_and_the_second_is_closed():
    one, two = Host("a", wait=0.7), Scripted("b", (10, WORDS))

    async def work():
        began = asyncio.get_running_loop().time()
        cup = await asked(hedged(one, two))
        assert cup.text == "a0 a1 a2 "
        assert two.closed_at - began == pytest.approx(0.7, abs=0.001)

    virtually(work())
    assert two.asked == 1
    assert two.open == 0


@pytest.mark.parametrize(
    "nothing",
    [
        [Progress(stage="waiting")],
        [PartStarted(part=0, kind="text")],
        [PartStarted(part=0, kind="text"), Delta(part=0, text="")],
        [Usage(counted_by="host", input=3)],
        [Timing(span=Span("connect", 0, 1))],
    ],
)
def test_what_no_reader_can_see_wins_nothing(nothing):
    one, two = Scripted("a", (0.6, nothing), (30, END)), Host("b", wait=0.5)

    async def work():
        cup = await asked(hedged(one, two))
        assert cup.text == "b0 b1 b2 "
        assert sum(isinstance(e, PartStarted) for e in cup.events) == 1

    virtually(work())


def test_an_error_of_one_is_waited_out_while_the_other_runs():
    for one, two, said in (
        (Scripted("a", (0.6, Down())), Host("b", wait=5), "b0 b1 b2 "),
        (Host("a", wait=5), Scripted("b", (0.1, Down())), "a0 a1 a2 "),
    ):

        async def work(one=one, two=two, said=said):
            assert (await asked(hedged(one, two))).text == said

        virtually(work())


def test_an_error_before_the_second_is_asked_is_told_at_once():
    one, two = Scripted("a", (0.1, Down())), Host("b")

    async def work():
        with pytest.raises(Down):
            await asked(hedged(one, two))

    virtually(work())
    assert two.asked == 0


def test_of_two_errors_the_better_is_told_and_nothing_counts_as_begun():
    late = TimedOut("nothing came")
    refused = UpstreamError("no such key", upstream_status=401)
    refused.retryable = False
    for first, second, told in ((late, Down(), Down), (Down(), late, Down), (refused, late, TimedOut)):
        first.begun = True  # it had opened a part, which was held back
        one = Scripted("a", (0.6, WORDS[:1]), (0, first))
        two = Scripted("b", (0.3, second))

        async def work(one=one, two=two, told=told):
            cup = Cup()
            with pytest.raises(told) as caught:
                await asked(hedged(one, two), cup)
            assert not caught.value.begun
            assert not any(isinstance(e, PartStarted) for e in cup.events)

        virtually(work())


def test_an_error_after_the_winner_spoke_is_the_answers_own():
    one, two = Scripted("a", (30, WORDS)), Host("b", wait=0.1, error=Down, at=1)

    async def work():
        cup = Cup()
        with pytest.raises(Down):
            await asked(hedged(one, two), cup)
        assert cup.text == "b0 "

    virtually(work())
    assert one.open == 0


def test_cancelling_closes_both_before_it_leaves():
    one, two = Host("a", wait=30), Host("b", wait=30)

    async def work():
        task = asyncio.create_task(asked(hedged(one, two)))
        await asyncio.sleep(1)
        assert (one.open, two.open) == (1, 1)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert (one.open, two.open) == (0, 0)

    virtually(work())


def test_tokens_of_the_loser_are_booked_and_spans_count_from_the_beginning():
    one = Scripted("a", (0.2, [Usage(counted_by="host", input=10, output=0)]), (30, WORDS))
    two = Scripted(
        "b",
        (0, [Timing(span=Span("connect", 1.0, 2.0))]),
        (0.1, [*WORDS, Usage(counted_by="host", input=12, output=5), *END]),
    )

    async def work():
        cup = await asked(hedged(one, two))
        (usage,) = (e for e in cup.events if isinstance(e, Usage))
        assert (usage.input, usage.output) == (22, 5)
        (timing,) = (e for e in cup.events if isinstance(e, Timing))
        assert timing.span.start == pytest.approx(501, abs=1)

    virtually(work())


def test_no_more_than_the_share_is_ever_asked_twice():
    rng = random.Random(7)
    budget = Hedges()
    requests = 0
    for _ in range(5000):
        budget.request()
        requests += 1
        if rng.random() < 0.5:
            budget.take()
        assert budget.spent <= requests * 0.05 + 1e-6
    assert budget.spent >= 0.9 * requests * 0.05


def test_a_spent_budget_or_an_unknown_delay_asks_nobody_twice():
    for budget, delay in ((Hedges(), 0.5), (rich(), None)):
        one, two = Host("a", wait=3), Host("b")

        async def work(one=one, two=two, budget=budget, delay=delay):
            assert (await asked(hedged(one, two, delay=delay, budget=budget))).text == "a0 a1 a2 "

        virtually(work())
        assert two.asked == 0


def test_random_worlds_say_one_answer_whole_and_leave_nothing_open():
    for seed in range(200):
        rng = random.Random(seed)
        one, two = (
            Host(
                name,
                wait=rng.uniform(0, 2),
                pace=rng.uniform(0, 0.1),
                error=Down if rng.random() < 0.3 else None,
                at=rng.randrange(3),
            )
            for name in "ab"
        )

        async def work(one=one, two=two):
            cup = Cup()
            try:
                await asked(hedged(one, two), cup)
                assert cup.text in ("a0 a1 a2 ", "b0 b1 b2 ")
                assert sum(isinstance(e, Finish) for e in cup.events) == 1
            except Down:
                assert cup.text in ("", "a0 ", "b0 ", "a0 a1 ", "b0 b1 ")

        virtually(work())
        assert (one.open, two.open) == (0, 0)
