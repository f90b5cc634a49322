"""Answers that were given before are given again, to whom they may be, while they may be."""

from __future__ import annotations

import asyncio
import contextlib
import random
import sqlite3

import pytest
from test_flights import Cup, Told

from tidewire.cache.answers import Cache, Cached, Rules
from tidewire.cache.disk import DiskShelf
from tidewire.cache.identity import ABOUT, Basis, key
from tidewire.cache.shelf import ENTRY, MemoryShelf
from tidewire.core.errors import TidewireError, UpstreamError
from tidewire.core.events import (
    Attempt,
    Blob,
    Citation,
    Delta,
    Finish,
    Notice,
    PartEnded,
    PartStarted,
    Progress,
    Retrieved,
    Timing,
    Usage,
)
from tidewire.core.request import Message, Request, Reuse, Text
from workshop import Acts, in_virtual_time, question

LIMIT, TTL = 1 << 20, 100.0


class Clock:
    """Unix seconds that a test turns."""

    def __init__(self):
        self.now = 1_000_000.0

    def __call__(self):
        return self.now


class World:
    def __init__(self, script=None, *, shelf=None, **rules):
        self.asked = 0
        self.clock = Clock()
        self.version = "1"
        self.meter = Told()
        self.shelf = shelf or MemoryShelf(LIMIT, TTL, self.clock)
        self.script = script or answers("a river ", "runs")
        self.cache = Cache(
            self.shelf,
            Rules(**{"answers": "all", **rules}),
            basis=lambda answerer, r: Basis(answerer, self.version),
            meter=self.meter,
            now=self.clock,
            clock=asyncio.get_running_loop().time,
            price=lambda attempt, usage: 0.5,
        )

    async def ask(self, said="Hello?", *, cup=None, script=None, **more):
        async def act(request, sink):
            self.asked += 1
            await (script or self.script)(request, sink)

        cup = cup or Cup()
        await Cached(Acts(act, name="host"), self.cache).answer(question(said, **more), cup)
        return cup


def answers(*texts, finish="stop", before=(), usage=True, interval=0.0):
    async def script(request, sink):
        sink.feed([Attempt(n=1, provider="host", model="m", reason="start"), *before])
        await asyncio.sleep(2.0)
        sink.feed([PartStarted(part=0, kind="text")])
        for text in texts:
            sink.feed([Delta(part=0, text=text)])
            await asyncio.sleep(interval)
        sink.feed([PartEnded(part=0)])
        sink.feed([*([Usage(counted_by="host", input=3, output=2)] if usage else []), Finish(reason=finish)])

    return script


@in_virtual_time
async def test_the_second_time_the_same_events_come_from_the_cache_at_once():
    world = World()
    loop = asyncio.get_running_loop()
    first = await world.ask()
    began = loop.time()
    second = await world.ask()
    assert (world.asked, loop.time() - began) == (1, 0.0)
    assert second.text == first.text == "a river runs"
    assert [type(e) for e in second.events] == [
        Timing, Attempt, PartStarted, Delta, Delta, PartEnded, Usage, Finish]  # fmt: skip
    attempt = second.events[1]
    assert (attempt.n, attempt.provider, attempt.model) == (1, "cache", "m")
    assert (second.usages[0].reused, second.usages[0].input, first.usages[0].reused) == ("cache", 3, None)
    assert world.meter.hits == [("exact", 2.0, 2, 0.5)]
    assert world.meter.misses == 1
    third = await world.ask()
    assert [e.seq for e in third.events] == list(range(len(third.events))), "each reader gets events of its own"


@in_virtual_time
async def test_an_answer_without_usage_is_counted_once():
    world = World(answers("one ", "two ", usage=False))
    assert (await world.ask()).usages == []
    [usage] = (await world.ask()).usages
    assert (usage.output, usage.reused) == (2, "cache")


