"""The desk: start, follow, cancel, find, delete, drain; and what each says when it cannot."""

from __future__ import annotations

import asyncio

import pytest

from tidewire.core import events as ev
from tidewire.core.errors import (
    BadRequest,
    Conflict,
    CursorAhead,
    Expired,
    InternalError,
    Overloaded,
    ShuttingDown,
    UnknownModel,
    UnknownStream,
)
from tidewire.engine.admission import Limits
from tidewire.engine.desk import Terms
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
    stored,
    text_of,
    well_formed,
    words,
)


class SlowLog(MemoryLog):
    """Opens streams only when it is let; then as it is told."""

    def __init__(self) -> None:
        super().__init__()
        self.asked = asyncio.Event()
        self.let = asyncio.Event()
        self.error: Exception | None = None

    async def open(self, meta, failed):
        self.asked.set()
        await self.let.wait()
        if self.error is not None:
            raise self.error
        return await super().open(meta, failed)


@pytest.mark.promise("P2")
@in_virtual_time
async def test_a_question_becomes_a_log_from_opened_to_closed():
    log = MemoryLog()
    desk = desk_of(log, {"m": Acts(says("Hello", " world"))})
    meta = await desk.start(question(chat="c1"))
    entries = await read(desk, meta.stream)
    well_formed(entries)
    opened = entries[0].event
    assert isinstance(opened, ev.Opened)
    assert (opened.stream, opened.model, opened.chat, opened.protocol) == (meta.stream, "m", "c1", "tidewire/1")
    assert (opened.durability, opened.on_disconnect) == ("memory", "continue")
    assert text_of(entries) == "Hello world"
    assert (closed(entries).status, closed(entries).reason) == ("completed", "stop")
    assert [e.raw for e in entries] == await stored(log, meta.stream)


@in_virtual_time
async def test_the_first_event_is_there_when_start_returns():
    desk = desk_of(MemoryLog(), {"m": Acts(silence)})
    meta = await desk.start(question())
    reader = await Reader.of(desk, meta.stream)
    assert isinstance(reader.take()[0].event, ev.Opened)
    await desk.cancel("default", meta.stream)


@in_virtual_time
async def test_what_is_known_of_a_stream_grows_with_it():
    desk = desk_of(MemoryLog(), {"m": Acts(silence)})
    meta = await desk.start(question(chat="c1"))
    await settle()
    known = await desk.meta("default", meta.stream)
    assert (known.last, known.ended) == (3, None)
    await desk.cancel("default", meta.stream)
    await settle()
    known = await desk.meta("default", meta.stream)
    assert known.ended is not None
    assert known.expires == pytest.approx(known.ended + 900_000, abs=1000)
    assert known.last == 6
    assert [m.stream for m in await desk.find("default", chat="c1")] == [meta.stream]
    assert await desk.find("default", chat="c2") == []
    assert await desk.find("other") == []


@in_virtual_time
async def test_a_client_may_choose_the_id_and_a_second_start_is_refused():
    desk = desk_of(MemoryLog(), {"m": Acts(says("Hi", interval=1.0))})
    meta = await desk.start(question(stream="mine"))
    assert meta.stream == "mine"
    with pytest.raises(Conflict):  # while it runs
        await desk.start(question(stream="mine"))
    entries = await read(desk, "mine")
    await settle()
    with pytest.raises(Conflict):  # and after
        await desk.start(question(stream="mine"))
    assert await desk.start(question(stream="mine", tenant="other"))  # ids are each tenant's own
    assert text_of(entries) == "Hi"
    assert await desk.cancel("other", "mine")


@pytest.mark.parametrize("stream", ["a b", "x" * 65, "ä", "a/b"])
@in_virtual_time
async def test_an_id_that_cannot_stand_in_a_url_is_refused(stream):
    desk = desk_of(MemoryLog(), {"m": Acts(silence)})
    with pytest.raises(BadRequest) as caught:
        await desk.start(question(stream=stream))
    assert caught.value.param == "stream"
    assert desk.open_streams == 0


@in_virtual_time
async def test_an_unknown_model_is_refused_and_counted():
    meter = Tally()
    desk = desk_of(MemoryLog(), {"m": Acts(silence)}, meter=meter)
    with pytest.raises(UnknownModel):
        await desk.start(question(model="other"))
    assert meter.of("refused") == [("unknown_model",)]
    assert desk.open_streams == 0


