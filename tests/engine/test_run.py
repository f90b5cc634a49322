"""One answer on its way into its log: limits, stages, faults of hosts and of logs, and what is counted."""

from __future__ import annotations

import asyncio
import logging

import pytest

from tidewire.core import events as ev
from tidewire.core.errors import InternalError, UpstreamError
from tidewire.core.events import Citation, Delta, Finish, PartEnded, PartStarted, Progress, Span, Timing, Usage
from tidewire.engine.desk import Terms
from tidewire.engine.run import STUBBORN
from tidewire.providers.simulated import Simulated
from tidewire.stages.limit import Limit
from tidewire.stages.stop import Stop
from tidewire.stores.memory import MemoryLog
from workshop import (
    Acts,
    Reader,
    Tally,
    closed,
    desk_of,
    in_virtual_time,
    question,
    read,
    says,
    settle,
    silence,
    text_of,
    well_formed,
    words,
)


def now():
    return asyncio.get_running_loop().time()


async def answer(script, request=None, *, log=None, **more):
    """The log of one answer, well formed."""
    desk = desk_of(
        MemoryLog() if log is None else log, {"m": script if hasattr(script, "answer") else Acts(script)}, **more
    )
    meta = await desk.start(request or question())
    entries = await read(desk, meta.stream)
    well_formed(entries)
    await settle()
    assert desk.open_streams == 0
    return entries


@in_virtual_time
async def test_what_is_told_of_tokens_while_an_answer_is_stopped_is_in_its_end():
    async def script(request, sink):
        try:
            await silence(request, sink)
        finally:
            sink.feed([Usage(counted_by="host", input=7, output=3, cost=0.5), Delta(part=0, text="late")])

    entries = await answer(script, question(time_limit=10.0))
    assert text_of(entries) == "one "
    [usage] = [e.event for e in entries if isinstance(e.event, Usage)]
    end = closed(entries)
    assert (end.status, end.input_tokens, end.output_tokens, end.cost) == ("incomplete", 7, 3, 0.5)
    assert (usage.input, usage.cost) == (7, 0.5)


# Limits


@in_virtual_time
async def test_an_answer_over_its_time_keeps_what_was_said():
    entries = await answer(says(*["word "] * 100, interval=1.0), question(time_limit=10.5))
    assert (closed(entries).status, closed(entries).reason, closed(entries).error) == ("incomplete", "time_limit", None)
    assert text_of(entries) == "word " * 11
    assert now() == 10.5


@in_virtual_time
async def test_no_word_within_the_time_is_an_error():
    async def script(request, sink):
        sink.feed([Progress(stage="waiting")])
        await asyncio.sleep(100)

    entries = await answer(script, question(time_limit=3.0))
    assert (closed(entries).status, closed(entries).reason) == ("failed", "error")
    error = closed(entries).error
    assert error is not None
    assert (error.code, error.status, error.retryable) == ("time_limit", 504, True)
    assert "3 s" in error.message


@in_virtual_time
async def test_no_request_may_take_longer_than_the_server_allows():
    await answer(silence, question(time_limit=1000.0), terms=Terms(stream_s=2.0))
    assert now() == 2.0


# An answer's size is looked at now and then: it ends within so many events of its limit.


@pytest.mark.parametrize("terms", [Terms(stream_bytes=20_000), Terms(stream_events=200)])
@in_virtual_time
async def test_an_answer_over_its_size_ends_there(terms):
    entries = await answer(says(*["word "] * 1000, interval=0.01), terms=terms)
    assert (closed(entries).status, closed(entries).reason) == ("incomplete", "size_limit")
    assert 200 < len(entries) < 500


@in_virtual_time
async def test_a_provider_that_takes_no_breath_cannot_pass_the_size_limit():
    async def script(request, sink):
        for event in words(*["word "] * 1000):
            sink.feed([event])
        sink.feed([PartEnded(part=0), Finish(reason="stop")])

    entries = await answer(script, terms=Terms(stream_events=50))
    assert closed(entries).reason == "size_limit"
    assert len(entries) < 150


# Stages


def both(request):
    return [Stop(request.stop), Limit(request.max_tokens)] if request.max_tokens else [Stop(request.stop)]


@in_virtual_time
async def test_a_stop_string_ends_the_answer_before_it_and_lets_the_host_go():
    entries = await answer(
        says("Hello", " wo", "rld", " and", " more", interval=1.0), question(stop=["world"]), stages=both
    )
    assert text_of(entries) == "Hello "
    assert (closed(entries).status, closed(entries).reason) == ("completed", "stop_string")
    assert now() == 2.0


