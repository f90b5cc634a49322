"""Terms over budget are named at the end of their stream, once, and counted."""

from __future__ import annotations

import asyncio

import pytest

from tidewire.core.errors import BadRequest, TimedOut
from tidewire.core.events import Closed, Notice, Span
from tidewire.engine.plan import Plan, Plans, notice, over
from tidewire.stores.memory import MemoryLog
from workshop import Acts, Tally, desk_of, in_virtual_time, question, read, says, well_formed, words

SPANS = [
    Span("connect", 0, 40),
    Span("headers", 40, 100),
    Span("connect", 200, 70),
    Span("headers", 270, 900, "reported"),
    Span("first_token", 370, 30),
    Span("answer", 400, 1000),
]


def ended(**more):
    return Closed(status="completed", reason="stop", spans=SPANS, ttft=400.0, **more)


def test_spans_of_one_name_count_together_and_what_a_host_reports_does_not():
    assert over({"connect": 100, "headers": 500}, ended()) == {"connect": 110}


def test_the_first_token_counts_from_the_opening_of_the_stream():
    assert over({"first_token": 399}, ended()) == {"first_token": 400.0}
    assert over({"first_token": 400}, ended()) == {}


def test_what_did_not_happen_is_not_over():
    assert over({"retrieval": 1, "first_token": 1}, Closed(status="failed", reason="error")) == {}


def test_the_notice_names_each_term_with_its_time_and_its_bound():
    budget = {"connect": 100.0, "answer": 999.0}
    said = notice(budget, over(budget, ended())).message
    assert said == "connect took 110 of 100 ms, answer took 1000 of 999 ms"


def test_the_notice_names_the_part_of_a_term_that_took_longest():
    parts = [Span("retrieval", 0, 90), Span("retrieval.encode", 0, 70), Span("retrieval.fetch", 70, 15)]
    said = notice({"retrieval": 50.0}, {"retrieval": 90.0}, parts).message
    assert said == "retrieval took 90 of 50 ms (most of it encode, 70 ms)"


@in_virtual_time
async def test_a_slow_stream_says_so_before_its_end_and_a_quick_one_does_not():
    tally = Tally()
    log = MemoryLog()
    desk = desk_of(
        log, {"m": Acts(says("a", "b", "c", interval=1.0))}, plans=Plans(Plan(terms={"answer": 1500.0})), meter=tally
    )
    meta = await desk.start(question())
    entries = await read(desk, meta.stream)
    well_formed(entries)
    notices = [e.event for e in entries if isinstance(e.event, Notice)]
    assert [n.code for n in notices] == ["over_budget"]
    assert "answer took 2000 of 1500 ms" in notices[0].message
    assert isinstance(entries[-1].event, Closed)
    assert tally.of("over_budget") == [("answer", "")]
    quick = desk_of(log, {"m": Acts(says("a", "b"))}, plans=Plans(Plan(terms={"answer": 1500.0})), meter=Tally())
    meta = await quick.start(question())
    assert not any(isinstance(e.event, Notice) for e in await read(quick, meta.stream))


async def mute(request, sink):
    await asyncio.sleep(3600)


def of(*others: Plan) -> Plans:
    return Plans(Plan(terms={"answer": 1.0}), others)


def test_a_request_is_of_the_class_that_it_names_or_else_of_its_models():
    plans = of(Plan("voice", {"first_token": 300}, models=("quick",)), Plan("batch", total=600.0))
    assert plans.of(question(model="quick")).name == "voice"
    assert plans.of(question(model="other")).name == ""
    assert plans.of(question(model="quick", plan="batch")).name == "batch"
    with pytest.raises(BadRequest, match="there are: voice, batch") as told:
        plans.of(question(plan="nope"))
    assert (told.value.kind, told.value.param) == ("unknown_plan", "plan")