@pytest.mark.promise("P7")
@in_virtual_time
async def test_cancel_lets_go_of_the_host_and_the_stream_stays_readable():
    let_go = []

    async def script(request, sink):
        try:
            await silence(request, sink)
        finally:
            let_go.append(asyncio.get_running_loop().time())

    log, meter = MemoryLog(), Tally()
    desk = desk_of(log, {"m": Acts(script)}, meter=meter)
    meta = await desk.start(question())
    await asyncio.sleep(1.0)
    assert await desk.cancel("default", meta.stream)
    assert let_go == [asyncio.get_running_loop().time()]  # at once
    entries = await read(desk, meta.stream)
    well_formed(entries)
    assert (closed(entries).status, closed(entries).reason, closed(entries).error) == ("cancelled", "client", None)
    await settle()
    assert not await desk.cancel("default", meta.stream)
    assert [e.raw for e in await read(desk, meta.stream)] == [e.raw for e in entries]
    assert len(meter.of("cancelled")) == 1


@in_virtual_time
async def test_cancel_of_a_stream_that_has_ended_says_so_even_before_it_is_put_away():
    """Between the last event and the log's putting it away, which takes a commit, the desk still knows the run."""
    putting_away = asyncio.Event()

    class Lazy(MemoryLog):
        async def open(self, meta, failed):
            writer = await super().open(meta, failed)

            class Slow:
                full = False
                append = staticmethod(writer.append)
                room = staticmethod(writer.room)
                size = 0

                async def close(self, meta):
                    await putting_away.wait()
                    await writer.close(meta)

            return Slow()

    desk = desk_of(Lazy(), {"m": Acts(says("Hi"))})
    meta = await desk.start(question())
    await read(desk, meta.stream)
    assert desk.open_streams == 1
    assert not await desk.cancel("default", meta.stream)
    putting_away.set()
    await settle()
    assert desk.open_streams == 0


@pytest.mark.promise("P8")
@in_virtual_time
async def test_a_stream_that_never_was_or_belongs_to_another_is_unknown():
    desk = desk_of(MemoryLog(), {"m": Acts(says("Hi"))})
    meta = await desk.start(question())
    for tenant, stream in (("default", "never"), ("other", meta.stream)):
        for asked in (
            desk.follow(tenant, stream, 0, lambda: None),
            desk.cancel(tenant, stream),
            desk.meta(tenant, stream),
            desk.delete(tenant, stream),
        ):
            with pytest.raises(UnknownStream):
                await asked


@pytest.mark.promise("P8")
@in_virtual_time
async def test_a_cursor_past_the_end_is_refused_while_it_runs_and_after():
    desk = desk_of(MemoryLog(), {"m": Acts(says("Hi", interval=1.0))})
    meta = await desk.start(question())
    await settle()
    known = await desk.meta("default", meta.stream)
    for _ in range(2):
        with pytest.raises(CursorAhead):
            await desk.follow("default", meta.stream, known.last + 1, lambda: None)
        await read(desk, meta.stream)
        known = await desk.meta("default", meta.stream)
    with pytest.raises(BadRequest):
        await desk.follow("default", meta.stream, -1, lambda: None)


@pytest.mark.promise("P8")
@in_virtual_time
async def test_an_expired_stream_is_refused_as_expired():
    desk = desk_of(MemoryLog(), {"m": Acts(says("Hi"))}, terms=Terms(keep_s=0.0))
    meta = await desk.start(question())
    await read(desk, meta.stream)
    await settle()
    assert await desk.sweep() == 1
    for asked in (desk.follow("default", meta.stream, 0, lambda: None), desk.cancel("default", meta.stream)):
        with pytest.raises(Expired):
            await asked


@in_virtual_time
async def test_delete_stops_the_answer_and_forgets_it():
    desk = desk_of(MemoryLog(), {"m": Acts(silence)})
    meta = await desk.start(question())
    reader = await Reader.of(desk, meta.stream)
    await desk.delete("default", meta.stream)
    assert desk.open_streams == 0
    assert isinstance(reader.cursor.failed, Expired)
    with pytest.raises(Expired):
        await desk.meta("default", meta.stream)


@in_virtual_time
async def test_two_deletes_at_once_do_no_harm():
    desk = desk_of(MemoryLog(), {"m": Acts(silence)})
    meta = await desk.start(question())
    first, second = await asyncio.gather(
        desk.delete("default", meta.stream), desk.delete("default", meta.stream), return_exceptions=True
    )
    assert first is None
    assert isinstance(second, Expired)


