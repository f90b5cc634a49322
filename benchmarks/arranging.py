"""What arranging answers buys and costs: time to the first token with each mechanism on and off, on simulated hosts, in virtual time.

    python benchmarks/arranging.py [--requests 20000] [--seed 1] [--write]

Three hosts of one model. The times to the first token are those that the LLMPerf leaderboard published for Llama 2 70B (150 requests
to each host, 19 December 2023, https://github.com/ray-project/llmperf-leaderboard): minimum, p25, median, p75, p95, p99 and maximum,
with straight lines between them. A token's time is that of the published median speed. Assumed are the shares of failures (3 % before
the first token, 1 % after it), 550 tokens of a question and 150 of an answer as in that benchmark, and 1 and 3 USD a million tokens.
The routes are the server's own code; what is simulated is the hosts and the clock.
"""

from __future__ import annotations

import argparse
import asyncio
import math
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

SHARES: Final = (0.0, 0.25, 0.5, 0.75, 0.95, 0.99, 1.0)
FIRST: Final = {  # seconds at these shares; the first is asked first
    "replicate": (0.97, 1.03, 1.19, 1.7, 24.23, 63.63, 71.57),
    "together": (0.46, 0.55, 0.63, 0.67, 0.77, 0.87, 0.89),
    "fireworks": (0.32, 0.39, 0.51, 0.56, 0.79, 0.95, 0.96),
}
SPEED: Final = {"replicate": 10, "together": 65, "fireworks": 40}  # tokens a second
USD_IN, USD_OUT = 1.0, 3.0  # a million tokens
FAILS_BEFORE, FAILS_AFTER = 0.03, 0.01
TOKENS_IN, TOKENS_OUT = 550, 150
RATE: Final = 5.0  # requests a second
PLANS: Final[dict[str, dict[str, Any] | None]] = {
    "one host": None,
    "fallback": {"choose": "order"},
    "and continuation": {"choose": "order", "continuations": 1},
    "hedge": {"choose": "order", "hedge_share": 0.05, "fallbacks": 0, "retries": 0},
    "hedge of 10 %": {"choose": "order", "hedge_share": 0.1, "fallbacks": 0, "retries": 0},
    "chosen by latency": {"choose": "latency", "fallbacks": 0, "retries": 0},
    "all of a route": {"choose": "latency", "hedge_share": 0.05, "continuations": 1},
}
ALONE: Final = "replicate"
# What is put around one host, and last around a route with everything: Zipf's law draws who asks what, out of QUESTIONS, the n-th as often as 1/n says; answers are kept for TTL.
WRAPPED: Final[dict[str, tuple[str, ...]]] = {
    "coalesce": ("coalesce",),
    "cache": ("cache",),
    "cache and coalesce": ("coalesce", "cache"),
    "all together": ("coalesce", "cache"),
}
QUESTIONS: Final = 2000
TTL: Final = 600.0  # seconds


class Row(NamedTuple):
    """ttft: seconds, sorted, of the answers that began. asked: calls at hosts. tokens, usd: that hosts would charge for."""

    name: str
    ttft: list[float]
    whole: int
    requests: int
    asked: int
    tokens: int
    usd: float

    def at(self, share: float) -> float:
        return self.ttft[min(len(self.ttft) - 1, int(share * len(self.ttft)))]

    def __str__(self) -> str:
        n = self.requests
        return (
            f"{self.name:<20}{self.at(0.5):>8.2f}{self.at(0.95):>8.2f}{self.at(0.99):>8.2f}"
            f"{self.whole / n:>12.2%}{self.asked / n:>10.3f}{self.tokens / n:>10.0f}{self.usd / n * 1000:>10.3f}\n"
        )


HEAD: Final = f"{'':<20}{'p50 s':>8}{'p95 s':>8}{'p99 s':>8}{'whole':>12}{'calls':>10}{'tokens':>10}{'USD/1000':>10}\n"


class Host:
    def __init__(self, name: str, seed: str) -> None:
        self.name = name
        self.asked = 0
        self.tokens = 0
        self.usd = 0.0
        self._rng = random.Random(seed)

    async def answer(self, request: Request, sink: Sink) -> None:
        rng = self._rng
        wait = drawn(FIRST[self.name], rng.random())
        fails = rng.random()
        self.asked += 1
        sink.feed([Attempt(n=1, provider=self.name, model=request.model, reason="start")])
        if fails < FAILS_BEFORE:
            await asyncio.sleep(0.05)
            raise UpstreamError("refused", code="upstream_error", upstream_status=503)
        last = request.messages[-1]
        said = len(last.text.split()) if last.role == "assistant" else 0
        self._charge(TOKENS_IN + said * TOKENS_OUT / 4, USD_IN)
        await asyncio.sleep(wait)
        sink.feed([PartStarted(part=0, kind="text")])
        for _ in range(4 - said):
            self._charge(TOKENS_OUT / 4, USD_OUT)
            sink.feed([Delta(part=0, text="word ")])
            await asyncio.sleep(TOKENS_OUT / 4 / SPEED[self.name])
            if fails > 1 - FAILS_AFTER:
                raise UpstreamError("cut", code="upstream_cut")
        sink.feed([PartEnded(part=0), Finish(reason="stop")])

    def _charge(self, tokens: float, usd: float) -> None:
        self.tokens += round(tokens)
        self.usd += tokens * usd / 1e6

    async def models(self) -> Sequence[ModelInfo]:
        return []

    async def close(self) -> None: ...