@in_virtual_time
async def test_what_a_stage_holds_back_is_said_when_the_answer_is_cancelled():
    async def script(request, sink):
        sink.feed(words("Hello wor"))
        await silence_only()

    desk = desk_of(MemoryLog(), {"m": Acts(script)}, stages=both)
    meta = await desk.start(question(stop=["world"]))
    await settle()
    await desk.cancel("default", meta.stream)
    entries = await read(desk, meta.stream)
    well_formed(entries)
    assert text_of(entries) == "Hello wor"


async def silence_only():
    await asyncio.get_running_loop().create_future()


@in_virtual_time
async def test_the_token_limit_ends_the_answer_where_the_host_does_not():
    entries = await answer(says(*["word "] * 100, interval=1.0), question(max_tokens=7, stop=["never"]), stages=both)
    assert text_of(entries) == "word " * 7
    assert (closed(entries).status, closed(entries).reason) == ("incomplete", "length")
    assert now() == 7.0


@in_virtual_time
async def test_the_end_of_a_part_that_a_stage_held_back_is_not_lost():
    async def script(request, sink):
        sink.feed([PartStarted(part=0, kind="thinking"), *words("wor", part=1), PartEnded(part=0)])
        await asyncio.sleep(1.0)
        raise UpstreamError("the host broke off")

    entries = await answer(script, question(stop=["world"]), stages=both)
    assert [e.event.part for e in entries if isinstance(e.event, PartEnded)] == [0, 1]


@in_virtual_time
async def test_a_stage_that_breaks_ends_its_own_stream():
    class Broken:
        def feed(self, event):
            if isinstance(event, Delta):
                raise ValueError("secret words")
            return (event,)

        def end(self):
            return ()

    entries = await answer(says("Hello", interval=1.0), stages=lambda request: [Broken()])
    assert closed(entries).error is not None
    assert closed(entries).error.code == "internal_error"
    assert "secret" not in closed(entries).error.message


@in_virtual_time
async def test_a_stage_that_breaks_at_the_end_does_not_keep_the_stream_from_it():
    class Broken:
        def feed(self, event):
            return (event,)

        def end(self):
            raise ValueError("no end")

    entries = await answer(says("Hello"), stages=lambda request: [Broken()])
    assert text_of(entries) == "Hello"
    assert (closed(entries).status, closed(entries).reason) == ("failed", "error")


# Hosts that do wrong


@in_virtual_time
async def test_the_error_of_a_host_is_told_and_what_was_said_before_is_kept():
    async def script(request, sink):
        sink.feed(words("one ", "two"))
        await asyncio.sleep(1.0)
        raise UpstreamError("the host broke off", code="upstream_cut", retry_after=3.0)

    meter = Tally()
    entries = await answer(script, meter=meter)
    assert text_of(entries) == "one two"
    error = closed(entries).error
    assert error is not None
    assert (error.code, error.status, error.retryable, error.retry_after) == ("upstream_cut", 502, True, 3.0)
    assert meter.of("failed") == [("acts", "upstream_cut")]


@in_virtual_time
async def test_tokens_are_counted_by_the_host_where_it_does_and_here_where_it_does_not():
    async def counts(request, sink):
        sink.feed([*words("one two ", "three"), Usage(counted_by="host", output=3), Finish(reason="stop")])

    for script, tokens in ((counts, 3), (says("one two ", "three"), 2)):
        meter = Tally()
        await answer(script, meter=meter)
        assert [args[-1] for args in meter.of("closed")] == [tokens]


@in_virtual_time
async def test_a_defect_of_a_provider_ends_its_stream_and_its_text_goes_to_the_log_only(caplog):
    async def script(request, sink):
        sink.feed(words("one "))
        raise RuntimeError("the question was: secret")

    with caplog.at_level(logging.ERROR):
        entries = await answer(script)
    error = closed(entries).error
    assert error is not None
    assert (error.code, error.status) == ("internal_error", 500)
    assert "secret" not in b"".join(e.raw for e in entries).decode()
    assert "RuntimeError" in caplog.text


@in_virtual_time
async def test_a_provider_that_returns_without_a_finish_is_an_error():
    async def script(request, sink):
        sink.feed(words("one "))

    assert closed(await answer(script)).error.code == "upstream_unfinished"


@in_virtual_time
async def test_only_the_first_finish_counts_and_a_part_ends_once():
    async def script(request, sink):
        sink.feed(
            [*words("one "), PartEnded(part=0), PartEnded(part=0), Finish(reason="length"), Finish(reason="stop")]
        )

    assert closed(await answer(script)).reason == "length"