@in_virtual_time
async def test_more_streams_than_allowed_are_refused_with_when_to_come_back():
    meter = Tally()
    desk = desk_of(MemoryLog(), {"m": Acts(silence)}, limits=Limits(streams=2, busy=10.0), meter=meter)
    metas = [await desk.start(question()) for _ in range(2)]
    with pytest.raises(Overloaded) as caught:
        await desk.start(question())
    assert caught.value.retry_after
    assert caught.value.status == 429
    assert meter.of("refused") == [("overloaded",)]
    await desk.cancel("default", metas[0].stream)
    await settle()
    await desk.start(question())
    await desk.drain(0.0)


@in_virtual_time
async def test_starts_that_wait_for_their_model_together_do_not_pass_the_limit_together():
    desk = desk_of(MemoryLog(), {"m": Acts(silence)}, limits=Limits(streams=2, busy=10.0))
    find = desk._find_provider
    asked = asyncio.Event()

    async def slowly(model):
        await asked.wait()
        return await find(model)

    desk._find_provider = slowly
    starts = [asyncio.create_task(desk.start(question())) for _ in range(5)]
    await settle()
    asked.set()
    results = await asyncio.gather(*starts, return_exceptions=True)
    assert sum(isinstance(r, Overloaded) for r in results) == 3
    assert desk.open_streams == 2
    await desk.drain(0.0)


@in_virtual_time
async def test_a_start_that_waits_for_its_model_does_not_slip_into_a_server_that_has_drained():
    desk = desk_of(MemoryLog(), {"m": Acts(silence)})
    find = desk._find_provider
    asked = asyncio.Event()

    async def slowly(model):
        await asked.wait()
        return await find(model)

    desk._find_provider = slowly
    start = asyncio.create_task(desk.start(question()))
    await settle()
    await desk.drain(0.0)
    asked.set()
    with pytest.raises(ShuttingDown):
        await start
    assert desk.open_streams == 0


@in_virtual_time
async def test_memory_over_its_limit_refuses_new_streams():
    log, script = MemoryLog(), Acts(says("x" * 2000))
    desk = desk_of(log, {"m": script})
    await read(desk, (await desk.start(question())).stream)
    full = desk_of(log, {"m": script}, limits=Limits(memory_bytes=1000, busy=10.0))
    with pytest.raises(Overloaded):
        await full.start(question())


@in_virtual_time
async def test_more_readers_than_allowed_are_refused():
    desk = desk_of(MemoryLog(), {"m": Acts(silence)}, terms=Terms(readers=2))
    meta = await desk.start(question())
    first, _ = [await Reader.of(desk, meta.stream) for _ in range(2)]
    with pytest.raises(Overloaded):
        await Reader.of(desk, meta.stream)
    first.leave()
    await Reader.of(desk, meta.stream)
    await desk.drain(0.0)


@in_virtual_time
async def test_two_readers_get_the_same_bytes():
    desk = desk_of(MemoryLog(), {"m": Acts(says(*map(str, range(50)), interval=0.01))})
    meta = await desk.start(question())
    one = asyncio.create_task(read(desk, meta.stream))
    await asyncio.sleep(0.2)
    two = await Reader.of(desk, meta.stream, after=7)
    entries = await one
    late = await two.all()
    assert [e.raw for e in late] == [e.raw for e in entries[7:]]


@in_virtual_time
async def test_a_drain_lets_answers_end_and_takes_no_new_ones():
    log = MemoryLog()
    desk = desk_of(log, {"m": Acts(says("a", "b", interval=1.0))})
    meta = await desk.start(question())
    draining = asyncio.create_task(desk.drain(30.0))
    await settle()
    with pytest.raises(ShuttingDown) as caught:
        await desk.start(question())
    assert caught.value.status == 503
    assert caught.value.retryable
    await draining
    assert asyncio.get_running_loop().time() == pytest.approx(2.0)
    assert ev.decode((await stored(log, meta.stream))[-1]).status == "completed"


