"""What a request says of its search: it may ask for less than the settings allow, and never for more."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tidewire.core.request import Request, Retrieval
from tidewire.retrieval.asked import query
from tidewire.retrieval.ranking.recency import PRESETS

NAMES = st.lists(st.sampled_from(["a", "b", "c", "d"]), max_size=4)


@given(
    granted=st.frozensets(st.sampled_from(["a", "b", "c"])),
    allowed=st.integers(1, 50),
    asked=st.builds(
        Retrieval,
        limit=st.none() | st.integers(1, 50),
        groups=st.none() | NAMES,
        sources=NAMES,
        since=st.none() | st.just(5.0),
    ),
)
def test_rights_and_numbers_only_become_less(granted: frozenset[str], allowed: int, asked: Retrieval) -> None:
    request = Request(model="m", messages=[], tenant="acme", retrieval=asked)
    made = query(request, "text", limit=allowed, groups=granted, deadline=1.0, per_document=allowed)
    assert made.groups <= granted
    assert made.groups == granted if asked.groups is None else made.groups == granted & set(asked.groups)
    assert made.limit == (allowed if asked.limit is None else min(allowed, asked.limit))
    assert made.per_document <= made.limit
    assert (made.sources, made.since) == (frozenset(asked.sources), asked.since)


@pytest.mark.parametrize(
    ("header", "meant"),
    [
        ("off", Retrieval(on=False)),
        ("on", Retrieval()),
        (
            "on; limit=4; sources=wiki,handbook; recency=news; since=1700000000.5",
            Retrieval(limit=4, sources=["wiki", "handbook"], recency="news", since=1700000000.5),
        ),
        (" on ;groups=staff;", Retrieval(groups=["staff"])),
        ("on; sources = wiki, handbook ,", Retrieval(sources=["wiki", "handbook"])),
        ("on; groups=", Retrieval(groups=[])),
    ],
)
def test_the_header_says_what_the_field_says(header: str, meant: Retrieval) -> None:
    assert Retrieval.parse(header) == meant


@pytest.mark.parametrize(
    "header",
    [
        "",
        "yes",
        "on; limit=0",
        "on; limit=x",
        "on; namespace=other",
        "on; on=false",
        "on; recency=old",
        "on limit=4",
        "on; since=nan",
        "on; until=-inf",
        "on; limit=3; limit=4",
    ],
)
def test_a_header_that_says_anything_else_is_refused(header: str) -> None:
    with pytest.raises(ValueError, match=r".+"):
        Retrieval.parse(header)


def test_presets_of_recency_are_those_of_a_search() -> None:
    for name in ("balanced", "news", "reference"):
        request = Request(model="m", messages=[], retrieval=Retrieval(recency=name))
        assert query(request, "", limit=1, groups=frozenset(), deadline=0.0).recency == PRESETS[name]