@pytest.mark.parametrize(("pace", "took"), [(0.0, 0.0), (10.0, 0.4), ("original", 2.0)])
def test_it_is_given_at_the_pace_that_was_asked_for(pace, took):
    @in_virtual_time
    async def run():
        world = World(answers(*"abcde", interval=0.4), pace=pace)
        loop = asyncio.get_running_loop()
        await world.ask()
        began = loop.time()
        cup = await world.ask()
        assert cup.text == "abcde"
        assert loop.time() - began == pytest.approx(took, abs=1e-3)

    run()


async def cut(request, sink):
    sink.feed([PartStarted(part=0, kind="text"), Delta(part=0, text="half")])
    raise UpstreamError("cut", code="upstream_cut")


async def unfinished(request, sink):
    sink.feed([PartStarted(part=0, kind="text"), Delta(part=0, text="half")])


async def calls(request, sink):
    sink.feed([PartStarted(part=0, kind="tool_call", name="pay", call="c1"), Delta(part=0, text="{}")])
    sink.feed([PartEnded(part=0), PartStarted(part=1, kind="tool_result", call="c1"), Delta(part=1, text="paid")])
    sink.feed([PartEnded(part=1), PartStarted(part=2, kind="text"), Delta(part=2, text="done"), PartEnded(part=2)])
    sink.feed([Finish(reason="stop")])


async def refuses(request, sink):
    sink.feed([PartStarted(part=0, kind="refusal"), Delta(part=0, text="no"), PartEnded(part=0), Finish(reason="stop")])


async def says_nothing(request, sink):
    sink.feed([Finish(reason="stop")])


NEVER = {
    "cut": cut,
    "unfinished": unfinished,
    "calls": calls,
    "refusal": refuses,
    "empty": says_nothing,
    "length": answers("too long", finish="length"),
    "filtered": answers("b***", finish="content_filter"),
    "tool_calls": answers("look", finish="tool_calls"),
    "time": answers("slow", finish="time_limit"),
    "degraded": answers("small", before=[Notice(code="degraded", message="a smaller model answers")]),
    "pieced together": answers("a b", before=[Attempt(n=2, provider="h", model="m", reason="continuation")]),
    "searched by itself": answers("quoted", before=[Progress(stage="retrieving")]),
    "has searched": answers("quoted", before=[Retrieved(namespace="default", epoch=1, passages=[], ms=1.0)]),
    "large": answers("x" * 2000),
}


@pytest.mark.parametrize("name", NEVER)
def test_what_did_not_end_well_or_did_something_is_never_kept(name):
    @in_virtual_time
    async def run():
        world = World(NEVER[name], entry_bytes=1500)
        for _ in range(2):
            try:
                await world.ask()
            except UpstreamError:
                assert name == "cut"
        assert world.asked == 2
        assert await world.shelf.count("default") == (0, 0)

    run()


@in_virtual_time
async def test_an_aborted_answer_is_never_kept():
    world = World(answers(*"abcde", interval=1.0))
    task = asyncio.ensure_future(world.ask())
    await asyncio.sleep(4.5)
    task.cancel()
    await asyncio.wait((task,))
    assert await world.shelf.count("default") == (0, 0)


@in_virtual_time
async def test_settings_that_change_while_it_is_being_said_keep_it_from_being_kept():
    world = World(answers(*"abc", interval=1.0))
    task = asyncio.ensure_future(world.ask())
    await asyncio.sleep(1.5)
    world.version = "2"
    await task
    assert await world.shelf.count("default") == (0, 0)
    await world.ask()
    await world.ask()
    assert world.asked == 2


@in_virtual_time
async def test_an_answer_whose_document_is_deleted_while_it_is_being_said_is_not_kept():
    for documents, gone, kept in ((("x",), "default", 0), (("x",), "other", 1), ((), "default", 1)):
        world = World(answers(*"abc", interval=1.0))
        task = asyncio.ensure_future(world.ask(documents=documents))
        await asyncio.sleep(1.5)
        world.cache.forget(gone, ["x"])
        await task
        assert (await world.shelf.count("default"))[0] == kept


