"""Documents under virtual time: searches are quick, late, broken or empty, and what was found changes or goes while answers rest on it."""

from __future__ import annotations

import asyncio
import random
from typing import Any

from tidewire.core.errors import UpstreamError
from tidewire.core.events import Citation, Progress, Retrieved, Superseded
from tidewire.retrieval.grounding import Grounded, Terms
from tidewire.retrieval.ports import Row
from tidewire.retrieval.search import Found, Query, Results
from watched import Listed, watch

WITHIN = 0.3  # seconds that a search may take
FATES = ("found", "found", "found", "late", "fails", "nothing")


class Documents:
    """A finder over five documents of one passage each."""

    def __init__(self, rng: random.Random) -> None:
        self.changed = 0
        self._rng = rng
        self._listed = Listed()
        self.watch = watch(self._listed)
        self._chunks = 0
        self._rows = {f"d{n}": self._row(f"d{n}", 1) for n in range(5)}

    def around(self, provider: Any) -> Grounded:
        terms = Terms(passages=3, within=WITHIN)
        return Grounded(provider, self, self.watch, terms, clock=asyncio.get_running_loop().time)

    async def find(self, namespace: str, query: Query) -> Results:
        fate = self._rng.choice(FATES)
        rows = self._rng.sample(list(self._rows.values()), min(len(self._rows), self._rng.randint(1, query.limit)))
        await asyncio.sleep(10.0 if fate == "late" else self._rng.choice([0.0, 0.05, 0.25]))
        if fate == "fails":
            raise UpstreamError("the encoder is away", code="upstream_unavailable")
        found = [] if fate == "nothing" else [Found(row=row, score=1 / n) for n, row in enumerate(rows, 1)]
        return Results(found=found, epoch=1, took={}, notices=[], weight=0.0)

    async def change(self) -> None:
        """For as long as the world lasts."""
        while self._rows:
            await asyncio.sleep(self._rng.expovariate(2))
            name, row = self._rng.choice(list(self._rows.items()))
            self._listed.gone.add(row.chunk)
            self.changed += 1
            if self._rng.random() < 0.1:
                del self._rows[name]
                self._listed.change("default", name)
            else:
                self._rows[name] = new = self._row(name, row.version + 1)
                self._listed.change("default", name, added=(new.chunk,))

    def _row(self, name: str, version: int) -> Row:
        self._chunks += 1
        return Row(
            chunk=self._chunks, document=name, version=version, title=name, uri=name, heading="", start=0,
            text=f"{name} says {version}.", digest=b"", simhash=0, published=0.0, indexed=0.0,
        )  # fmt: skip


def check(events: list[Any], cited: list[int] | None) -> None:
    """What an answer rests on: only passages it was given are cited or superseded, each document once, all of it told at the end, and
    searched in time. cited: the numbers of the markers in its text, in order, where it stands as it was written.
    """
    told = [e for e in events if type(e) is Retrieved]
    assert len(told) <= 1
    passages = told[0].passages if told else []
    given = {source.chunk: source.document for source in passages}
    citations = [e for e in events if type(e) is Citation]
    old = [e for e in events if type(e) is Superseded]
    assert {e.chunk for e in citations} <= given.keys()
    assert all(0 <= e.start < e.end for e in citations)
    if cited is not None:
        assert [e.chunk for e in citations] == [passages[n - 1].chunk for n in cited if n <= len(passages)]
    assert len({e.document for e in old}) == len(old)
    assert all(given[chunk] == e.document for e in old for chunk in e.chunks)
    began = [e.at for e in events if type(e) is Progress and e.stage == "retrieving"]
    if told:
        assert told[0].at - began[0] <= WITHIN * 1000 + 1
        rested = events[-1].rested
        assert rested is not None
        assert rested.passages == len(given)
        assert rested.cited == len({e.chunk for e in citations})
        assert rested.superseded == sum(len(e.chunks) for e in old)
