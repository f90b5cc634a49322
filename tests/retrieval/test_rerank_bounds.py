"""A reranker within its bounds, in virtual time: what is late, what is looked at, and when it is left alone."""

from __future__ import annotations

import asyncio
import logging
import math

import async_solipsism
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tidewire.core.errors import UpstreamError
from tidewire.retrieval.reranking.bounded import SPARE, Bounded
from tidewire.retrieval.reranking.port import Skipped
from tidewire.retrieval.reranking.restraint import FIRST, IN_A_ROW, LONGEST, Restraint
from tidewire.telemetry.rerankers import RerankMetrics

DEADLINE = 0.2


class Played:
    """takes: seconds; then the scores, or what is raised."""

    name = "played"

    def __init__(self):
        self.takes = 0.0
        self.gives = [1.0, 2.0]
        self.asked = self.cancelled = 0
        self.closed = False

    def warm(self): ...

    async def scores(self, question, texts, until):
        self.asked += 1
        try:
            await asyncio.sleep(self.takes)
        except asyncio.CancelledError:
            self.cancelled += 1
            raise
        if isinstance(self.gives, Exception):
            raise self.gives
        return self.gives

    async def close(self):
        self.closed = True


def virtually(work):
    """work: takes the played reranker, the bounded one and the metrics."""

    async def whole():
        played, metrics = Played(), RerankMetrics()
        await work(played, Bounded(played, metrics, candidates=24, seconds=DEADLINE), metrics)

    with asyncio.Runner(loop_factory=async_solipsism.EventLoop) as runner:
        runner.run(whole())


async def skipped(bounded, deadline=None):
    """Why there were no scores, and how long that took to learn."""
    loop = asyncio.get_running_loop()
    began = loop.time()
    with pytest.raises(Skipped) as caught:
        await bounded.scores("q", ["a", "b"], deadline=deadline)
    return caught.value.why, pytest.approx(loop.time() - began)


def test_scores_that_come_in_time_are_given_and_counted():
    async def work(played, bounded, metrics):
        played.takes = DEADLINE - 0.01
        assert await bounded.scores("q", ["a", "b"], deadline=None) == [1.0, 2.0]
        assert metrics.results == {("played", "done"): 1}
        assert metrics.times["played"].sum == pytest.approx(0.19)
        await bounded.close()
        assert played.closed

    virtually(work)


def test_what_is_late_is_let_go_of_at_the_nearer_deadline():
    async def work(played, bounded, metrics):
        played.takes = 1e6
        now = asyncio.get_running_loop().time
        assert await skipped(bounded) == ("late", DEADLINE)
        assert await skipped(bounded, now() + 0.12) == ("late", 0.12 - SPARE)
        assert await skipped(bounded, now() + 5) == ("late", DEADLINE)
        assert (played.asked, played.cancelled) == (3, 3)
        assert await skipped(bounded, now() + SPARE) == ("late", 0)
        assert await skipped(bounded, now() - 5) == ("late", 0)
        assert played.asked == 3  # not for a question that has no time left
        assert metrics.results == {("played", "late"): 5}

    virtually(work)


@pytest.mark.parametrize("gives", [[1.0, 2.0, 3.0], [1.0, math.nan], [math.inf, 1.0], [1.0, -math.inf]])
def test_scores_that_are_none_are_an_error_of_the_reranker(gives):
    async def work(played, bounded, metrics):
        played.gives = gives
        assert await skipped(bounded) == ("upstream_bad_answer", 0)
        assert metrics.results == {("played", "upstream_bad_answer"): 1}

    virtually(work)


def test_scores_of_the_first_texts_are_an_order_from_two_on():
    async def work(played, bounded, metrics):
        assert await bounded.scores("q", ["a", "b", "c"], deadline=None) == [1.0, 2.0]
        for few in ([], [1.0]):
            played.gives = few
            assert await skipped(bounded) == ("late", 0)
        assert metrics.results == {("played", "part"): 1, ("played", "late"): 2}

    virtually(work)