@in_virtual_time
async def test_a_drain_ends_what_takes_too_long_with_a_retryable_error():
    log = MemoryLog()
    desk = desk_of(log, {"m": Acts(silence)})
    meta = await desk.start(question())
    await desk.drain(3.0)
    assert asyncio.get_running_loop().time() == pytest.approx(3.0)
    last = ev.decode((await stored(log, meta.stream))[-1])
    assert isinstance(last, ev.Closed)
    assert (last.status, last.reason) == ("failed", "shutdown")
    assert last.error is not None
    assert (last.error.code, last.error.retryable) == ("shutting_down", True)
    assert desk.open_streams == 0


@in_virtual_time
async def test_a_stream_stopped_while_its_log_opens_ends_at_once():
    log = SlowLog()
    desk = desk_of(log, {"m": Acts(silence)})
    start = asyncio.create_task(desk.start(question(stream="s1")))
    await log.asked.wait()
    cancel = asyncio.create_task(desk.cancel("default", "s1"))
    await settle()
    assert not cancel.done()
    log.let.set()
    await start
    assert await cancel
    entries = await read(desk, "s1")
    well_formed(entries)
    assert closed(entries).reason == "client"


@in_virtual_time
async def test_who_stops_a_stream_whose_log_cannot_be_opened_does_not_wait_for_ever():
    log = SlowLog()
    log.error = InternalError("the disk is full", code="storage_failed")
    desk = desk_of(log, {"m": Acts(silence)})
    start = asyncio.create_task(desk.start(question(stream="s1")))
    await log.asked.wait()
    waiting = [
        asyncio.create_task(asked)
        for asked in (desk.cancel("default", "s1"), desk.delete("default", "s1"), desk.drain(1.0))
    ]
    await settle()
    log.let.set()
    async with asyncio.timeout(60):
        results = await asyncio.gather(start, *waiting, return_exceptions=True)
    assert isinstance(results[0], InternalError)
    assert all(isinstance(r, UnknownStream) for r in results[1:3])
    assert results[3] is None
    assert desk.open_streams == 0


@in_virtual_time
async def test_a_start_given_up_while_its_log_opens_leaves_nothing():
    log = SlowLog()
    desk = desk_of(log, {"m": Acts(silence)})
    start = asyncio.create_task(desk.start(question(stream="s1")))
    await log.asked.wait()
    start.cancel()
    with pytest.raises(asyncio.CancelledError):
        await start
    assert desk.open_streams == 0
    log.let.set()
    await desk.start(question(stream="s1"))
    await desk.drain(0.0)


@in_virtual_time
async def test_a_stream_stopped_long_before_its_log_opens_still_ends():
    log = SlowLog()
    desk = desk_of(log, {"m": Acts(silence)})
    start = asyncio.create_task(desk.start(question(stream="s1")))
    await log.asked.wait()
    cancel = asyncio.create_task(desk.cancel("default", "s1"))
    asyncio.get_running_loop().set_exception_handler(lambda loop, context: None)
    await asyncio.sleep(60)  # a disk that stands still: longer than a provider may take to let go
    log.let.set()
    await start
    async with asyncio.timeout(60):
        await cancel
        well_formed(await read(desk, "s1"))
    await settle()
    assert desk.open_streams == 0


@in_virtual_time
async def test_the_models_on_offer_are_those_of_the_house():
    desk = desk_of(MemoryLog(), {"m": Acts(silence)})
    assert [m.id for m in await desk.models()] == ["m"]


@in_virtual_time
async def test_what_a_step_says_and_changes_comes_before_the_answer():
    class Step:
        async def prepare(self, request, sink):
            sink.feed([ev.Progress(stage="retrieving", detail="looking")])
            await asyncio.sleep(1.0)
            return question("something else", model=request.model)

    async def script(request, sink):
        sink.feed([*words(request.question), ev.PartEnded(part=0), ev.Finish(reason="stop")])

    desk = desk_of(MemoryLog(), {"m": Acts(script)}, steps=[Step()])
    entries = await read(desk, (await desk.start(question())).stream)
    well_formed(entries)
    assert isinstance(entries[1].event, ev.Progress)
    assert text_of(entries) == "something else"


@in_virtual_time
async def test_a_step_that_refuses_ends_the_stream_with_its_error():
    class Step:
        async def prepare(self, request, sink):
            raise Overloaded("the index is busy", retry_after=2.0)

    desk = desk_of(MemoryLog(), {"m": Acts(silence)}, steps=[Step()])
    entries = await read(desk, (await desk.start(question())).stream)
    well_formed(entries)
    assert closed(entries).error == Overloaded("the index is busy", retry_after=2.0).info()
