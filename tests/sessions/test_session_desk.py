"""Sessions: whatever happens, a request is given the turns of its own session, in order, and nobody else's."""

from __future__ import annotations

import asyncio
import random
import threading

import pytest

from tidewire.core import events as ev
from tidewire.core.errors import BadRequest, Conflict, Expired, NotFound, UnknownStream, UpstreamError
from tidewire.core.events import Delta, Edit, Finish, PartEnded, PartStarted, Usage
from tidewire.core.request import Message, Request, Text, Thought, ToolCall, ToolResult
from tidewire.sessions.desk import Bounds, SessionDesk
from tidewire.sessions.disk import DiskStore
from tidewire.sessions.session import ABRIDGED, Session, given, with_turn
from tidewire.sessions.store import MemoryStore
from tidewire.sessions.summary import AT_ONCE, Plan, Summariser, old
from tidewire.stores.memory import MemoryLog
from tidewire.telemetry.sessions import SessionMetrics
from workshop import Acts, desk_of, in_virtual_time, question, read, says, settle, silence


class Scene:
    """A session desk whose one model remembers what it was given."""

    def __init__(
        self, script=None, *, ttl=3600.0, bounds=None, size=1 << 20, store=None, providers=(), summariser=None
    ):
        self.seen: list[list[Message]] = []
        self.script = script or says("answer")

        async def act(request, sink):
            self.seen.append(request.messages)
            await self.script(request, sink)

        self.clock = asyncio.get_running_loop().time
        self.meter = SessionMetrics()
        self.inner = desk_of(MemoryLog(1 << 24), {"m": Acts(act), "other": Acts(act), **dict(providers)})
        self.store = MemoryStore(size, ttl, self.clock) if store is None else store
        self.desk = SessionDesk(
            self.inner, self.store, bounds=bounds or Bounds(), now=self.clock, meter=self.meter,
            summariser=summariser(self) if summariser else None,
        )  # fmt: skip

    async def ask(self, said="Hello?", chat="c1", **more):
        meta = await self.desk.start(question(said, chat=chat, session=True, **more))
        await read(self.inner, meta.stream, tenant=meta.tenant)
        await settle()
        return meta

    def words(self, place=-1):
        return [m.text for m in self.seen[place]]

    async def close(self):
        await self.inner.drain(0.0)
        await self.desk.close()


@in_virtual_time
async def test_a_request_that_sends_only_what_is_new_is_answered_with_all_that_was_said():
    scene = Scene()
    await scene.ask("one")
    await scene.ask("two")
    await scene.ask("three")
    assert scene.words() == ["one", "answer", "two", "answer", "three"]
    await scene.ask("alone", chat="c2")
    assert scene.words() == ["alone"]
    await scene.close()


@in_virtual_time
async def test_chat_alone_keeps_nothing():
    scene = Scene()
    meta = await scene.desk.start(question(chat="c1"))
    await read(scene.inner, meta.stream)
    assert await scene.desk.sessions("default", None, 10) == []
    await scene.close()


@pytest.mark.parametrize("kind", ["memory", "disk"])
@pytest.mark.parametrize("seed", range(40))
def test_whatever_the_sequence_a_request_is_given_exactly_the_turns_of_its_session(seed, kind, tmp_path):
    """Tenants, users and ids that are alike; answers that end, break off, fail without a word, are stopped; sessions deleted."""
    rng = random.Random(seed)

    async def world():
        store = None
        if kind == "disk":
            store = DiskStore(tmp_path / "s.db", 1 << 20, 3600.0, asyncio.get_running_loop().time)
            await store.start()
        scene = Scene(store=store)
        model: dict[tuple[str, str, str], list[str]] = {}
        for n in range(25):
            key = (rng.choice(["t1", "t2"]), rng.choice(["", "u1", "u2"]), rng.choice(["a", "b"]))
            does = rng.choice(
                ["ends", "ends", "ends", "breaks", "fails", "stopped", "deleted", "deleted while it speaks"]
            )
            asked, answer = f"q{n} of {key}", f"a{n} of {key}"
            if does == "deleted":
                if key in model:
                    assert await scene.desk.forget(*key) == len(model.pop(key)) // 2
                else:
                    with pytest.raises(NotFound):
                        await scene.desk.forget(*key)
                continue

            async def script(request, sink, does=does, answer=answer):
                if does == "fails":
                    raise UpstreamError("no")
                sink.feed([PartStarted(part=0, kind="text"), Delta(part=0, text=answer)])
                if does == "breaks":
                    raise UpstreamError("gone")
                if does in ("stopped", "deleted while it speaks"):
                    await asyncio.get_running_loop().create_future()
                sink.feed([PartEnded(part=0), Finish(reason="stop")])

            scene.script = script
            tenant, user, chat = key
            options = {"user": user} if user else {}
            meta = await scene.desk.start(question(asked, tenant=tenant, chat=chat, session=True, options=options))
            while not (len(scene.seen) and scene.words()[-1] == asked):
                await asyncio.sleep(0)
            assert scene.words() == [*model.get(key, []), asked]
            await settle()
            if does == "deleted while it speaks":
                await scene.desk.forget(*key)
                model.pop(key, None)
            else:
                if does == "stopped":
                    await scene.desk.cancel(tenant, meta.stream)
                await read(scene.inner, meta.stream, tenant=tenant)
                if does != "fails":
                    model[key] = [*model.get(key, []), asked, answer]
            if key in scene.desk._pending:
                await scene.desk._pending[key].over.wait()
        for tenant in ("t1", "t2"):
            found = {k: s for k, s in await scene.desk.sessions(tenant, None, 100)}
            assert set(found) == {k for k in model if k[0] == tenant}
            for k, session in found.items():
                assert [m.text for turn in session.turns for m in (*turn.asked, *turn.said)] == model[k]
        assert not scene.desk._pending
        await scene.close()

    if kind == "disk":  # a thread does not wait for virtual time
        asyncio.run(world())
    else:
        in_virtual_time(world)()


