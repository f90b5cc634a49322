"""What a cascade buys and costs: time to the first token and to the last text, and money, on simulated models, in virtual time.

    python benchmarks/cascading.py [--requests 5000] [--seed 1] [--write]

All figures of the models are assumptions, stated here: a quick model (first token after 0.35 s in the median, 10 ms a token, 0.05 and
0.40 USD a million tokens) and a strong one (2 s, 25 ms, 1.25 and 10 USD), both lognormal with a sigma of 0.5; questions of 500 tokens,
answers of about 200 words; three drafts of ten are wrong in one sentence of ten; a judge model, as quick as the quick one, asked once 800
characters of the draft are there, refines eight of ten in which it sees the mistake, and one of ten in which it sees none.
The cascade is the server's own code; what is simulated is models and clock.
"""

from __future__ import annotations

import argparse
import asyncio
import random
import sys
from collections.abc import Sequence
from typing import Any, Final, NamedTuple

import async_solipsism
from relay import page
from relay.machine import Cores, facts

from tidewire.core.events import Attempt, Delta, Edit, Event, Finish, PartEnded, PartStarted, Usage, edit
from tidewire.core.ports import ModelInfo, Provider, Sink
from tidewire.core.request import Message, Request, Text
from tidewire.routing.cascade import Cascade
from tidewire.routing.cascade_plan import CascadePlan, Member
from tidewire.routing.hedge import Hedges

SIGMA, TOKENS_IN = 0.5, 500
WRONG, FOUND, MISTAKEN = 0.3, 0.8, 0.1
QUICK: Final = Member(model="quick", price_in=0.05, price_out=0.4)
STRONG: Final = Member(model="strong", price_in=1.25, price_out=10.0)
JUDGE: Final = Member(model="judge", price_in=0.05, price_out=0.4)
SPEED: Final = {
    "quick": (0.35, 0.01),
    "strong": (2.0, 0.025),
    "judge": (0.35, 0.01),
}  # seconds to the first token; a token
SENTENCES, WORDS = 10, 20

PLANS: Final[dict[str, tuple[dict[str, Any], bool] | str]] = {
    "quick model alone": "quick",
    "strong model alone": "strong",
    "cascade": ({}, True),
    "cascade, share 10 %": ({"refine_share": 0.1}, True),
    "cascade, waiting": ({"without_edits": "wait"}, False),
}


class Row(NamedTuple):
    """first, last: seconds to the first token and to the last change of the text, sorted. right: final texts without the mistake.

    usd: of all answers. refined: answers that the strong model was asked for. edited: characters that edits deleted and inserted, of
    those in the texts edited.
    """

    name: str
    first: list[float]
    last: list[float]
    right: float
    refined: float
    usd: float
    edited: float

    def __str__(self) -> str:
        def at(times: list[float], share: float) -> float:
            return times[int(share * (len(times) - 1))]

        return (
            f"{self.name:<21}{at(self.first, 0.5):>8.2f}{at(self.first, 0.95):>8.2f}{at(self.last, 0.5):>9.2f}{at(self.last, 0.95):>8.2f}"
            f"{self.right:>9.1%}{self.refined:>9.1%}{self.usd / len(self.first) * 1000:>10.3f}{self.edited:>9.1%}\n"
        )


HEAD: Final = (
    f"{'':<21}{'first':>8}{'p95':>8}{'final':>9}{'p95':>8}{'right':>9}{'strong':>9}{'USD/1000':>10}{'edited':>9}\n"
)


def answer(seed: str, wrong: bool) -> str:  # noqa: FBT001
    """A text of its own for each seed; one that is wrong has a false word in one sentence."""
    rng = random.Random(seed)
    sentences = [" ".join(f"w{rng.randrange(2000)}" for _ in range(WORDS)) for _ in range(SENTENCES)]
    at = rng.randrange(SENTENCES)
    if wrong:
        sentences[at] = sentences[at].replace(" ", " false ", 1)
    return ". ".join(sentences) + "."


