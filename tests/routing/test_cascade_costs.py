"""What a cascade costs, in virtual time: each model is booked once, however its answer ends, for the stream and for the metrics alike."""

from __future__ import annotations

import asyncio
import contextlib

import msgspec
import pytest

from routing.played import Down, at_every_moment, question, virtually
from routing.test_cascade import BETTER, DRAFT, Counts, Speaker, Timed, asked, cascade, said, used
from tidewire.core.errors import UpstreamError
from tidewire.core.events import Delta, Edit, Finish, Usage
from tidewire.core.tokens import of_request
from tidewire.routing.cascade_plan import Member
from tidewire.routing.judge import Rules

PAID = {"draft": 50e-6, "judge": 6e-6, "refine": 1600e-6}  # at the prices and tokens below
SURE = Rules(unsure=False)  # no rule finds the draft wanting: the judge decides


def three(judged="REFINE", *, told=True):
    """told: the hosts say what tokens they took."""
    return (
        Speaker("draft", said(DRAFT, usage=used(10, 20) if told else None)),
        Speaker("better", said(BETTER, usage=used(100, 30) if told else None)),
        Speaker("judge", said(judged, usage=used(5, 1) if told else None), wait=0.05),
    )


def last(cup):
    return [e for e in cup.events if isinstance(e, Usage)][-1]


def agree(cup, counts):
    """The stream's last figure is what the metrics have counted."""
    assert last(cup).cost == pytest.approx(sum(counts.costs.values()))


@pytest.mark.parametrize("edits", [True, False])
@pytest.mark.parametrize(
    ("judged", "roles", "tokens"),
    [("KEEP", ("draft", "judge"), (15, 21)), ("REFINE", ("draft", "judge", "refine"), (115, 51))],
)
def test_all_that_were_asked_are_in_the_last_usage(edits, judged, roles, tokens):
    async def work():
        counts = Counts()
        cup = await asked(cascade(*three(judged), counts=counts, rules=SURE, without_edits="wait"), edits=edits)
        assert counts.costs == pytest.approx({role: PAID[role] for role in roles})
        assert (last(cup).input, last(cup).output, last(cup).counted_by) == (*tokens, "host")
        agree(cup, counts)
        assert isinstance(cup.events[-1], Finish)

    virtually(work())


@pytest.mark.parametrize("more", [{"edits": False}, {"n": 2}])
def test_a_draft_alone_is_paid_too(more):
    async def work():
        counts = Counts()
        draft, better, _ = three()
        cup = await asked(cascade(draft, better, counts=counts), **more)
        assert counts.costs == pytest.approx({"draft": PAID["draft"]})
        assert (last(cup).input, last(cup).output) == (10, 20)
        agree(cup, counts)
        assert isinstance(cup.events[-1], Finish)

    virtually(work())


def test_without_prices_a_draft_that_is_kept_tells_what_it_told():
    async def work():
        for edits in (True, False):
            draft, better, _ = three()
            of = cascade(draft, better, rules=SURE)
            of.plan = msgspec.structs.replace(of.plan, draft=Member(model="draft"))
            cup = await asked(of, edits=edits)
            assert [(u.input, u.cost) for u in cup.events if isinstance(u, Usage)] == [(10, None)]

    virtually(work())


@pytest.mark.parametrize("edits", [True, False])
def test_a_draft_that_breaks_off_is_paid_with_the_judge_that_read_it(edits):
    async def work():
        counts = Counts()
        _, better, judge = three()
        draft = Speaker("draft", [*said(DRAFT)[:6], Down()], pace=0.05)
        cup = Timed()
        with pytest.raises(UpstreamError):
            await asked(
                cascade(draft, better, judge, counts=counts, judge_after=10, without_edits="wait"), cup, edits=edits
            )
        question_tokens = of_request(question())
        assert counts.costs == pytest.approx({"draft": (question_tokens + 5 * 2) * 1e-6, "judge": PAID["judge"]})
        assert last(cup).counted_by == "server"
        agree(cup, counts)

    virtually(work())


def test_a_better_text_that_breaks_off_before_those_who_wait_is_paid():
    async def work():
        counts = Counts()
        draft, _, judge = three()
        better = Speaker("better", [*said(BETTER)[:4], Down()])
        cup = Timed()
        with pytest.raises(UpstreamError):
            await asked(cascade(draft, better, judge, counts=counts, without_edits="wait"), cup, edits=False)
        assert counts.costs["refine"] == pytest.approx((of_request(better.requests[0]) * 10 + 3 * 20) * 1e-6)
        agree(cup, counts)

    virtually(work())


@pytest.mark.parametrize("told", [True, False])
@pytest.mark.parametrize("edits", [True, False])
def test_stopped_at_any_moment_all_that_had_begun_to_answer_is_paid_once(edits, told):
    """Three models answer within half a second: the bill only grows, and the stream's is that of the metrics."""

    async def one(at):
        counts, cup = Counts(), Timed()
        speakers = three(told=told)
        of = cascade(*speakers, counts=counts, rules=SURE, without_edits="wait", judge_after=10)
        task = asyncio.get_running_loop().create_task(asked(of, cup, edits=edits))
        await asyncio.sleep(at)
        done = task.done()
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task
        shown = {Delta: "draft", Edit: "refine"} if edits else {}
        assert {role for kind, role in shown.items() if cup.when(kind) is not None} <= set(counts.costs)
        if counts.costs:
            agree(cup, counts)
        return done

    at_every_moment(one)