@in_virtual_time
async def test_a_second_request_waits_for_an_answer_that_is_ending_and_is_refused_beside_one_that_goes_on():
    scene = Scene(says("a", "b", interval=0.4))
    first = await scene.desk.start(question("one", chat="c", session=True))
    await scene.ask("two", chat="c")
    assert scene.words() == ["one", "ab", "two"]
    scene.script = silence
    running = await scene.desk.start(question("three", chat="c", session=True))
    with pytest.raises(Conflict) as refused:
        await scene.desk.start(question("four", chat="c", session=True))
    assert refused.value.kind == "session_busy"
    assert running.stream in str(refused.value)
    await scene.desk.cancel("default", running.stream)
    scene.script = says("yes")
    await scene.ask("five", chat="c")
    assert scene.words() == ["one", "ab", "two", "ab", "three", "one ", "five"]
    session = await scene.desk.session("default", "", "c")
    assert [t.status for t in session.turns] == ["completed", "completed", "cancelled", "completed"]
    assert session.turns[0].stream == first.stream
    await scene.close()


@in_virtual_time
async def test_a_session_is_forgotten_after_its_last_use_and_not_while_it_is_answered():
    scene = Scene(ttl=60.0)
    await scene.ask("one")
    await asyncio.sleep(59)
    await scene.ask("two")
    await asyncio.sleep(61)
    await scene.desk.sweep()
    assert scene.store.size == 0
    await scene.ask("three")
    assert scene.words() == ["three"]
    scene.script = says("slow", interval=100.0)
    await scene.ask("four")  # longer than the lifetime, with a sweep in between
    assert [t.n for t in (await scene.desk.session("default", "", "c1")).turns] == [1, 2]
    await scene.close()


@in_virtual_time
async def test_a_session_keeps_within_its_bounds_and_a_store_within_its_own():
    scene = Scene(says("x" * 100), bounds=Bounds(turns=3, size=1 << 20))
    for n in range(6):
        await scene.ask(f"q{n}")
    session = await scene.desk.session("default", "", "c1")
    assert [t.n for t in session.turns] == [4, 5, 6]
    scene = Scene(says("x" * 1000), bounds=Bounds(turns=100, size=4000), size=10_000)
    for chat in ("a", "b", "c", "d"):
        for n in range(6):
            await scene.ask(f"q{n}", chat=chat)
    assert scene.store.size <= 10_000
    assert [key[2] for key, _ in await scene.desk.sessions("default", None, 10)] == ["d", "c"]
    await scene.close()


@in_virtual_time
async def test_a_session_on_disk_survives_its_server_and_is_gone_from_the_file_when_deleted(tmp_path):
    path = tmp_path / "sessions.db"

    async def server(run):
        store = DiskStore(path, 1 << 20, 3600.0, lambda: 1000.0)
        await store.start()
        key = ("t", "", "c")
        await run(store, key)
        await store.close()

    async def write(store, key):
        request = question("my secret word is rhubarb")
        said = [Message(role="assistant", content=[Text("noted")])]
        new = with_turn(
            Session(1000.0, 1000.0),
            request,
            said,
            stream="s",
            closed=ev.Closed(status="completed", reason="stop"),
            now=1000.0,
        )
        await store.update(key, lambda before: new)

    async def look(store, key):
        assert (await store.get(key)).turns[0].asked[0].text.endswith("rhubarb")
        assert await store.get(("other", "", "c")) is None
        await store.delete(key)
        assert store.size == 0

    def work():
        asyncio.run(server(write))
        assert any(b"rhubarb" in f.read_bytes() for f in tmp_path.iterdir())
        asyncio.run(server(look))
        assert not any(b"rhubarb" in f.read_bytes() for f in tmp_path.iterdir())

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()