@in_virtual_time
async def test_its_time_passes_and_a_clock_put_back_is_not_believed():
    world = World()
    await world.ask()
    world.clock.now += TTL - 1
    await world.ask()
    assert world.asked == 1
    world.clock.now += 1
    await world.ask()
    assert world.asked == 2
    world.clock.now -= 10_000  # it seems to come from the future now
    await world.ask()
    assert world.asked == 3
    world.clock.now += 10_000
    world.shelf.sweep()
    assert world.shelf.size == 0


@in_virtual_time
async def test_what_a_request_says_of_reuse_counts():
    world = World()
    await world.ask(reuse=Reuse.parse("no-store"))
    await world.ask()
    assert world.asked == 2
    await world.ask(reuse=Reuse.parse("no-store"))
    await world.ask(reuse=Reuse.parse("no-cache"))
    assert world.asked == 4
    world.clock.now += 50
    await world.ask(reuse=Reuse.parse("max-age=60"))
    assert world.asked == 4
    await world.ask(reuse=Reuse.parse("max-age=40"))  # and is kept anew
    await world.ask(reuse=Reuse.parse("only-if-cached, max-age=1"))
    assert world.asked == 5
    with pytest.raises(TidewireError, match="no kept answer") as told:
        await world.ask("never asked", reuse=Reuse.parse("only-if-cached"))
    assert (told.value.status, told.value.kind, world.asked) == (504, "not_cached", 5)


def test_only_these_words_of_the_header_count():
    assert Reuse.parse("") is None
    assert Reuse.parse("public, private") is None
    assert Reuse.parse('MAX-AGE="5"') == Reuse(max_age=5.0)
    assert Reuse.parse("max-age=x") == Reuse(read=False)
    assert Reuse.parse("no-store,only-if-cached") == Reuse(store=False, read=False, only=True)


@pytest.mark.parametrize(
    ("rules", "temperature", "reuse", "kept"),
    [
        ("deterministic", 0.0, "", True),
        ("deterministic", None, "", False),
        ("deterministic", 0.7, "", False),
        ("deterministic", 0.7, "max-age=60", True),
        ("asked", 0.0, "", False),
        ("asked", 0.7, "max-age=60", True),
        ("all", 0.7, "", True),
    ],
)
def test_which_requests_it_applies_to(rules, temperature, reuse, kept):
    @in_virtual_time
    async def run():
        world = World(answers="deterministic")
        world.cache.rules = Rules(answers=rules)
        for _ in range(2):
            await world.ask(temperature=temperature, reuse=Reuse.parse(reuse))
        assert world.asked == (1 if kept else 2)

    run()


@in_virtual_time
async def test_users_share_only_where_tenants_do():
    alone, world = World(scope="user"), World(scope="tenant")
    for one in (alone, world):
        for user in ("ann", "bob", "ann", None):
            await one.ask(dialect="openai_chat", options={"user": user} if user else {})
    assert (alone.asked, world.asked) == (3, 1)
    await alone.ask()
    assert alone.asked == 4, "who names no user shares with nobody"


@in_virtual_time
async def test_sources_are_older_when_they_are_cited_again():
    cited = Citation(part=0, start=0, end=1, source="s", title="t", passage="p", age=5.0)
    blob = Blob(part=0, data=b"\x00\xff", partial=False)

    async def script(request, sink):
        sink.feed([PartStarted(part=0, kind="text"), Delta(part=0, text="x"), cited, blob, PartEnded(part=0)])
        sink.feed([Finish(reason="stop")])

    world = World(script)
    await world.ask()
    world.clock.now += 20
    again = await world.ask()
    assert [e.age for e in again.events if isinstance(e, Citation)] == [25.0]
    assert [e.data for e in again.events if isinstance(e, Blob)] == [b"\x00\xff"]


BASIS = Basis("host", "1")


