"""A question becomes a ranking of passages: searched by words and by meaning at once, fused, aged, rid of copies, ranked again.

    question ─┬─ words ─▶ index.lexical ─┐
              └─ encoder ▶ index.dense ──┴▶ fuse ▶ fetch ▶ recency ▶ copies ▶ rerank ▶ passages

Nothing of it may hold an answer up: each part has what is left of the deadline, and what is not there by then is done without
and said. Rights, expiry and deletion are asked for in the index, and looked at again in what the store gives out.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Sequence
from typing import Final, ParamSpec, Protocol, TypeVar

import msgspec

from tidewire.core.errors import TidewireError
from tidewire.core.ports import Encoder
from tidewire.retrieval.ports import Filter, Index, Row, Scored, Store
from tidewire.retrieval.ranking import features
from tidewire.retrieval.ranking.duplicates import PER_DOCUMENT, collapsed
from tidewire.retrieval.ranking.fuse import CUT, normed, reciprocal, shares, weighted
from tidewire.retrieval.ranking.recency import Recency, cued, factor, newest, raised
from tidewire.retrieval.reranking.bounded import Bounded
from tidewire.retrieval.reranking.port import Skipped

T = TypeVar("T")
P = ParamSpec("P")
DEPTH: Final = 200  # chunks of each list that are fused; nDCG@10 on CACM and NPL loses 1 % with 100
FILLING: Final = "index:filling"  # the notice of a search that looked at a part of the documents
WORDS_LATE: Final = "lexical:late"  # the notice of one that found by meaning alone, or nothing
WORDS: Final = 0.02  # seconds that words have whatever the deadline: they answer where meaning is late
FILL: Final = 0.1  # seconds that a search waits for an index that is just being made
FETCHED: Final = 40  # chunks that are read and ranked after that
MORE: Final = 4  # candidates fetched for each passage wanted: copies and rights take some


class Query(msgspec.Struct, frozen=True, kw_only=True):
    """limit: passages wanted. groups: of who asks. since, until: bounds of publication, Unix seconds. sources: empty: all.

    recency: None: the settings'. deadline: seconds on the event loop's clock, by which the answer is of use. per_document: most
    passages of one document.
    """

    text: str
    limit: int = 8
    groups: frozenset[str] = frozenset()
    sources: frozenset[str] = frozenset()
    since: float | None = None
    until: float | None = None
    recency: Recency | None = None
    deadline: float | None = None
    per_document: int = PER_DOCUMENT


class Found(msgspec.Struct, kw_only=True):
    """A passage and how it came to its place. Every part lies between 0 and 1, but for lift (1 and more) and rerank (the model's own).

    score = (lexical and dense, weighted) x recency x lift; or rerank's order where a model has read it. None: not in that list.
    copies: chunks that say the same and are not shown.
    """

    row: Row
    score: float
    lexical: float | None = None
    dense: float | None = None
    recency: float = 1.0
    lift: float = 1.0
    rerank: float | None = None
    copies: list[int] = []


class Results(msgspec.Struct, kw_only=True):
    """epoch: of the namespace, as searched. took: milliseconds by part. notices: what was done without, in a few words each.

    weight: of recency, as it was used. reranker: whose order it is; "": of the scores alone. cached: whether nothing was searched for it.
    """

    found: list[Found]
    epoch: int
    took: dict[str, float]
    notices: list[str]
    weight: float
    reranker: str = ""
    cached: bool = False


class Finder(Protocol):
    """What passages are asked of: a search, or what stands around one."""

    async def find(self, namespace: str, query: Query) -> Results: ...


class Terms(msgspec.Struct, frozen=True):
    """dense: weight of meaning against words, 0 to 1. by_rank: fuse by ranks instead of scores."""

    dense: float = 0.5
    by_rank: bool = False
    recency: Recency = Recency()
    depth: int = DEPTH


class Search:
    """clock: Unix seconds. encoder, reranker: None: words alone; the order as fused.

    former: made the vectors that there are until the encoder has made its own; asked, too, as long as any are left.
    """

    def __init__(
        self,
        store: Store,
        index: Index,
        *,
        encoder: Encoder | None = None,
        former: Encoder | None = None,
        reranker: Bounded | None = None,
        terms: Terms = Terms(),  # noqa: B008 - frozen
        clock: Callable[[], float] = time.time,
    ) -> None:
        self.store = store
        self.index = index
        self.encoder = encoder
        self.former = former
        self.terms = terms
        self.reranker = reranker
        self._clock = clock

    async def find(self, namespace: str, query: Query) -> Results:
        """Raises nothing for what a part of it could not do: that is in `notices`."""
        now = self._clock()
        log = _Log()
        if not await self.index.filled(FILL):
            log.notices.append(FILLING)
        which = Filter(now, query.groups, query.sources, query.since, query.until)
        epoch = self.index.epoch(namespace)
        depth = self._depth(query)
        lexical, dense = await asyncio.gather(
            self._lexical(namespace, query, which, log),
            self._dense(namespace, query, which, log),
        )
        recency, fresh = query.recency or self.terms.recency, cued(query.text, now)
        if fresh:
            recency = raised(recency)
        began = time.perf_counter()
        by_words, by_meaning = self._laid(lexical, dense, depth)
        meaning = 0.5 if self.terms.by_rank else self.terms.dense
        candidates = weighted([(1.0 - meaning, by_words), (meaning, by_meaning)])
        # By words alone the scores lie close together, and a heading may lift a passage from far down.
        most = max(FETCHED if by_meaning else 2 * FETCHED, MORE * query.limit)
        best = sorted(candidates.items(), key=lambda pair: (-pair[1], pair[0]))[:most]
        log.took["fuse"] = _ms(began)
        rows = await log.timed("fetch", self.store.fetch, namespace, [chunk for chunk, _ in best])
        began = time.perf_counter()
        words = features.asked(query.text)
        fit = [(rows[chunk], score) for chunk, score in best if chunk in rows and allowed(rows[chunk], which)]
        zero = newest([(score, row.published) for row, score in fit], now) if fresh else now
        found = []
        for row, score in fit:
            aged, lift = factor(recency, row.published, zero), features.lift(words, row, opens=not by_meaning)
            found.append(
                Found(
                    row=row,
                    score=score * aged * lift,
                    lexical=by_words.get(row.chunk),
                    dense=by_meaning.get(row.chunk),
                    recency=aged,
                    lift=lift,
                )
            )
        found.sort(key=lambda one: (-one.score, one.row.chunk))
        found, copies = collapsed(found, per_document=query.per_document)
        for one in found:
            one.copies = copies.get(one.row.chunk, [])
        log.took["rank"] = _ms(began)
        found = await self._reranked(query, found, log)
        return Results(
            found=found[: query.limit],
            epoch=epoch,
            took=log.took,
            notices=log.notices,
            weight=recency.weight,
            reranker=log.reranker,
        )

    def _laid(
        self, lexical: Sequence[Scored], dense: Sequence[Sequence[Scored]], depth: int
    ) -> tuple[dict[int, float], dict[int, float]]:
        """Each list between 0 and 1, as results show it: the score is made of just these. Of two encoders the first counts."""
        by_meaning: dict[int, float] = {}
        alone = not lexical or not any(dense)
        by_rank = self.terms.by_rank and not alone
        for scored in reversed(dense):
            by_meaning |= reciprocal([scored]) if by_rank else _laid(scored, whole=alone or len(scored) < depth)
        by_words = reciprocal([lexical]) if by_rank else _laid(lexical, whole=alone or len(lexical) < depth)
        return by_words, by_meaning

    def _depth(self, query: Query) -> int:
        return max(self.terms.depth, MORE * query.limit)

    async def _lexical(self, namespace: str, query: Query, which: Filter, log: _Log) -> list[Scored]:
        """By words; none where they are late: a disk or a thread that stands still must not hold the answer."""
        if query.deadline is None:
            return await log.timed("lexical", self.index.lexical, namespace, query.text, self._depth(query), which)
        loop = asyncio.get_running_loop()
        work = loop.create_task(
            log.timed("lexical", self.index.lexical, namespace, query.text, self._depth(query), which)
        )
        try:  # what has come by the time that somebody looks is in time
            await asyncio.wait((work,), timeout=max(WORDS, query.deadline - loop.time()))
            if work.done():
                return work.result()
        finally:
            work.cancel()
        log.notices.append(WORDS_LATE)
        return []

    async def _dense(self, namespace: str, query: Query, which: Filter, log: _Log) -> list[Sequence[Scored]]:
        """By meaning, a list for each encoder whose vectors there are; none where it is late or fails."""
        asked = [one for one in (self.encoder, self.former) if one is not None and query.text.strip()]
        asked = [one for one in asked if one is self.encoder or self.index.embedded(namespace, one.name)]
        vectors = await asyncio.gather(*(self._vector(one, query, log) for one in asked))
        near = [
            log.timed("dense", self.index.dense, namespace, one.name, vector, self._depth(query), which)
            for one, vector in zip(asked, vectors, strict=True)
            if vector is not None
        ]
        try:
            async with asyncio.timeout_at(query.deadline):
                return await asyncio.gather(*near)
        except TimeoutError:
            log.notices.append("dense:late")
        except TidewireError as error:
            log.notices.append(f"dense:{error.kind}")
        return []

    async def _vector(self, encoder: Encoder, query: Query, log: _Log) -> bytes | None:
        try:
            async with asyncio.timeout_at(query.deadline):
                (vector,) = await log.timed("encode", encoder.encode, [query.text], query=True, deadline=query.deadline)
                return vector
        except TimeoutError:
            log.notices.append("dense:late")
        except TidewireError as error:
            log.notices.append(f"dense:{error.kind}")
        return None

    async def _reranked(self, query: Query, found: list[Found], log: _Log) -> list[Found]:
        if self.reranker is None or len(found) < 2:
            return found
        head = found[: self.reranker.candidates]
        texts = ["\n".join(filter(None, (one.row.title, one.row.heading, one.row.text))) for one in head]
        try:
            scores = await log.timed("rerank", self.reranker.scores, query.text, texts, deadline=query.deadline)
        except Skipped as skipped:
            log.notices.append(f"rerank:skipped:{skipped.why}")
            return found
        if len(scores) < len(head):
            log.notices.append(f"rerank:read:{len(scores)} of {len(head)}")
            head = head[: len(scores)]
        log.reranker = self.reranker.name
        # The model says what answers; how much its age counts stays ours to say.
        laid = normed(list(enumerate(scores)))
        for n, one in enumerate(head):
            one.rerank = scores[n]
        order = sorted(range(len(head)), key=lambda n: (-laid[n] * head[n].recency, n))
        return [*(head[n] for n in order), *found[len(head) :]]


class _Log:
    """What the parts of one search took, in milliseconds, and what was done without."""

    def __init__(self) -> None:
        self.took: dict[str, float] = {}
        self.notices: list[str] = []
        self.reranker = ""

    async def timed(self, part: str, work: Callable[P, Awaitable[T]], *args: P.args, **kwargs: P.kwargs) -> T:
        """Not of work that has begun: a search that is given up before this runs would leave it there, never awaited."""
        began = time.perf_counter()
        try:
            return await work(*args, **kwargs)
        finally:
            self.took[part] = _ms(began)


def _laid(scored: Sequence[Scored], *, whole: bool) -> dict[int, float]:
    """whole: nothing was cut off the list, so that what is not in it scores nothing, and its last is worth what it scores."""
    return shares(scored) if whole else normed(scored, CUT)


def allowed(row: Row, which: Filter) -> bool:
    """The filter once more, on what the store gave out: an index may be a moment behind."""
    return (
        (row.expires is None or row.expires > which.now)
        and (not row.readers or not which.groups.isdisjoint(row.readers))
        and (which.since is None or row.published >= which.since)
        and (which.until is None or row.published <= which.until)
    )


def _ms(began: float) -> float:
    return round((time.perf_counter() - began) * 1000, 3)