@in_virtual_time
async def test_what_was_edited_called_thought_and_refused_is_in_the_next_request():
    scene = Scene()

    async def calls(request, sink):
        sink.feed(
            [
                PartStarted(part=0, kind="thinking"), Delta(part=0, text="hm"), ev.Signature(part=0, value="proof"), PartEnded(part=0),
                PartStarted(part=1, kind="text"), Delta(part=1, text="Let me sea"), Edit(part=1, start=7, end=10, text="see"),
                PartEnded(part=1),
                PartStarted(part=2, kind="tool_call", name="clock", call="k1"), Delta(part=2, text="{}"), PartEnded(part=2),
                Finish(reason="tool_calls"),
            ]
        )  # fmt: skip

    scene.script = calls
    await scene.ask("what time?")
    scene.script = says("I will not", finish="stop")
    result = Message(role="tool", content=[ToolResult(call="k1", text="noon")])
    meta = await scene.desk.start(Request(model="m", messages=[result], chat="c1", session=True))
    await read(scene.inner, meta.stream)
    call = ToolCall(call="k1", name="clock", arguments="{}")
    assert scene.seen[-1][1].content == [Thought(text="hm", signature="proof"), Text("Let me see"), call]
    assert scene.seen[-1][2] == result
    await settle()
    await scene.ask("and now?", model="other")
    assert scene.seen[-1][1].content == [
        Text("Let me see"),
        call,
    ]  # thoughts are for the call's results, and for their model
    await scene.close()


def test_calls_that_nobody_answered_are_left_out_and_system_texts_stay_until_there_are_others():
    said = [Message(role="assistant", content=[ToolCall(call="k", name="t", arguments="{")])]
    rule = Message(role="system", content=[Text("be brief")])
    first = question("one")
    first.messages.insert(0, rule)
    session = with_turn(
        Session(0.0, 0.0), first, said, stream="s", closed=ev.Closed(status="completed", reason="tool_calls"), now=1.0
    )
    assert [m.text for m in given(session, question("two"))] == ["be brief", "one", "two"]
    other = question("two")
    other.messages.append(Message(role="system", content=[Text("be long")]))
    assert [m.text for m in given(session, other)] == ["be long", "one", "two"]
    broken = with_turn(
        Session(0.0, 0.0), first, said, stream="s", closed=ev.Closed(status="cancelled", reason="client"), now=1.0
    )
    assert broken.turns[0].said == []


@in_virtual_time
async def test_what_a_session_cannot_do_is_refused_in_words():
    scene = Scene()
    history = [Message(role="assistant", content=[Text("mine")]), *question("two").messages]
    for request, code in (
        (question(session=True), "invalid_request"),
        (question(session=True, chat="c", n=2), "invalid_request"),
        (Request(model="m", messages=history, chat="c", session=True), "session_and_history"),
        (
            Request(model="m", messages=[Message(role="system", content=[Text("x")])], chat="c", session=True),
            "invalid_request",
        ),
    ):
        with pytest.raises(BadRequest) as refused:
            await scene.desk.start(request)
        assert refused.value.kind == code
    none = SessionDesk(scene.inner, None, bounds=Bounds(), now=scene.clock, meter=scene.meter)
    with pytest.raises(BadRequest, match="off"):
        await none.start(question(session=True, chat="c"))
    await scene.close()


# Summaries


def told(text="short", **more):
    async def script(request, sink):
        sink.feed([PartStarted(part=0, kind="text"), Delta(part=0, text=text), PartEnded(part=0)])
        sink.feed([Usage(counted_by="host", input=70, output=5), Finish(reason="stop")])

    return script


def summarising(script, asked, budget=200, **plan):
    """A scene whose sessions are summarised by a model that does as `script` says; `asked` gets what it is asked."""

    async def act(request, sink):
        asked.append(request)
        await script(request, sink)

    def make(scene):
        return Summariser(
            Plan(model="small", recent=2, **plan), find=scene.inner._find_provider, budget=lambda name: budget,
            meter=scene.meter, now=scene.clock,
        )  # fmt: skip

    return Scene(says("word " * 20), providers={"small": Acts(act)}, summariser=make)