def drawn(quantiles: Sequence[float], share: float) -> float:
    """The value below which that share of the distribution lies."""
    n = next(n for n in range(1, len(SHARES)) if share <= SHARES[n])
    low, high = SHARES[n - 1], SHARES[n]
    return quantiles[n - 1] + (share - low) / (high - low) * (quantiles[n] - quantiles[n - 1])


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
    hosts = {name: Host(name, f"{seed}.{name}") for name in FIRST}

    async def find(model: str) -> tuple[Provider, str]:
        return hosts[model], model

    provider: Provider = hosts[ALONE]
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
            await provider.answer(Request(model=ALONE, messages=[Message("user", [Text(f"question {what}")])]), reader)
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
    asked, tokens, usd = (sum(getattr(h, what) for h in hosts.values()) for what in ("asked", "tokens", "usd"))
    return Row(name, sorted(ttft), done, requests, asked, tokens, usd)


def around(name: str) -> dict[str, Any] | None:
    """What the wrappers of this name stand around."""
    return PLANS["all of a route"] if name == "all together" else None


def wrap(provider: Provider, wrapped: Sequence[str], clock: Callable[[], float]) -> Provider:
    """As server/caching.py does, with the clock of the simulation."""
    basis, meter = Basis(ALONE, ""), Unmetered()
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


STYLE: Final = (
    "text{fill:#212529}.back{fill:#fff}.p50{fill:#0b7285}.p95{fill:#3fa7bf}.p99{fill:#a5d8e6}.axis{stroke:#ced4da}"
    "@media(prefers-color-scheme:dark){text{fill:#e9ecef}.back{fill:#0d1117}.p50{fill:#66d9e8}.p95{fill:#1c8ca5}.p99{fill:#0b4a59}.axis{stroke:#495057}}"
)
LEFT, WIDE, DECADES = 150, 480, 4  # pixels of names and of the scale, which goes from 10 ms to 100 s


def picture(rows: Sequence[Row]) -> str:
    """Bars of p50, p95 and p99 for each mechanism on a scale of powers of ten, as SVG, for light pages and dark ones."""

    def along(seconds: float) -> float:
        return WIDE * min(1.0, max(0.0, (math.log10(max(seconds, 1e-9)) + 2) / DECADES))

    top, height = 46, 46 + 54 * len(rows)
    out = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 720 {height}" font-family="sans-serif" font-size="13">',
        f'<style>{STYLE}</style><rect class="back" width="720" height="{height}"/>',
        '<text x="10" y="20">Time to the first token, seconds</text>',
    ]
    for n, tick in enumerate(("0.01", "0.1", "1", "10", "100")):
        x = LEFT + WIDE * n / DECADES
        out.append(f'<line class="axis" x1="{x}" y1="40" x2="{x}" y2="{height - 8}"/>')
        out.append(f'<text x="{x}" y="35" font-size="11" text-anchor="middle">{tick}</text>')
    for n, row in enumerate(rows):
        y = top + 54 * n
        out.append(f'<text x="10" y="{y + 26}">{row.name}</text>')
        for share, label in ((0.5, "p50"), (0.95, "p95"), (0.99, "p99")):
            width = along(row.at(share))
            out.append(f'<rect class="{label}" x="{LEFT}" y="{y}" width="{width:.1f}" height="12"/>')
            out.append(
                f'<text x="{LEFT + 6 + width:.1f}" y="{y + 11}" font-size="11">{label} {row.at(share):.2f}</text>'
            )
            y += 14
    return "\n".join([*out, "</svg>"]) + "\n"


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
            rows.append(runner.run(measure(name, around(name), args.requests, args.seed, wrapped)))
        print(rows[-1], end="", flush=True)
    if args.write:
        text = HEAD + "".join(map(str, rows))
        page.save(page.RESULTS / "arranging.json", {"context": facts(Cores.find()), "text": text})
        (page.RESULTS / "arranging.svg").write_text(picture(rows), encoding="utf-8")
        page.write()
    return 0


if __name__ == "__main__":
    sys.exit(main())
