"""What arranging answers buys and costs: time to the first token with each mechanism on and off, on simulated hosts, in virtual time.

    python benchmarks/arranging.py [--requests 20000] [--seed 1] [--write]

Three hosts alike. The time to the first token is drawn from two lognormals, so that its median is 0.4 s and its p95 near 8 s: the
figures that https://aistackwatch.com/en/wiki/latency (April 2026) gives for a host whose slow requests meet a rate limit. The widths
of the two and the shares of failures (3 % before the first token, 1 % after it) are assumptions, and so are 500 tokens of a question
and 200 of an answer. The routes are the server's own code; what is simulated is the hosts and the clock.
"""

from __future__ import annotations

import argparse
import asyncio
import random
import sys
from collections.abc import Callable, Sequence
from typing import Any, Final, NamedTuple

import async_solipsism
from relay import page
from relay.machine import Cores, facts

from tidewire.cache.answers import Cache, Cached, Rules
from tidewire.cache.flight import Flights, Shared
from tidewire.cache.identity import Basis, key
from tidewire.cache.shelf import MemoryShelf
from tidewire.core.errors import TidewireError, UpstreamError
from tidewire.core.events import Attempt, Delta, Event, Finish, PartEnded, PartStarted
from tidewire.core.ports import ModelInfo, Provider, Sink
from tidewire.core.request import Message, Request, Text
from tidewire.routing.budget import Budget
from tidewire.routing.health import Healths
from tidewire.routing.route import Route
from tidewire.routing.table import Candidate, Plan

MEDIAN, SIGMA = 0.38, 0.4  # seconds; most requests
SLOW_SHARE, SLOW_MEDIAN, SLOW_SIGMA = 0.08, 9.0, 0.3
FAILS_BEFORE, FAILS_AFTER = 0.03, 0.01
TOKENS_IN, TOKENS_OUT = 500, 200
PACE: Final = 0.01  # seconds a token
RATE: Final = 5.0  # requests a second
PLANS: Final[dict[str, dict[str, Any] | None]] = {
    "one host": None,
    "fallback": {"choose": "order"},
    "and continuation": {"choose": "order", "continuations": 1},
    "hedge": {"choose": "order", "hedge_share": 0.05, "fallbacks": 0, "retries": 0},
    "hedge of 10 %": {"choose": "order", "hedge_share": 0.1, "fallbacks": 0, "retries": 0},
    "chosen by latency": {"choose": "latency", "fallbacks": 0, "retries": 0},
    "all, hedge of 5 %": {"choose": "latency", "hedge_share": 0.05},
}
# What is put around one host: Zipf's law draws who asks what, out of QUESTIONS, the n-th as often as 1/n says; answers are kept for TTL.
WRAPPED: Final[dict[str, tuple[str, ...]]] = {
    "coalesce": ("coalesce",),
    "cache": ("cache",),
    "cache and coalesce": ("coalesce", "cache"),
}
QUESTIONS: Final = 2000
TTL: Final = 600.0  # seconds


class Row(NamedTuple):
    """ttft: seconds, sorted, of the answers that began. asked: calls at hosts. tokens: that hosts would charge for."""

    name: str
    ttft: list[float]
    whole: int
    requests: int
    asked: int
    tokens: int

    def at(self, share: float) -> float:
        return self.ttft[min(len(self.ttft) - 1, int(share * len(self.ttft)))]

    def __str__(self) -> str:
        n = self.requests
        return (
            f"{self.name:<20}{self.at(0.5):>8.2f}{self.at(0.95):>8.2f}{self.at(0.99):>8.2f}"
            f"{self.whole / n:>12.2%}{self.asked / n:>10.3f}{self.tokens / n:>10.0f}\n"
        )


HEAD: Final = f"{'':<20}{'p50 s':>8}{'p95 s':>8}{'p99 s':>8}{'whole':>12}{'calls':>10}{'tokens':>10}\n"


class Host:
    def __init__(self, name: str, seed: str) -> None:
        self.name = name
        self.asked = 0
        self.tokens = 0
        self._rng = random.Random(seed)

    async def answer(self, request: Request, sink: Sink) -> None:
        rng = self._rng
        slow = rng.random() < SLOW_SHARE
        wait = rng.lognormvariate(0, SLOW_SIGMA if slow else SIGMA) * (SLOW_MEDIAN if slow else MEDIAN)
        fails = rng.random()
        self.asked += 1
        sink.feed([Attempt(n=1, provider=self.name, model=request.model, reason="start")])
        if fails < FAILS_BEFORE:
            await asyncio.sleep(0.05)
            raise UpstreamError("refused", code="upstream_error", upstream_status=503)
        last = request.messages[-1]
        said = len(last.text.split()) if last.role == "assistant" else 0
        self.tokens += TOKENS_IN + said * TOKENS_OUT // 4
        await asyncio.sleep(wait)
        sink.feed([PartStarted(part=0, kind="text")])
        for _ in range(4 - said):
            self.tokens += TOKENS_OUT // 4
            sink.feed([Delta(part=0, text="word ")])
            await asyncio.sleep(PACE * TOKENS_OUT / 4)
            if fails > 1 - FAILS_AFTER:
                raise UpstreamError("cut", code="upstream_cut")
        sink.feed([PartEnded(part=0), Finish(reason="stop")])

    async def models(self) -> Sequence[ModelInfo]:
        return []

    async def close(self) -> None: ...