@in_virtual_time
async def test_old_turns_are_summarised_after_the_answer_and_the_next_request_is_given_the_summary():
    asked = []
    scene = summarising(told(), asked)
    for n in range(6):
        await scene.ask(f"q{n}")
    session = await scene.desk.session("default", "", "c1")
    assert session.summary.text == "short"
    assert len(session.turns) == 6  # what it stands for is kept, to be read
    covers = session.summary.covers
    await scene.ask("and?")
    assert scene.seen[-1][0].text == ABRIDGED + "short"
    assert scene.seen[-1][0].kept
    assert [w for w in scene.words() if w.startswith("q")] == [f"q{n}" for n in range(covers, 6)]
    assert "q0" in asked[0].messages[1].text
    if len(asked) > 1:
        assert asked[1].messages[1].text.startswith("Earlier summary:\nshort")
    assert scene.meter.summaries["made"] == len(asked)
    assert scene.meter.tokens == {"input": 70 * len(asked), "output": 5 * len(asked)}
    await scene.close()


async def broken(request, sink):
    raise UpstreamError("no")


@pytest.mark.parametrize(("script", "result"), [(broken, "failed"), (silence, "late"), (told(""), "failed")])
def test_a_summary_that_fails_or_is_late_delays_nothing_and_changes_nothing(script, result):
    async def world():
        scene = summarising(script, [])
        for n in range(6):
            await scene.ask(f"q{n}")
        assert [w for w in scene.words() if w.startswith("q")] == [f"q{n}" for n in range(6)]
        await asyncio.sleep(61)
        assert scene.meter.summaries[result] >= 1 or script is broken
        assert (await scene.desk.session("default", "", "c1")).summary is None
        await scene.close()

    in_virtual_time(world)()


@in_virtual_time
async def test_a_summary_is_given_up_when_its_session_is_deleted_and_when_the_server_ends():
    asked = []
    scene = summarising(silence, asked)
    for chat in ("gone", "open"):
        for n in range(4):
            await scene.ask(f"q{n}", chat=chat)
    assert len(asked) == 2
    await scene.desk.forget("default", "", "gone")
    await settle()
    assert scene.meter.summaries["cancelled"] == 1
    await scene.close()
    assert scene.meter.summaries["cancelled"] == 2
    assert scene.store.size == 0


@in_virtual_time
async def test_deleting_a_session_deletes_the_streams_of_its_answers():
    scene = Scene()
    metas = [await scene.ask("one"), await scene.ask("two")]
    scene.script = silence
    running = await scene.desk.start(question("three", chat="c1", session=True))
    await settle()
    assert await scene.desk.forget("default", "", "c1") == 2
    for meta in (*metas, running):
        with pytest.raises((UnknownStream, Expired)):
            await scene.inner.meta("default", meta.stream)
    await settle()
    with pytest.raises(NotFound):
        await scene.desk.session("default", "", "c1")
    assert scene.meter.turns["dropped"] == 1
    await scene.close()


@in_virtual_time
async def test_a_session_that_is_deleted_while_its_answer_begins_keeps_nothing_of_it():
    scene = Scene(silence)
    await scene.inner._log.start()
    open_log = scene.inner._log.open

    async def slowly(*args):
        await asyncio.sleep(1)
        return await open_log(*args)

    scene.inner._log.open = slowly
    beginning = asyncio.create_task(scene.desk.start(question(chat="c1", session=True)))
    await asyncio.sleep(0.5)
    assert await scene.desk.forget("default", "", "c1") == 0
    meta = await beginning
    await settle()
    with pytest.raises((UnknownStream, Expired)):
        await scene.inner.meta("default", meta.stream)
    assert scene.store.size == 0
    await scene.close()


@in_virtual_time
async def test_few_summaries_are_under_way_at_once():
    asked = []
    scene = summarising(silence, asked)
    for chat in range(AT_ONCE + 3):
        for n in range(4):
            await scene.ask(f"q{n}", chat=f"c{chat}")
    assert len(asked) == AT_ONCE
    await asyncio.sleep(61)
    assert len(asked) == AT_ONCE + 3
    await scene.close()


def test_a_summary_never_parts_a_call_from_its_results():
    call = [Message(role="assistant", content=[ToolCall(call="k", name="t", arguments="{}")])]
    session = Session(0.0, 0.0)
    for n in range(8):
        asks = n % 2 == 0
        asked = question(f"q{n}")
        if not asks:
            asked.messages = [Message(role="tool", content=[ToolResult(call="k", text="found")])]
        end = ev.Closed(status="completed", reason="tool_calls" if asks else "stop")
        session = with_turn(session, asked, call if asks else [], stream="s", closed=end, now=0.0)
    assert [len(old(session.turns, recent)) for recent in range(1, 10)] == [6, 6, 4, 4, 2, 2, 0, 0, 0]