@in_virtual_time
async def test_a_plan_that_is_enforced_ends_a_stream_that_says_nothing_and_lets_go_of_its_host():
    slow = Acts(mute)
    plan = Plan("voice", {"first_token": 300.0}, models=("m",), enforce=True)
    tally = Tally()
    desk = desk_of(MemoryLog(), {"m": slow}, plans=of(plan), meter=tally)
    meta = await desk.start(question())
    entries = await read(desk, meta.stream)
    well_formed(entries)
    closed = entries[-1].event
    assert isinstance(closed, Closed)
    assert closed.error is not None
    assert (closed.error.code, closed.error.status, closed.error.retryable) == ("plan_first_token", 504, True)
    assert "300 ms" in closed.error.message
    assert asyncio.get_running_loop().time() < 1.0


@in_virtual_time
async def test_an_answer_that_has_begun_in_time_is_not_ended_by_its_plan():
    plan = Plan("voice", {"first_token": 300.0}, models=("m",), enforce=True)
    desk = desk_of(MemoryLog(), {"m": Acts(says("a", "b", interval=1.0))}, plans=of(plan))
    meta = await desk.start(question())
    assert (await read(desk, meta.stream))[-1].event.status == "completed"


@in_virtual_time
async def test_the_total_of_a_plan_is_the_time_limit_of_requests_that_set_none_and_hosts_can_tell_what_is_left():
    seen = []

    class Looks(Acts):
        async def answer(self, request, sink):
            seen.append(request.deadline - asyncio.get_running_loop().time())
            await super().answer(request, sink)

    desk = desk_of(
        MemoryLog(), {"m": Looks(says("a", interval=100.0))}, plans=of(Plan("batch", total=60.0, models=("m",)))
    )
    for limit in (None, 5.0, 600.0):
        meta = await desk.start(question(time_limit=limit))
        await read(desk, meta.stream)
    assert seen == pytest.approx([60.0, 5.0, 600.0], abs=0.1)


@in_virtual_time
async def test_what_the_first_words_take_to_their_reader_is_told_where_the_plan_bounds_it_and_once():
    plan = Plan("chat", {"render": 10.0, "client": 100.0}, models=("m",))
    desk = desk_of(MemoryLog(), {"m": Acts(says("a", "b", interval=1.0)), "o": Acts(says("a"))}, plans=of(plan))
    meta = await desk.start(question())
    tell = desk.showing("default", meta.stream)
    tell(0.5)
    await asyncio.sleep(0.025)
    tell(0.125)
    tell(9.0)
    closed = (await read(desk, meta.stream))[-1].event
    spans = {span.name: (span.start, span.ms) for span in closed.spans}
    assert spans["render"] == (0.0, pytest.approx(25, abs=1))
    assert spans["client"] == (pytest.approx(25, abs=1), 125.0)
    assert over(plan.terms, closed).keys() == {"render", "client"}
    assert desk.showing("default", (await desk.start(question(model="o"))).stream) is None
    assert desk.showing("default", "nowhere") is None


@in_virtual_time
async def test_a_provider_that_ends_at_the_time_limit_leaves_what_was_said():
    async def late(request, sink):
        if begun:
            sink.feed(words("one "))
        raise TimedOut("nothing more came in time", code="time_limit")

    for begun in (True, False):
        desk = desk_of(MemoryLog(), {"m": Acts(late)})
        closed = (await read(desk, (await desk.start(question(time_limit=5.0))).stream))[-1].event
        if begun:
            assert (closed.status, closed.reason, closed.error) == ("incomplete", "time_limit", None)
        else:
            assert (closed.status, closed.error.code) == ("failed", "time_limit")
            assert "time limit of 5 s" in closed.error.message


@in_virtual_time
async def test_what_was_before_the_opening_is_told_where_the_plan_bounds_it():
    tally = Tally()
    plan = Plan("chat", {"edge": 10.0, "queue": 1000.0}, models=("m",))
    desk = desk_of(MemoryLog(), {"m": Acts(says("a"))}, plans=of(plan), meter=tally)
    meta = await desk.start(question(edge=0.025))
    closed = (await read(desk, meta.stream))[-1].event
    assert {span.name: span.ms for span in closed.spans if span.start < 0 or span.name == "edge"}["edge"] == 25.0
    assert tally.of("over_budget") == [("edge", "chat")]