def test_every_field_of_a_request_counts_but_those_that_say_where_the_answer_goes():
    said = [Message(role="user", content=[Text("Hello?")])]
    plain = Request(model="m", messages=said)
    other = {
        "model": "n", "messages": [*said, *said], "tools": [{"name": "t"}], "tool_choice": "auto", "max_tokens": 1,
        "temperature": 0.5, "top_p": 0.5, "stop": ["x"], "response_format": {"type": "json_object"}, "n": 2,
        "logprobs": 1, "thinking": {"effort": "low"}, "options": {"seed": 1}, "tenant": "t2", "edits": True,
            "intent": "short", "prefill": True, "retrieval": {"on": False},
    }  # fmt: skip
    free = {"time_limit": 5.0} | dict.fromkeys(ABOUT - {"tenant", "options"}, "x")
    assert set(other) | set(free) == set(Request.__struct_fields__), "a new field needs a decision"
    keys = [key(plain, BASIS)]
    for name, value in other.items():
        changed = Request(model="m", messages=said)
        setattr(changed, name, value)
        keys.append(key(changed, BASIS))
    keys += [key(plain, basis) for basis in (Basis("h2", "1"), Basis("host", "2"))]
    keys.append(key(plain, BASIS, user="ann"))
    assert None not in keys
    assert len(set(keys)) == len(keys)
    assert key(Request(model="m", messages=said, time_limit=3.0), BASIS) == keys[0]
    assert key(Request(model="m", messages=said, time_limit=3.0), BASIS, timed=True) != key(plain, BASIS, timed=True)
    for dialect in ("openai_chat", "anthropic", "gemini"):
        assert key(Request(model="m", messages=said, dialect=dialect, options={"user": "u"}), BASIS) == keys[0]
    assert key(Request(model="m", messages=said, dialect="openai_images"), BASIS) != keys[0]


def test_a_request_that_cannot_be_written_down_has_no_key():
    assert key(question("half \ud83d a character"), BASIS) is None


def test_tenants_never_share():
    """Five thousand answers that name their tenant, asked for in random order with words that look alike."""

    @in_virtual_time
    async def run():
        rng = random.Random(7)

        async def script(request, sink):
            sink.feed([PartStarted(part=0, kind="text"), Delta(part=0, text=f"for {request.tenant}")])
            sink.feed([PartEnded(part=0), Finish(reason="stop")])

        world = World(script, shelf=MemoryShelf(200_000, TTL, Clock()))
        tenants = ["a", "b", "ab", "a\0b", "default", "", "A"]
        for _ in range(5000):
            tenant = rng.choice(tenants)
            cup = await world.ask(rng.choice(["a", "b", "ab", "\0", "q"]), tenant=tenant, stop=rng.choice([[], ["a"]]))
            assert cup.text == f"for {tenant}"
            if rng.random() < 0.005:
                gone = rng.choice(tenants)
                left = {t: await world.shelf.count(t) for t in tenants if t != gone}
                await world.shelf.clear(gone)
                assert await world.shelf.count(gone) == (0, 0)
                assert {t: await world.shelf.count(t) for t in left} == left
        assert world.asked < 1000

    run()


# Shelves: what both kinds keep to


def shelves(folder, limit, clock):
    return {
        "memory": lambda: MemoryShelf(limit, TTL, clock),
        "disk": lambda: DiskShelf(folder / "cache.db", limit, TTL, clock),
    }


@pytest.mark.parametrize("kind", ["memory", "disk"])
async def test_a_shelf_is_bounded_and_the_least_asked_for_goes_first(tmp_path, kind):
    clock = Clock()
    size = 1000 + ENTRY
    shelf = shelves(tmp_path, 10 * size, clock)[kind]()
    for n in range(10):
        clock.now += 1
        shelf.put("t", b"%d" % n, bytes(1000))
    clock.now += 90  # entries are noted as used again after a minute
    assert await shelf.get("t", b"9") is not None
    assert await shelf.get("t", b"2") is not None
    shelf.put("t", b"new", bytes(1000))
    kept = [n for n in range(10) if await shelf.get("t", b"%d" % n) is not None]
    assert {2, 9} <= set(kept)
    assert 0 not in kept
    answers, held = await shelf.count("t")
    assert held == shelf.size == answers * size <= 10 * size
    shelf.put("t", b"huge", bytes(20 * size))
    assert await shelf.get("t", b"huge") is None
    assert shelf.size == held
    await shelf.close()


