"""Terms over budget are named at the end of their stream, once, and counted."""

from __future__ import annotations

from tidewire.core.events import Closed, Notice, Span
from tidewire.engine.desk import Terms
from tidewire.engine.plan import notice, over
from tidewire.stores.memory import MemoryLog
from workshop import Acts, Tally, desk_of, in_virtual_time, question, read, says, well_formed

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


@in_virtual_time
async def test_a_slow_stream_says_so_before_its_end_and_a_quick_one_does_not():
    tally = Tally()
    log = MemoryLog()
    desk = desk_of(
        log, {"m": Acts(says("a", "b", "c", interval=1.0))}, terms=Terms(budget={"answer": 1500.0}), meter=tally
    )
    meta = await desk.start(question())
    entries = await read(desk, meta.stream)
    well_formed(entries)
    notices = [e.event for e in entries if isinstance(e.event, Notice)]
    assert [n.code for n in notices] == ["over_budget"]
    assert "answer took 2000 of 1500 ms" in notices[0].message
    assert isinstance(entries[-1].event, Closed)
    assert tally.of("over_budget") == [("answer",)]
    quick = desk_of(log, {"m": Acts(says("a", "b"))}, terms=Terms(budget={"answer": 1500.0}), meter=Tally())
    meta = await quick.start(question())
    assert not any(isinstance(e.event, Notice) for e in await read(quick, meta.stream))