@in_virtual_time
async def test_a_provider_that_raises_after_its_finish_has_finished():
    async def script(request, sink):
        sink.feed([*words("one "), Finish(reason="stop")])
        raise UpstreamError("the connection was reset")

    entries = await answer(script)
    assert (closed(entries).status, closed(entries).error) == ("completed", None)


@in_virtual_time
async def test_a_provider_that_never_lets_go_is_left_behind(caplog):
    let_go = asyncio.Event()

    async def script(request, sink):
        sink.feed(words("one "))
        while not let_go.is_set():
            try:
                await let_go.wait()
            except asyncio.CancelledError:
                sink.feed([Delta(part=0, text="too late")])

    desk = desk_of(MemoryLog(), {"m": Acts(script)})
    meta = await desk.start(question())
    await asyncio.sleep(1.0)
    with caplog.at_level(logging.ERROR):
        assert await desk.cancel("default", meta.stream)
    assert now() == 1.0 + STUBBORN
    entries = await read(desk, meta.stream)
    well_formed(entries)
    assert text_of(entries) == "one "
    assert closed(entries).reason == "client"
    assert "did not let go" in caplog.text
    let_go.set()
    await settle()
    assert [e.raw for e in await read(desk, meta.stream)] == [e.raw for e in entries]


@in_virtual_time
async def test_a_provider_that_answers_a_cancellation_with_an_error_is_cancelled_all_the_same():
    async def script(request, sink):
        try:
            await silence_only()
        except asyncio.CancelledError:
            raise UpstreamError("reset") from None

    desk = desk_of(MemoryLog(), {"m": Acts(script)})
    meta = await desk.start(question())
    await settle()
    await desk.cancel("default", meta.stream)
    assert (closed(await read(desk, meta.stream)).status, closed(await read(desk, meta.stream)).error) == (
        "cancelled",
        None,
    )


@in_virtual_time
async def test_the_first_reason_to_stop_counts():
    desk = desk_of(MemoryLog(), {"m": Acts(silence)})
    meta = await desk.start(question())
    await settle()
    await asyncio.gather(
        desk.cancel("default", meta.stream),
        desk.cancel("default", meta.stream, "shutdown"),
        desk.cancel("default", meta.stream),
    )
    assert closed(await read(desk, meta.stream)).reason == "client"


@in_virtual_time
async def test_an_event_that_cannot_be_encoded_ends_its_stream_and_leaves_a_log_that_can_be_read():
    async def script(request, sink):
        sink.feed(words("\ud800"))
        await silence_only()

    entries = await answer(script)
    assert closed(entries).error.code == "internal_error"


# Logs that do wrong


class Failing(MemoryLog):
    """A log in memory that tells its writers, once it is asked, that it can store no more."""

    async def open(self, meta, failed):
        writer = await super().open(meta, failed)
        self.writers = {**getattr(self, "writers", {}), meta.stream: writer}
        return writer

    def fail(self, stream):
        error = InternalError("the disk is full", code="storage_failed")
        self._shelves["default", stream].fail(error)
        self.writers[stream].refuse(error)


@in_virtual_time
async def test_a_log_that_fails_ends_that_stream_and_no_other():
    log = Failing()
    let_go = []

    async def script(request, sink):
        try:
            await says(*["word "] * 10, interval=1.0)(request, sink)
        except asyncio.CancelledError:
            let_go.append(request.stream)
            raise

    desk = desk_of(log, {"m": Acts(script)})
    for stream in ("s1", "s2"):
        await desk.start(question(stream=stream))
    reader = await Reader.of(desk, "s1")
    await asyncio.sleep(3.5)
    log.fail("s1")
    with pytest.raises(InternalError, match="the disk is full"):
        await reader.all()
    await settle()
    assert let_go == ["s1"]  # its host is not paid for words that nobody can read
    entries = await read(desk, "s2")
    well_formed(entries)
    assert closed(entries).reason == "stop"
    await settle()
    assert desk.open_streams == 0


@in_virtual_time
async def test_a_log_that_cannot_put_a_stream_away_does_not_keep_its_place():
    class Broken(MemoryLog):
        async def open(self, meta, failed):
            writer = await super().open(meta, failed)

            class Unclosable:
                full = False
                append = staticmethod(writer.append)
                room = staticmethod(writer.room)
                size = 0

                async def close(self, meta):
                    raise InternalError("the disk is full")

            return Unclosable()

    desk = desk_of(Broken(), {"m": Acts(says("Hi"))})
    meta = await desk.start(question())
    await settle()
    assert desk.open_streams == 0
    assert closed(await read(desk, meta.stream)).reason == "stop"