@pytest.mark.parametrize("kind", ["memory", "disk"])
async def test_a_shelf_forgets_by_time_and_by_tenant(tmp_path, kind):
    clock = Clock()
    shelf = shelves(tmp_path, LIMIT, clock)[kind]()
    shelf.put("a", b"k", b"one")
    shelf.put("b", b"k", b"two")
    assert await shelf.get("a", b"k") == (clock.now, b"one")
    assert await shelf.clear("a") == 1
    assert await shelf.get("a", b"k") is None
    assert await shelf.get("b", b"k") == (clock.now, b"two")
    clock.now += TTL
    shelf.put("a", b"k", b"three")
    assert await shelf.get("b", b"k") is None
    shelf.sweep()
    assert await shelf.count("b") == (0, 0)
    assert (await shelf.count("a"))[0] == 1
    await shelf.close()


async def test_an_answer_is_on_disk_with_its_documents_or_not_at_all(tmp_path):
    shelf = shelves(tmp_path, LIMIT, Clock())["disk"]()
    shelf.put("a", b"1", b"one", ["x", "x"])  # twice: the second cannot be written
    assert await shelf.get("a", b"1") is None, "nothing would delete it with its document"
    assert await shelf.count("a") == (0, shelf.size) == (0, 0)
    await shelf.close()


@pytest.mark.parametrize("kind", ["memory", "disk"])
async def test_a_shelf_forgets_what_was_made_from_a_document(tmp_path, kind):
    shelf = shelves(tmp_path, 1500 + 3 * ENTRY, Clock())[kind]()
    shelf.put("a", b"1", b"one", ["x", "y"])
    shelf.put("a", b"2", b"two", ["y"])
    shelf.put("a", b"3", b"three")
    shelf.put("b", b"1", b"other", ["x", "y"])
    shelf.forget("a", ["x", "unknown"])
    left = [[await shelf.get(tenant, b"%d" % n) is not None for n in (1, 2, 3)] for tenant in "ab"]
    assert left == [[False, True, True], [True, False, False]]
    shelf.put("a", b"2", b"two again", ["z"])
    shelf.forget("a", ["y"])
    assert await shelf.get("a", b"2") is not None, "it is not made from y any more"
    shelf.put("a", b"4", bytes(1400), ["z"])  # what was there has to go
    await shelf.clear("a")
    await shelf.clear("b")
    shelf.forget("a", ["x", "y", "z"])
    assert shelf.size == 0
    if kind == "memory":
        assert not shelf._sources
        assert not shelf._made_from
    await shelf.close()
    if kind == "disk":
        with contextlib.closing(sqlite3.connect(tmp_path / "cache.db")) as db:
            assert db.execute("SELECT count(*) FROM sources").fetchone() == (0,)


async def test_a_restart_keeps_what_is_on_disk(tmp_path):
    clock = Clock()
    make = shelves(tmp_path, LIMIT, clock)["disk"]
    shelf = make()
    shelf.put("a", b"k", b"one")
    await shelf.close()
    again = make()
    assert await again.get("a", b"k") == (clock.now, b"one")
    assert again.size == 3 + ENTRY
    await again.clear("a")
    await again.close()
    assert b"one" not in (tmp_path / "cache.db").read_bytes()


async def test_a_damaged_file_is_begun_anew_and_a_folder_that_cannot_be_written_costs_hits_only(tmp_path, caplog):
    (tmp_path / "cache.db").write_bytes(b"no database at all" * 100)
    shelf = shelves(tmp_path, LIMIT, Clock())["disk"]()
    shelf.put("a", b"k", b"one")
    assert await shelf.get("a", b"k") is not None
    await shelf.close()
    assert "damaged" in caplog.text
    (tmp_path / "file").write_bytes(b"")
    lost = DiskShelf(tmp_path / "file" / "cache.db", LIMIT, TTL, Clock())
    lost.put("a", b"k", b"one")
    assert await lost.get("a", b"k") is None
    await lost.close()
    assert "could not be used" in caplog.text