def test_one_that_is_down_is_waited_for_three_times_then_tried_now_and_then(caplog):
    async def work(played, bounded, metrics):
        played.takes = 1e6
        loop = asyncio.get_running_loop()
        for _ in range(IN_A_ROW):
            assert await skipped(bounded) == ("late", DEADLINE)
        began, waited = loop.time(), 0.0
        while loop.time() < began + 300:
            at = loop.time()
            await skipped(bounded)
            waited += loop.time() - at
            await asyncio.sleep(0.05)
        tries = played.asked - IN_A_ROW
        assert 10 <= tries <= 15  # after 1, 2, 4, 8, 16 s, then each 30 s
        assert waited == pytest.approx(tries * DEADLINE)
        assert metrics.results["played", "paused"] > 5000
        played.takes = 0.0
        await asyncio.sleep(LONGEST)
        for _ in range(3):
            assert await bounded.scores("q", ["a", "b"], deadline=None) == [1.0, 2.0]

    with caplog.at_level(logging.INFO, "tidewire.retrieval"):
        virtually(work)
    assert [(r.levelname, r.model) for r in caplog.records] == [("WARNING", "played"), ("INFO", "played")]


def test_while_one_question_tries_it_again_the_others_go_on_without():
    async def work(played, bounded, metrics):
        played.gives = UpstreamError("no", code="upstream_unreachable")
        for _ in range(IN_A_ROW):
            assert await skipped(bounded) == ("upstream_unreachable", 0)
        await asyncio.sleep(FIRST)
        played.gives, played.takes = [1.0, 2.0], 0.1
        trying = asyncio.create_task(bounded.scores("q", ["a", "b"], deadline=None))
        await asyncio.sleep(0)
        assert await skipped(bounded) == ("paused", 0)
        assert await trying == [1.0, 2.0]
        assert await bounded.scores("q", ["a", "b"], deadline=None) == [1.0, 2.0]

    virtually(work)


def test_a_host_that_asks_for_a_pause_has_it_at_once():
    async def work(played, bounded, metrics):
        played.gives = UpstreamError("slow down", code="upstream_rate_limited", retry_after=4.0)
        assert await skipped(bounded) == ("upstream_rate_limited", 0)
        played.gives = [1.0, 2.0]
        await asyncio.sleep(3.9)
        assert await skipped(bounded) == ("paused", 0)
        await asyncio.sleep(0.2)
        assert await bounded.scores("q", ["a", "b"], deadline=None) == [1.0, 2.0]

    virtually(work)


def test_callers_who_leave_or_have_no_time_are_no_fault_of_the_reranker():
    async def work(played, bounded, metrics):
        played.takes = DEADLINE / 2
        loop = asyncio.get_running_loop()
        for _ in range(2 * IN_A_ROW):
            assert await skipped(bounded, loop.time() + SPARE + 0.01) == ("late", 0.01)
            task = asyncio.create_task(bounded.scores("q", ["a", "b"], deadline=None))
            await asyncio.sleep(0.01)
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
        assert await bounded.scores("q", ["a", "b"], deadline=None) == [1.0, 2.0]
        assert metrics.results == {("played", "late"): 6, ("played", "cancelled"): 6, ("played", "done"): 1}
        assert played.cancelled == 12

    virtually(work)


def test_a_try_that_is_cancelled_leaves_the_next_one_to_another():
    async def work(played, bounded, metrics):
        played.gives = UpstreamError("no", code="upstream_unreachable")
        for _ in range(IN_A_ROW):
            await skipped(bounded)
        await asyncio.sleep(FIRST)
        played.gives, played.takes = [1.0, 2.0], 0.1
        task = asyncio.create_task(bounded.scores("q", ["a", "b"], deadline=None))
        await asyncio.sleep(0.05)
        task.cancel()
        await asyncio.sleep(3 * FIRST)
        assert await bounded.scores("q", ["a", "b"], deadline=None) == [1.0, 2.0]

    virtually(work)


def test_many_that_fail_together_are_one_reason_for_a_pause():
    restraint = Restraint()
    assert all(restraint.allows(0.0) for _ in range(50))
    for _ in range(50):
        restraint.failed(0.0, 0.2)
    assert not restraint.allows(0.2 + FIRST - 0.01)
    assert restraint.allows(0.2 + FIRST)


@given(st.lists(st.tuples(st.sampled_from(["fail", "wait", "do", "leave"]), st.floats(0, 40)), max_size=60))
def test_no_pause_outlasts_the_longest_and_success_ends_it(steps):
    """Whatever happened, a question may be asked again after the longest pause."""
    restraint, now = Restraint(), 0.0
    for what, passes in steps:
        now += passes
        if restraint.allows(now):
            match what:
                case "fail":
                    restraint.failed(now, now + 0.2)
                case "wait":
                    restraint.failed(now, now + 0.2, 1e9)
                case "do":
                    restraint.succeeded()
                    assert restraint.allows(now)
    assert restraint.allows(now + LONGEST + 0.3)
