"""Random worlds of equal requests: who comes, who leaves, what fails, one seed each, in virtual time."""

from __future__ import annotations

import asyncio
import itertools
import random

import async_solipsism
import pytest
from test_flights import Cup, Told

from tidewire.cache.flight import Flights, Shared
from tidewire.core.errors import UpstreamError
from tidewire.core.events import Attempt, Delta, Finish, PartEnded, PartStarted
from workshop import question, settle

WAIT, PACE = 1.0, 0.125  # seconds


class Host:
    """Says `words` numbered words of the answer at hand; some answers break off before the word that is drawn."""

    name = "host"

    def __init__(self, rng):
        self.rng = rng
        self.answers = []  # [key, words, where it breaks, began, ended]
        self.open = 0

    async def answer(self, request, sink):
        words = self.rng.randint(1, 20)
        breaks = self.rng.randrange(words) if self.rng.random() < 0.3 else None
        loop = asyncio.get_running_loop()
        mine = [request.question, words, breaks, loop.time(), None]
        number = len(self.answers)
        self.answers.append(mine)
        self.open += 1
        try:
            sink.feed([Attempt(n=1, provider="host", model="m", reason="start")])
            await asyncio.sleep(WAIT)
            sink.feed([PartStarted(part=0, kind="text")])
            for n in range(words):
                if n == breaks:
                    raise UpstreamError("cut", code="upstream_cut")
                sink.feed([Delta(part=0, text=f"{number}.{n} ")])
                await asyncio.sleep(PACE)
                if sink.full:
                    await sink.room()
            sink.feed([PartEnded(part=0), Finish(reason="stop")])
        finally:
            self.open -= 1
            mine[4] = loop.time()


async def live(seed):
    rng = random.Random(seed)
    loop = asyncio.get_running_loop()
    host, flights = Host(rng), Flights(Told())
    provider = Shared(host, flights, lambda request: request.question.encode())
    riders = []
    before = asyncio.all_tasks()

    async def ride(said, after, leaves, stalls):
        await asyncio.sleep(after)
        cup = Cup()
        rider = [said, loop.time(), None, cup, "", stalls]
        riders.append(rider)
        work = asyncio.ensure_future(provider.answer(question(said), cup))
        if stalls:
            cup.opened.clear()
            loop.call_later(stalls, cup.opened.set)
        await asyncio.wait((work,), timeout=leaves)
        if not work.done():
            work.cancel()
            await asyncio.wait((work,))
        rider[2] = loop.time()
        rider[4] = "left" if work.cancelled() else "failed" if work.exception() else "whole"

    stalling = rng.random() < 0.3
    plans = [
        (
            rng.choice("ab"),
            rng.uniform(0, 6),
            rng.uniform(0, 5) if rng.random() < 0.5 else None,
            rng.uniform(0, 3) if stalling and rng.random() < 0.5 else 0.0,
        )
        for _ in range(rng.randint(1, 12))
    ]
    await asyncio.gather(*(ride(*plan) for plan in plans))
    await settle()
    assert host.open == 0
    assert len(flights) == 0
    assert asyncio.all_tasks() == before
    for said, _came, went, cup, end, _ in riders:
        heard = cup.text.split()
        if not heard:
            assert end != "whole"
            continue
        number = int(heard[0].split(".")[0])
        key, words, breaks, began, _ = host.answers[number]
        assert key == said
        assert began <= went
        assert heard == [f"{number}.{n}" for n in range(len(heard))], "nothing lost, doubled or mixed"
        finishes = [type(e) for e in cup.events].count(Finish)
        assert finishes == (1 if end == "whole" else 0) or (end == "left" and finishes == 1)
        if end == "whole":
            assert (len(heard), breaks) == (words, None)
        if end == "failed":
            assert len(heard) == breaks
        assert [e.seq for e in cup.events] == list(range(len(cup.events)))
    # One question is asked at the host at a time, and none while somebody still hears an answer to it.
    for key in "ab":
        spans = sorted((began, ended) for said, _, _, began, ended in host.answers if said == key)
        assert all(one[1] <= other[0] for one, other in itertools.pairwise(spans))
        arrivals = [came for said, came, *_ in riders if said == key]
        alone = [a for a in arrivals if not any(began < a < ended for began, ended in spans)]
        assert len(spans) == len(alone), "each who came to nothing under way asked, and nobody else did"
    return len(host.answers), len(riders)


@pytest.mark.parametrize("first", range(0, 600, 100))
def test_nothing_is_lost_doubled_or_asked_twice_in_any_world(first):
    asked = came = 0
    for seed in range(first, first + 100):
        with asyncio.Runner(loop_factory=async_solipsism.EventLoop) as runner:
            one, all_of_them = runner.run(asyncio.wait_for(live(seed), 600))
        asked, came = asked + one, came + all_of_them
    assert asked < 0.8 * came, "these worlds share"
