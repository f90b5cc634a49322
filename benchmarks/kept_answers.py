"""How long kept answers can be given again while documents are written: by the rule that is built in, and by two others.

    python benchmarks/kept_answers.py [--write]

Real text (the source of Python's library, cut as the server cuts it) is searched by words. Questions repeat as they do, a few of them
often; between two, so many documents get a paragraph more or lose one. No model is asked: what counts is whether an answer that was made
from the passages found then would be given again now, and whether a search now finds others.

    epoch       any write to the tenant's documents forgets all
    live        as long as each chunk that the model was given is stored at its version, whatever a search would find now
    passages    as long as a search finds the same passages in the same order: what Tidewire does
"""

from __future__ import annotations

import argparse
import asyncio
import random
import sys
import sysconfig
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Final

import msgspec
from relay import page
from relay.machine import Cores, facts

from tidewire.core import prose
from tidewire.retrieval.chunk import chunks
from tidewire.retrieval.engines.fts5_words import Fts5Words
from tidewire.retrieval.engines.memory import MemoryIndex
from tidewire.retrieval.ports import Document, Row
from tidewire.retrieval.search import Query, Search
from tidewire.retrieval.stores.sqlite import SqliteStore

DOCUMENTS: Final = 300
QUESTIONS: Final = 100  # different ones; how often each is asked falls with its rank
ASKED: Final = 800  # for each row of the table
EVERY: Final = 10.0  # seconds between two questions
GIVEN: Final = 6  # passages to the model
WRITES: Final = (0.0, 0.1, 1.0, 5.0)  # documents that change between two questions, on average
SPACE: Final = "default"
NOW: Final = 1_800_000_000.0
HEAD: Final = f"{'writes a question':<20}{'epoch':>8}{'live':>8}{'other passages now':>22}{'passages':>12}\n"


class Answer(msgspec.Struct, frozen=True):
    """What is known of an answer: the passages that it was made from, as the model was given them."""

    epoch: int
    chunks: list[int]
    passages: list[tuple[str, str, str]]


class Tally(msgspec.Struct):
    """Hits by rule. outdated: of those of `live`, how many answer from other passages than a search gives now."""

    asked: int = 0
    epoch: int = 0
    live: int = 0
    outdated: int = 0
    passages: int = 0


class Library:
    """Documents that change. clock: Unix seconds, moved by who asks."""

    def __init__(self, folder: Path) -> None:
        self.now = NOW
        self.store = SqliteStore(folder / "documents.db", lambda: self.now)
        self.index = MemoryIndex(self.store, Fts5Words())
        self.search = Search(self.store, self.index, clock=lambda: self.now)
        self.texts: dict[str, str] = {}
        self._drawn = random.Random(7)
        self._versions = 0

    async def open(self, texts: dict[str, str]) -> None:
        await self.store.start()
        await self.index.start()
        assert await self.index.visible(await self._put(texts), within=60.0)

    async def close(self) -> None:
        await self.index.close()
        await self.store.close()

    async def write(self) -> None:
        """A document gets a paragraph of another one, or loses one of its own."""
        name = self._drawn.choice(sorted(self.texts))
        paragraphs = self.texts[name].split("\n\n")
        at = self._drawn.randrange(len(paragraphs))
        if self._drawn.random() < 0.5 and len(paragraphs) > 1:
            del paragraphs[at]
        else:
            other = self.texts[self._drawn.choice(sorted(self.texts))].split("\n\n")
            paragraphs.insert(at, self._drawn.choice(other))
        assert await self.index.visible(await self._put({name: "\n\n".join(paragraphs)}))

    async def _put(self, texts: dict[str, str]) -> int:
        """Returns the change that it was."""
        self._versions += 1
        self.texts |= texts
        digest, now = str(self._versions), self.now
        documents = [
            Document(name, name, text, name, digest=digest, published=now, chunks=tuple(chunks(text)))
            for name, text in texts.items()
        ]
        return (await self.store.put(SPACE, documents))[-1].seq


def texts() -> dict[str, str]:
    library = Path(sysconfig.get_paths()["stdlib"])
    paths = [path for path in sorted(library.glob("*.py")) + sorted(library.glob("*/*.py")) if "test" not in str(path)]
    chosen = [path for path in paths if 2000 < path.stat().st_size < 60_000][:DOCUMENTS]
    return {str(path.relative_to(library)): path.read_text("utf-8", errors="replace") for path in chosen}


def questions(held: Sequence[str], drawn: random.Random) -> list[str]:
    """A few words that stand beside each other in a text."""
    out: list[str] = []
    while len(out) < QUESTIONS:
        words = prose.content_words(drawn.choice(held))
        at = drawn.randrange(max(1, len(words) - 6))
        out.append(" ".join(words[at : at + drawn.randint(3, 6)]))
    return out


def passage(row: Row) -> tuple[str, str, str]:
    """As the model is given it."""
    return row.title, row.heading, row.text


async def lived(library: Library, rate: float, asked: int = ASKED) -> Tally:
    drawn, tally = random.Random(3), Tally()
    these = questions(list(library.texts.values()), drawn)
    often = [1 / (rank + 1) for rank in range(len(these))]
    kept: dict[tuple[str, str], Answer] = {}  # by rule and question: each rule has a cache of its own
    due = 0.0
    for _ in range(asked):
        library.now += EVERY
        due += rate
        while due >= 1.0:
            await library.write()
            due -= 1.0
        (question,) = drawn.choices(these, often)
        results = await library.search.find(SPACE, Query(text=question, limit=GIVEN))
        rows = [one.row for one in results.found]
        now = Answer(results.epoch, [row.chunk for row in rows], [(row.title, row.heading, row.text) for row in rows])
        tally.asked += 1
        if (by_epoch := kept.get(("epoch", question))) is not None:
            tally.epoch += by_epoch.epoch == now.epoch
        kept["epoch", question] = now
        alive = kept.get(("live", question))
        if alive is not None and len(await library.store.fetch(SPACE, alive.chunks)) == len(alive.chunks):
            tally.live += 1
            tally.outdated += alive.passages != now.passages
        else:
            kept["live", question] = now
        if (same := kept.get(("passages", question))) is not None:
            tally.passages += same.passages == now.passages
        kept["passages", question] = now
    return tally


def line(rate: float, tally: Tally) -> str:
    def share(count: int) -> str:
        return f"{count / tally.asked:.1%}"

    outdated = f"{tally.outdated / max(1, tally.live):.1%} of these"
    return f"{rate:<20g}{share(tally.epoch):>8}{share(tally.live):>8}{outdated:>22}{share(tally.passages):>12}\n"


async def measure() -> str:
    held, out = texts(), HEAD
    for rate in WRITES:
        with tempfile.TemporaryDirectory() as folder:
            library = Library(Path(folder))
            await library.open(held)
            try:
                out += line(rate, await lived(library, rate))
            finally:
                await library.close()
    return out


def main() -> int:
    given = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    given.add_argument("--write", action="store_true", help="record the result, and put it into benchmarks/README.md")
    args = given.parse_args()
    text = asyncio.run(measure())
    print(text, end="")
    if args.write:
        page.save(page.RESULTS / "kept_answers.json", {"context": facts(Cores.find()), "text": text})
        page.write()
    return 0


if __name__ == "__main__":
    sys.exit(main())
