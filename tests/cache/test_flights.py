"""Equal requests under way share one answer."""

from __future__ import annotations

import asyncio

import pytest

from tidewire.cache.flight import HELD, Flights, Shared
from tidewire.core.errors import UpstreamError
from tidewire.core.events import Attempt, Delta, Finish, PartEnded, PartStarted, Progress, Span, Timing, Usage
from workshop import in_virtual_time, question


class Told:
    """A meter that remembers."""

    def __init__(self):
        self.hits = []
        self.misses = 0

    def reused(self, tier, seconds, tokens, usd):
        self.hits.append((tier, round(seconds, 3), tokens, usd))

    def missed(self):
        self.misses += 1


class Cup:
    """A sink that keeps copies of what it is given, and numbers the events as a run does. closed: it has no room until opened."""

    def __init__(self):
        self.events = []
        self.opened = asyncio.Event()
        self.opened.set()

    def feed(self, events):
        for event in events:
            event.seq = len(self.events)
            self.events.append(event)

    @property
    def full(self):
        return not self.opened.is_set()

    async def room(self):
        await self.opened.wait()

    @property
    def text(self):
        return "".join(e.text for e in self.events if isinstance(e, Delta))

    @property
    def usages(self):
        return [e for e in self.events if isinstance(e, Usage)]


class Host:
    """One word every `pace` seconds, the first after `wait`; raises `error` before word number `at`."""

    name = "host"

    def __init__(self, *, words=5, wait=1.0, pace=0.1, error=None, at=0, usage=True, size=1):
        self.words, self.wait, self.pace, self.error, self.at, self.usage = words, wait, pace, error, at, usage
        self.word = "x" * size
        self.asked = self.open = 0
        self.said = 0

    async def answer(self, request, sink):
        self.asked += 1
        self.open += 1
        try:
            sink.feed([Attempt(n=1, provider="host", model=request.model, reason="start")])
            sink.feed([Timing(span=Span("connect", 0.0, 1.0))])
            await asyncio.sleep(self.wait)
            sink.feed([PartStarted(part=0, kind="text")])
            for n in range(self.words):
                if self.error is not None and n == self.at:
                    raise self.error
                if sink.full:
                    await sink.room()
                self.said += 1
                sink.feed([Delta(part=0, text=f"{self.word}{n} ")])
                await asyncio.sleep(self.pace)
            sink.feed([PartEnded(part=0)])
            sink.feed([*([Usage(counted_by="host", input=7, output=5)] if self.usage else []), Finish(reason="stop")])
        finally:
            await asyncio.sleep(0)
            self.open -= 1


def shared(host, meter=None, flights=None):
    return Shared(host, flights or Flights(meter or Told()), lambda request: request.question.encode())


async def ask(provider, cup, said="Hello?", after=0.0, **more):
    await asyncio.sleep(after)
    await provider.answer(question(said, **more), cup)


@in_virtual_time
async def test_two_equal_requests_ask_once_and_both_get_the_whole():
    host, meter = Host(), Told()
    provider = shared(host, meter)
    cups = [Cup() for _ in range(3)]
    await asyncio.gather(*(ask(provider, cup, after=after) for cup, after in zip(cups, (0, 0.5, 1.25), strict=True)))
    assert host.asked == 1
    for cup in cups:
        assert cup.text == "x0 x1 x2 x3 x4 "
        assert [type(e) for e in cup.events].count(Finish) == 1
        assert [e.seq for e in cup.events] == list(range(len(cup.events)))
    assert [cup.usages[-1].reused for cup in cups] == [None, "shared", "shared"]
    assert [any(isinstance(e, Timing) for e in cup.events) for cup in cups] == [True, False, False]
    assert meter.hits == [("shared", 0.5, 5, 0.0), ("shared", 1.25, 5, 0.0)]
    held = [id(e) for cup in cups for e in cup.events]
    assert len(held) == len(set(held)), "two streams hold the same event"


@in_virtual_time
async def test_different_requests_and_requests_one_after_the_other_share_nothing():
    host = Host()
    provider = shared(host)
    await asyncio.gather(ask(provider, Cup(), "one"), ask(provider, Cup(), "two"))
    assert host.asked == 2
    await ask(provider, Cup(), "one")
    assert host.asked == 3


@in_virtual_time
async def test_the_first_leaves_and_the_others_hear_the_rest():
    host = Host()
    provider = shared(host)
    cups = [Cup(), Cup()]
    first, second = (asyncio.ensure_future(ask(provider, cup)) for cup in cups)
    await asyncio.sleep(1.25)
    first.cancel()
    await asyncio.wait((first,))
    assert host.open == 1
    await second
    assert cups[0].text == "x0 x1 x2 "
    assert cups[1].text == "x0 x1 x2 x3 x4 "
    assert [u.reused for u in cups[1].usages] == [None], "the one who stayed pays"


