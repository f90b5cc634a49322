"""How good the ranking is: nDCG@10 on two judged collections, and whether the newest version comes first when a question asks for it.

    cd benchmarks && python -m retrieval.quality --collections FOLDER [--work FOLDER] [--write]

Every document goes through the store, the index, the local embedding model and the search as the server puts them together. Constants of the
ranking were chosen on the questions with even numbers; the odd ones were not looked at for it and are reported apart. Recency is
measured on documents whose dates are drawn evenly from the last year, which has nothing to do with what is right: whatever it moves is loss.
--work keeps the store with its vectors between two runs.
"""

from __future__ import annotations

import argparse
import asyncio
import random
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path
from typing import Final

from relay import page
from relay.machine import Cores, facts
from retrieval.dated import dated
from retrieval.judged import Judged, collections, ndcg
from retrieval.parts import Parts, opened

from tidewire.retrieval.chunk import chunks
from tidewire.retrieval.ports import Document, Filter
from tidewire.retrieval.ranking.recency import DAY, PRESETS, Recency
from tidewire.retrieval.search import Query, Search, Terms

DEPTH: Final = 10
SPREAD: Final = 365 * DAY  # over which dates are drawn
Ranking = Callable[[str], Awaitable[Sequence[str]]]


async def filled(parts: Parts, judged: Judged, now: float) -> None:
    """One namespace a collection; a chunk's location is its document's name in the collection."""
    drawn = random.Random(7)
    documents = []
    for name, (title, text, _) in judged.documents.items():
        published = now - drawn.random() * SPREAD
        whole = text or title
        documents.append(
            Document(name, title, whole, name, digest=name, published=published, chunks=tuple(chunks(whole)))
        )
    for at in range(0, len(documents), 500):
        await parts.store.put(judged.name, documents[at : at + 500])


def searched(parts: Parts, space: str, recency: Recency, *, words: bool = False, terms: Terms | None = None) -> Ranking:
    search = Search(parts.store, parts.index, encoder=None if words else parts.encoder, terms=terms or Terms())

    async def ranking(question: str) -> Sequence[str]:
        found = await search.find(space, Query(text=question, limit=DEPTH, per_document=1, recency=recency))
        return [one.row.uri for one in found.found]

    return ranking


def one_list(parts: Parts, space: str, *, meaning: bool) -> Ranking:
    """A single list of the index as it comes, each document at its best chunk."""

    async def ranking(question: str) -> Sequence[str]:
        which = Filter(time.time())
        if meaning:
            (vector,) = await parts.encoder.encode([question], query=True)
            scored = await parts.index.dense(space, parts.encoder.name, vector, 50, which)
        else:
            scored = await parts.index.lexical(space, question, 50, which)
        rows = await parts.store.fetch(space, [chunk for chunk, _ in scored])
        return list(dict.fromkeys(rows[chunk].uri for chunk, _ in scored))[:DEPTH]

    return ranking


async def scores(judged: Judged, ranking: Ranking) -> dict[int, float]:
    """nDCG@10 by the question's number."""
    return {
        int(number): ndcg(await ranking(judged.questions[number]), right, DEPTH)
        for number, right in judged.right.items()
    }


def mean(by_question: dict[int, float], half: str) -> float:
    chosen = [s for n, s in by_question.items() if half == "all" or (n % 2 == 0) == (half == "even")]
    return sum(chosen) / len(chosen)


async def measured(parts: Parts, sets: Sequence[Judged]) -> str:
    reference = PRESETS["reference"]
    rankings: dict[str, Callable[[str], Ranking]] = {
        "BM25": lambda space: one_list(parts, space, meaning=False),
        "by meaning": lambda space: one_list(parts, space, meaning=True),
        "search, words alone": lambda space: searched(parts, space, reference, words=True),
        "search, both": lambda space: searched(parts, space, reference),
        "search, both, recency": lambda space: searched(parts, space, Recency()),
    }
    lines = []
    for half in ("even", "odd", "all"):
        lines.append(
            f"nDCG@10, {half} questions".ljust(34) + "".join(s.name.rjust(18) for s in sets) + "mean".rjust(18)
        )
        base: list[float] = []
        both: list[float] = []
        for says, made in rankings.items():
            got = []
            for judged in sets:
                key = (says, judged.name)
                if key not in _DONE:
                    _DONE[key] = await scores(judged, made(judged.name))
                got.append(mean(_DONE[key], half))
            got.append(sum(got) / len(got))
            base = base or got
            against = both if says.endswith("recency") else base
            if says == "search, both":
                both = got
            sign = "of both" if against is both and both else "of BM25"
            cells = [f"{value:.4f} {value / other:5.3f}x" for value, other in zip(got, against, strict=True)]
            lines.append(says.ljust(34) + "".join(cell.rjust(18) for cell in cells) + f"  {sign}")
        lines.append("")
    return "\n".join(lines)


_DONE: dict[tuple[str, str], dict[int, float]] = {}


async def run(folder: Path, work: Path) -> str:
    sets = collections(folder)
    async with opened(work) as parts:
        now = time.time()
        for judged in sets:
            if not (await parts.store.count(judged.name))[0]:
                await filled(parts, judged, now)
        await parts.ready([judged.name for judged in sets])
        text = await measured(parts, sets)
        return text + await dated(parts)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--collections", type=Path, required=True)
    parser.add_argument("--work", type=Path)
    parser.add_argument("--write", action="store_true", help="record it in benchmarks/")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as made:
        text = asyncio.run(run(given.collections, given.work or Path(made)))
    print(text)
    if given.write:
        page.save(page.RESULTS / "retrieval_quality.json", {"context": facts(Cores.find(realtime=False)), "text": text})
        page.write()
    return 0


if __name__ == "__main__":
    sys.exit(main())
