"""What a request asks of its tenant's documents, as a query; and what was found for it, as its stream tells it. Pure."""

from __future__ import annotations

from collections.abc import Sequence

from tidewire.core.events import Retrieved
from tidewire.core.request import Request, Retrieval
from tidewire.core.sources import Source
from tidewire.retrieval.ranking.duplicates import PER_DOCUMENT
from tidewire.retrieval.ranking.recency import PRESETS
from tidewire.retrieval.search import Found, Query, Results

EVERYTHING = Retrieval()


def query(
    request: Request,
    text: str,
    *,
    limit: int,
    groups: frozenset[str],
    deadline: float,
    per_document: int = PER_DOCUMENT,
) -> Query:
    """limit, groups: what the settings allow, of which the request may ask for less."""
    asked = request.retrieval or EVERYTHING
    limit = limit if asked.limit is None else min(limit, asked.limit)
    return Query(
        text=text,
        limit=limit,
        groups=groups if asked.groups is None else groups & frozenset(asked.groups),
        sources=frozenset(asked.sources),
        since=asked.since,
        until=asked.until,
        recency=None if asked.recency is None else PRESETS[asked.recency],
        deadline=deadline,
        per_document=min(limit, per_document),
    )


def within(request: Request, seconds: float) -> float:
    """Seconds that the search may take: what the settings give it, or what the request's plan does, if that is less."""
    return seconds if request.search_s is None else min(seconds, request.search_s)


def retrieved(
    namespace: str, results: Results, found: Sequence[Found], *, ms: float, behind: float, now: float
) -> Retrieved:
    """found: of the results, what the model is given. now: Unix seconds."""
    return Retrieved(
        namespace=namespace,
        epoch=results.epoch,
        passages=[_source(one, now) for one in found],
        ms=round(ms, 3),
        cached=results.cached,
        behind=behind,
        notices=results.notices,
    )


def titled(found: Found) -> str:
    title, heading = found.row.title, found.row.heading
    return f"{title} > {heading}" if heading and not heading.startswith(title) else heading or title


def _source(one: Found, now: float) -> Source:
    row = one.row
    return Source(
        document=row.document,
        version=row.version,
        chunk=row.chunk,
        title=titled(one),
        published=row.published,
        indexed=row.indexed,
        age=max(0.0, round(now - row.published, 1)),
        score=round(one.score, 4),
        uri=row.uri or None,
        expires=row.expires,
        lexical=_short(one.lexical),
        dense=_short(one.dense),
        recency=round(one.recency, 4),
        lift=round(one.lift, 4),
        rerank=_short(one.rerank),
    )


def _short(score: float | None) -> float | None:
    return None if score is None else round(score, 4)