@in_virtual_time
async def test_a_reader_that_breaks_hurts_neither_the_stream_nor_the_other_readers():
    def broken():
        raise ValueError("a defect of a door")

    desk = desk_of(MemoryLog(), {"m": Acts(says(*["word "] * 5, interval=1.0))})
    meta = await desk.start(question())
    asyncio.get_running_loop().set_exception_handler(lambda loop, context: None)
    await desk.follow("default", meta.stream, 0, broken)
    async with asyncio.timeout(60):
        entries = await read(desk, meta.stream)
    well_formed(entries)
    assert closed(entries).reason == "stop"


# What is counted


@in_virtual_time
async def test_what_happens_is_counted_once():
    meter = Tally()
    desk = desk_of(MemoryLog(), {"m": Acts(says("a", "b", "c", interval=2.0))}, meter=meter)
    meta = await desk.start(question())
    reader = await Reader.of(desk, meta.stream)
    await reader.all()
    assert meter.readers == 1
    reader.leave()
    assert meter.readers == 0
    assert meter.of("opened") == [("m",)]
    assert meter.of("closed") == [("m", "completed", "stop", 6.0, 3)]
    assert meter.of("first_token") == [("m", 0.0)]
    assert meter.of("gap") == [(2.0,), (2.0,)]
    assert meter.of("cancelled") == meter.of("failed") == meter.of("refused") == []


@in_virtual_time
async def test_how_long_a_cancellation_took_is_counted():
    async def script(request, sink):
        try:
            await silence_only()
        finally:
            await asyncio.sleep(0.25)

    meter = Tally()
    desk = desk_of(MemoryLog(), {"m": Acts(script)}, meter=meter)
    meta = await desk.start(question())
    await asyncio.sleep(1.0)
    await desk.cancel("default", meta.stream)
    assert meter.of("cancelled") == [(0.25,)]


@in_virtual_time
async def test_the_end_sums_up_times_and_tokens():
    async def script(request, sink):
        sink.feed([Timing(span=Span("connect", 0.0, 120.0))])
        await asyncio.sleep(0.5)
        sink.feed(words("a"))
        for _ in range(10):
            await asyncio.sleep(0.1)
            sink.feed([Delta(part=0, text="b")])
        sink.feed([PartEnded(part=0), Usage(counted_by="host", input=5, output=12), Finish(reason="stop")])

    last = closed(await answer(script))
    assert last.ttft == pytest.approx(500)
    assert last.tokens_per_second == pytest.approx(10.0)
    assert (last.input_tokens, last.output_tokens) == (5, 12)
    assert [(s.name, s.start, pytest.approx(s.ms)) for s in last.spans] == [
        ("connect", 0.0, 120.0),
        ("first_token", 120.0, 380.0),
        ("answer", 500.0, 1000.0),
    ]


@in_virtual_time
async def test_what_no_host_counted_the_server_counts():
    entries = await answer(says("a", "b", "c"))
    usage = [e.event for e in entries if isinstance(e.event, Usage)]
    assert [(u.counted_by, u.output) for u in usage] == [("server", 3)]
    assert closed(entries).output_tokens == 3


@in_virtual_time
async def test_every_kind_of_event_finds_its_way_into_the_log_in_order():
    said = [
        ev.Attempt(n=1, provider="acts", model="m", reason="start"),
        Progress(stage="retrieving", detail="x"),
        PartStarted(part=0, kind="thinking"),
        Delta(part=0, text="hm"),
        PartEnded(part=0),
        PartStarted(part=1, kind="text"),
        Delta(part=1, text="é😀"),
        Citation(part=1, start=0, end=2, source="a", title="A", passage="é"),
        ev.Notice(code="n", message="m"),
        PartStarted(part=2, kind="tool_call", name="f", call="c1"),
        Delta(part=2, text="{}"),
        PartEnded(part=2),
        PartEnded(part=1),
        Usage(counted_by="host", input=1, output=2),
    ]

    async def script(request, sink):
        sink.feed([*said, Finish(reason="tool_calls")])

    entries = await answer(script)
    assert [type(e.event) for e in entries[1:-1]] == [type(e) for e in said]
    assert closed(entries).status == "completed"


@in_virtual_time
async def test_the_simulated_provider_in_the_engine_makes_the_same_log_twice():
    logs = []
    for _ in range(2):
        entries = await answer(
            Simulated(), question("sim: tokens=20 thinking=3 tool=a,b jitter_ms=9 seed=4", stream="s")
        )
        logs.append([e.raw for e in entries[1:]])
    assert logs[0] == logs[1]