@in_virtual_time
async def test_the_last_to_leave_takes_the_host_along_and_a_newcomer_asks_anew():
    host, flights = Host(), Flights(Told())
    provider = shared(host, flights=flights)
    tasks = [asyncio.ensure_future(ask(provider, Cup())) for _ in range(3)]
    await asyncio.sleep(1.25)
    for task in tasks:
        task.cancel()
    late = asyncio.ensure_future(ask(provider, cup := Cup()))
    await asyncio.wait(tasks)
    assert host.open == 1, "the first answer was let go of before its last reader's cancellation left"
    await late
    assert (host.asked, host.open, cup.text, len(flights)) == (2, 0, "x0 x1 x2 x3 x4 ", 0)


@pytest.mark.parametrize("at", [0, 3])
def test_an_error_is_everybodys_and_an_exception_of_ones_own(at):
    @in_virtual_time
    async def run():
        host = Host(error=UpstreamError("down", code="upstream_cut"), at=at)
        provider = shared(host)
        cups = [Cup(), Cup()]
        first, second = await asyncio.gather(*(ask(provider, cup) for cup in cups), return_exceptions=True)
        assert (first.kind, second.kind, host.asked) == ("upstream_cut", "upstream_cut", 1)
        assert first is not second
        assert cups[0].text == cups[1].text

    run()


@in_virtual_time
async def test_a_defect_is_everybodys_too_and_leaves_nothing_behind():
    host, flights = Host(error=ZeroDivisionError()), Flights(Told())
    provider = shared(host, flights=flights)
    told = await asyncio.gather(ask(provider, Cup()), ask(provider, Cup()), return_exceptions=True)
    assert [type(e) for e in told] == [ZeroDivisionError, ZeroDivisionError]
    assert len(flights) == 0


@in_virtual_time
async def test_a_host_that_counts_nothing_is_not_counted_twice():
    cups = [Cup(), Cup()]
    provider = shared(Host(usage=False))
    await asyncio.gather(*(ask(provider, cup) for cup in cups))
    assert cups[0].usages == []  # its run counts for itself
    [usage] = cups[1].usages
    assert (usage.output, usage.reused, usage.counted_by) == (5, "shared", "server")


@in_virtual_time
async def test_one_whose_log_is_full_holds_the_others_up_for_a_second_in_all():
    loop = asyncio.get_running_loop()
    host = Host(words=50, wait=0.0, pace=0.1)
    provider = shared(host)
    slow, quick = Cup(), Cup()
    slow.opened.clear()
    began = loop.time()
    tasks = [asyncio.ensure_future(ask(provider, cup)) for cup in (slow, quick)]
    await asyncio.wait(tasks, timeout=60)
    assert all(t.done() for t in tasks)
    assert 5.9 < loop.time() - began < 6.2
    assert slow.text == quick.text


@in_virtual_time
async def test_the_host_waits_while_nobody_has_room():
    host = Host(words=50, wait=0.0)
    provider = shared(host)
    cups = [Cup(), Cup()]
    for cup in cups:
        cup.opened.clear()
    tasks = [asyncio.ensure_future(ask(provider, cup)) for cup in cups]
    await asyncio.sleep(30)
    assert host.said == 0
    third = asyncio.ensure_future(
        ask(provider, Cup())
    )  # has room: the others may wait a second, and then do not matter
    await asyncio.sleep(1.05)
    assert host.said > 0
    third.cancel()
    await asyncio.sleep(0.2)
    said = host.said
    await asyncio.sleep(30)
    assert host.said == said
    for cup in cups:
        cup.opened.set()
    await asyncio.wait(tasks)
    assert cups[0].text == cups[1].text
    assert len(cups[0].text.split()) == 50


@in_virtual_time
async def test_an_answer_that_has_grown_long_is_not_joined_any_more_and_not_kept():
    host = Host(words=20, size=HELD // 10)
    provider = shared(host)
    first = asyncio.ensure_future(ask(provider, Cup()))
    await asyncio.sleep(2.5)
    await asyncio.gather(first, ask(provider, Cup()))
    assert host.asked == 2


@in_virtual_time
async def test_who_wants_no_answer_of_others_asks_alone():
    from tidewire.core.request import Reuse

    host = Host()
    provider = shared(host)
    await asyncio.gather(ask(provider, Cup()), ask(provider, Cup(), reuse=Reuse.parse("no-cache")))
    assert host.asked == 2


@in_virtual_time
async def test_nobody_joins_an_answer_that_has_begun_to_search_documents():
    class Searching(Host):
        async def answer(self, request, sink):
            await asyncio.sleep(1.0)
            sink.feed([Progress(stage="retrieving")])
            await super().answer(request, sink)

    host = Searching()
    provider = shared(host)
    await asyncio.gather(*(ask(provider, Cup(), after=after) for after in (0, 0.5, 1.25)))
    assert host.asked == 2, "who asked before the search shares it; who asked after it does not"