class Reader:
    """A sink that looks at the clock. first: seconds of the loop at which the first word came."""

    full = False

    def __init__(self) -> None:
        self.first: float | None = None

    def feed(self, events: Sequence[Event]) -> None:
        if self.first is None and any(isinstance(e, Delta) for e in events):
            self.first = asyncio.get_running_loop().time()

    async def room(self) -> None: ...


class Unmetered:
    def __getattr__(self, name: str) -> Any:
        return lambda *args: None


async def measure(name: str, plan: dict[str, Any] | None, requests: int, seed: int, wrapped: Sequence[str] = ()) -> Row:
    loop = asyncio.get_running_loop()
    rng = random.Random(seed)
    hosts = {f"h{n}": Host(f"h{n}", f"{seed}.{n}") for n in range(3)}

    async def find(model: str) -> tuple[Provider, str]:
        return hosts[model], model

    provider: Provider = hosts["h0"]
    if plan is not None:
        whole = Plan(candidates=[Candidate(model=h, prefill="assistant") for h in hosts], **plan)
        provider = Route(
            "r",
            whole,
            find=find,
            healths=Healths(),
            budget=Budget(whole.retry_share),
            meter=Unmetered(),  # type: ignore[arg-type]
            rng=rng,
            clock=loop.time,
        )
    provider = wrap(provider, wrapped, loop.time)
    ttft: list[float] = []
    done = 0

    async def ask(at: float, what: int) -> None:
        nonlocal done
        await asyncio.sleep(at)
        began, reader = loop.time(), Reader()
        try:
            await provider.answer(Request(model="h0", messages=[Message("user", [Text(f"question {what}")])]), reader)
            done += 1
        except TidewireError:
            pass
        if reader.first is not None:
            ttft.append(reader.first - began)

    at, arrivals = 0.0, []
    for _ in range(requests):
        at += rng.expovariate(RATE)
        arrivals.append(at)
    often = [1 / n for n in range(1, QUESTIONS + 1)]
    asked_for = random.Random(f"{seed}.questions").choices(range(QUESTIONS), often, k=requests)
    await asyncio.gather(*map(ask, arrivals, asked_for))
    asked, tokens = (sum(getattr(h, what) for h in hosts.values()) for what in ("asked", "tokens"))
    return Row(name, sorted(ttft), done, requests, asked, tokens)


def wrap(provider: Provider, wrapped: Sequence[str], clock: Callable[[], float]) -> Provider:
    """As server/caching.py does, with the clock of the simulation."""
    basis, meter = Basis("h0", "", ""), Unmetered()
    if "coalesce" in wrapped:
        provider = Shared(provider, Flights(meter), lambda request: key(request, basis))  # type: ignore[arg-type]
    if "cache" in wrapped:
        cache = Cache(
            MemoryShelf(64 << 20, TTL, clock),
            Rules(answers="all"),
            basis=lambda answerer, request: basis,
            meter=meter,  # type: ignore[arg-type]
            now=clock,
            clock=clock,
        )
        provider = Cached(provider, cache)
    return provider


def picture(rows: Sequence[Row]) -> str:
    """Bars of p50, p95 and p99 for each mechanism, as SVG."""
    scale = 480 / max(row.at(0.99) for row in rows)
    out = ['<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 720 {0}" font-family="sans-serif" font-size="13">']
    out.append(
        '<rect width="720" height="{0}" fill="#fff"/><text x="10" y="20">Time to the first token, seconds</text>'
    )
    y = 36
    for row in rows:
        out.append(f'<text x="10" y="{y + 26}">{row.name}</text>')
        for share, colour, label in ((0.5, "#0b7285", "p50"), (0.95, "#4dabc4", "p95"), (0.99, "#b7dce6", "p99")):
            width = row.at(share) * scale
            out.append(f'<rect x="150" y="{y}" width="{width:.1f}" height="12" fill="{colour}"/>')
            out.append(f'<text x="{156 + width:.1f}" y="{y + 11}" font-size="11">{label} {row.at(share):.2f}</text>')
            y += 14
        y += 12
    return "\n".join([*out, "</svg>"]).replace("{0}", str(y)) + "\n"


def main() -> int:
    given = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    given.add_argument("--requests", type=int, default=20_000)
    given.add_argument("--seed", type=int, default=1)
    given.add_argument("--write", action="store_true", help="record the result, and put it into benchmarks/README.md")
    args = given.parse_args()
    print(HEAD, end="", flush=True)
    rows = []
    for name, plan in PLANS.items():
        with asyncio.Runner(loop_factory=async_solipsism.EventLoop) as runner:
            rows.append(runner.run(measure(name, plan, args.requests, args.seed)))
        print(rows[-1], end="", flush=True)
    for name, wrapped in WRAPPED.items():
        with asyncio.Runner(loop_factory=async_solipsism.EventLoop) as runner:
            rows.append(runner.run(measure(name, None, args.requests, args.seed, wrapped)))
        print(rows[-1], end="", flush=True)
    if args.write:
        text = HEAD + "".join(map(str, rows))
        page.save(page.RESULTS / "arranging.json", {"context": facts(Cores.find()), "text": text})
        (page.RESULTS / "arranging.svg").write_text(picture(rows), encoding="utf-8")
        page.write()
    return 0


if __name__ == "__main__":
    sys.exit(main())
