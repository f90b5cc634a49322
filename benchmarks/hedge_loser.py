"""How soon the loser of a hedge is let go of: from the winner's first word to the loser's closed socket, and what it still said.

    python benchmarks/hedge_loser.py [--n 200] [--wordy]

The first host of a route is silent, the second is asked by a hedge and speaks. From 2 ms after that word on the first one says a word a
millisecond, until its connection is closed: how many those are is counted. Prints p50, p95 and max in milliseconds; exits 1 when the
p95 is over 50 ms. With --wordy the first has begun with headers and an empty part before, as hosts do that think. The server is a
process of its own; both hosts and the client are in this one, so that all is read from one clock.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import sys
import tempfile
import time

from cancel import BAR_MS, pick, server

from serving import Peer
from upstream import DONE, Call, Upstream, chat, says

KNOWN = 40  # answers from which the route knows when the first host is late
ROUTE = """
[routes.r]
choose = "order"
hedge_share = 1.0
candidates = [{model = "late/m"}, {model = "other/m"}]
"""


class Round:
    """One answer. spoken: when the winner said its first word. took: milliseconds until the loser's connection was closed. wasted: its words."""

    def __init__(self) -> None:
        self.spoken: asyncio.Future[float] = asyncio.get_running_loop().create_future()
        self.took = 0.0
        self.wasted = 0


class Hosts:
    def __init__(self, *, wordy: bool) -> None:
        self.round: Round | None = None  # while the route learns, there is none
        self._wordy = wordy
        self.over = asyncio.Event()

    async def loses(self, call: Call) -> None:
        mine = self.round
        assert mine is not None
        if self._wordy:
            call.head()
            call.chunk(chat())
        spoken = await mine.spoken
        speaking = asyncio.ensure_future(self._speaks(call, mine))
        await call.gone.wait()
        mine.took = (time.perf_counter() - spoken) * 1000
        speaking.cancel()
        self.over.set()

    async def _speaks(self, call: Call, mine: Round) -> None:
        await asyncio.sleep(0.002)
        if not self._wordy:
            call.head()
        while not call.gone.is_set():
            call.chunk(chat("late "))
            mine.wasted += 1
            await asyncio.sleep(0.001)

    async def wins(self, call: Call) -> None:
        call.head()
        if self.round is not None:
            self.round.spoken.set_result(time.perf_counter())
        call.chunk(chat("first "))
        if self.round is not None:
            await self.over.wait()
        call.chunk(chat("second", finish="stop") + DONE)
        call.end()


async def ask(port: int) -> str:
    peer = await Peer.connect(port)
    peer.ask("POST", "/v1/chat/completions", {"model": "r", "messages": [{"role": "user", "content": "Hi"}]})
    await peer.head()
    said = json.loads(await peer.body())
    await peer.close()
    return str(said["choices"][0]["message"]["content"])


async def measure(n: int, *, wordy: bool) -> list[Round]:
    hosts, rounds = Hosts(wordy=wordy), []
    with tempfile.TemporaryDirectory() as folder:
        async with (
            Upstream(*[says("quick")] * KNOWN, hosts.loses) as late,
            Upstream(hosts.wins) as other,
            server(folder, {"late": late.url, "other": other.url}, ROUTE) as (port, _),
        ):
            while len(late.calls) < KNOWN:
                await ask(port)
            for _ in range(n):
                one = hosts.round = Round()
                hosts.over.clear()
                async with asyncio.timeout(10):
                    assert await ask(port) == "first second"
                rounds.append(one)
    return rounds


def main() -> int:
    given = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    given.add_argument("--n", type=int, default=200)
    given.add_argument("--wordy", action="store_true")
    args = given.parse_args()
    rounds = asyncio.run(measure(args.n, wordy=args.wordy))
    took, wasted = [r.took for r in rounds], sum(r.wasted for r in rounds)
    p95 = pick(took, 0.95)
    print(f"{len(rounds)} hedges: loser closed after p50 {pick(took, 0.5):.1f}, p95 {p95:.1f}, max {max(took):.1f} ms")
    print(f"words that it still said: {wasted} in all, {max(r.wasted for r in rounds)} at most")
    return 0 if p95 <= BAR_MS else 1


if __name__ == "__main__":
    sys.exit(main())