class Model:
    def __init__(self, name: str, seed: int) -> None:
        self.name = name
        self.usd = 0.0
        self._rng = random.Random(f"{name}{seed}")

    async def answer(self, request: Request, sink: Sink) -> None:
        rng, member = self._rng, {"quick": QUICK, "strong": STRONG, "judge": JUDGE}[self.name]
        wait, pace = SPEED[self.name]
        sink.feed([Attempt(n=1, provider=self.name, model=request.model, reason="start")])
        await asyncio.sleep(wait * rng.lognormvariate(0, SIGMA))
        if self.name == "judge":
            wrong = " false " in request.question
            words = ["REFINE" if rng.random() < (FOUND if wrong else MISTAKEN) else "KEEP"]
        else:
            question = request.messages[0].text
            words = answer(
                question, wrong=self.name == "quick" and random.Random("q" + question).random() < WRONG
            ).split(" ")
        sink.feed([PartStarted(part=0, kind="text")])
        for n, word in enumerate(words):
            sink.feed([Delta(part=0, text=word if n == 0 else " " + word)])
            await asyncio.sleep(pace)
        asked = TOKENS_IN + (len(words) if len(request.messages) > 1 else 0)
        self.usd += member.price(asked, len(words))
        used = Usage(counted_by="host", input=asked, output=len(words))
        sink.feed([PartEnded(part=0), used, Finish(reason="stop")])

    async def models(self) -> Sequence[ModelInfo]:
        return []

    async def close(self) -> None: ...


class Reader:
    """first, last: seconds of the loop at which the first text came, and the last change of it. edited: characters."""

    full = False

    def __init__(self) -> None:
        self.first = self.last = 0.0
        self.text: list[str] = []
        self.edited = 0

    def feed(self, events: Sequence[Event]) -> None:
        now = asyncio.get_running_loop().time()
        for event in events:
            if isinstance(event, Delta):
                self.first = self.first or now
                self.text.append(event.text)
            elif isinstance(event, Edit):
                self.edited += event.end - event.start + len(event.text)
                edit(self.text, event)
            else:
                continue
            self.last = now

    async def room(self) -> None: ...


class Counts:
    def __init__(self) -> None:
        self.refined = 0

    def cascaded(self, cascade: str, result: str) -> None:
        self.refined += result in ("refined", "unchanged")

    def cascade_cost(self, cascade: str, role: str, usd: float) -> None: ...


async def measure(name: str, requests: int, seed: int) -> Row:
    loop = asyncio.get_running_loop()
    models = {model: Model(model, seed) for model in SPEED}
    counts, chosen = Counts(), PLANS[name]

    async def find(model: str) -> tuple[Provider, str]:
        return models[model], model

    edits = False
    if isinstance(chosen, str):
        provider: Provider = models[chosen]
    else:
        more, edits = chosen
        plan = CascadePlan(draft=QUICK, refine=STRONG, judge=JUDGE, judge_after=800, **more)
        share = Hedges(plan.refine_share)
        provider = Cascade("c", plan, find=find, share=share, meter=counts, clock=loop.time)
    first, last, right, edited, size = [], [], 0, 0, 0
    for n in range(requests):
        began, reader, question = loop.time(), Reader(), f"question {seed}.{n}"
        await provider.answer(Request(model="c", messages=[Message("user", [Text(question)])], edits=edits), reader)
        first.append(reader.first - began)
        last.append(reader.last - began)
        text = "".join(reader.text)
        right += " false " not in text
        edited += reader.edited
        size += len(text) if reader.edited else 0
    asked = requests if chosen == "strong" else counts.refined
    usd = sum(model.usd for model in models.values())
    return Row(
        name, sorted(first), sorted(last), right / requests, asked / requests, usd, edited / size if size else 0.0
    )


def main() -> int:
    given = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    given.add_argument("--requests", type=int, default=5_000)
    given.add_argument("--seed", type=int, default=1)
    given.add_argument("--write", action="store_true", help="record the result, and put it into benchmarks/README.md")
    args = given.parse_args()
    print(HEAD, end="", flush=True)
    rows = []
    for name in PLANS:
        with asyncio.Runner(loop_factory=async_solipsism.EventLoop) as runner:
            rows.append(runner.run(measure(name, args.requests, args.seed)))
        print(rows[-1], end="", flush=True)
    if args.write:
        text = HEAD + "".join(map(str, rows))
        page.save(page.RESULTS / "cascading.json", {"context": facts(Cores.find()), "text": text})
        page.write()
    return 0


if __name__ == "__main__":
    sys.exit(main())
