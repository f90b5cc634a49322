"""Answers that are told when a document of theirs changes: which ones, once, and none when they are over."""

from __future__ import annotations

from contextlib import ExitStack
from typing import Any, cast

from hypothesis import given
from hypothesis import strategies as st

from retrieval.test_grounding import Collected, passage
from tidewire.core.events import Retrieved, Superseded
from tidewire.retrieval.asked import retrieved
from tidewire.retrieval.search import Found, Results
from tidewire.retrieval.watch import Watch
from watched import Listed, watch

TENANTS = ("acme", "bolt")


def told(namespace: str, *found: Found) -> Retrieved:
    results = Results(found=list(found), epoch=1, took={}, notices=[], weight=0.0)
    return retrieved(namespace, results, found, ms=1.0, behind=0.0, now=1000.0)


def of(document: str, *chunks: int, version: int = 1) -> list[Found]:
    out = []
    for chunk in chunks:
        one = passage(chunk, "text")
        fields = {name: getattr(one.row, name) for name in one.row.__struct_fields__}
        out.append(Found(row=type(one.row)(**fields | {"document": document, "version": version}), score=1.0))
    return out


def test_a_document_that_changes_is_told_once_with_what_was_given_of_it() -> None:
    index, sink = Listed(), Collected()
    following = watch(index)
    with following.follow(told("acme", *of("d1", 1, 2, version=3), *of("d2", 7)), sink):
        index.change("bolt", "d1", added=(8,))
        index.change("acme", "d9", added=(9,))
        assert sink == []
        index.change("acme", "d1", added=(8,), removed=(1, 2))
        index.change("acme", "d1", added=(10,), removed=(8,))
        index.change("acme", "d2", removed=(7,))
    assert sink == [
        Superseded(document="d1", version=3, chunks=[1, 2]),
        Superseded(document="d2", version=1, chunks=[7], deleted=True),
    ]


def test_nothing_is_left_behind_by_a_thousand_answers() -> None:
    index, sinks = Listed(), [Collected() for _ in range(1000)]
    following = watch(index)
    with ExitStack() as stack:
        for sink in sinks:
            stack.enter_context(following.follow(told("acme", *of("d1", 1), *of("d2", 2)), sink))
        assert len(following) == 2
        index.change("acme", "d1", removed=(1,))
        assert all(len(sink) == 1 for sink in sinks)
    assert len(following) == 0
    index.change("acme", "d2", removed=(2,))
    assert all(len(sink) == 1 for sink in sinks)


def test_what_went_while_the_search_ran_is_not_given() -> None:
    index = Listed()
    index.gone = {2}
    assert [one.row.chunk for one in watch(index).live("acme", of("d1", 1, 2))] == [1]


STEPS = st.lists(
    st.tuples(st.sampled_from(["open", "close", "change"]), st.sampled_from(TENANTS), st.integers(1, 4)), max_size=40
)


@given(steps=STEPS)
def test_each_answer_under_way_hears_of_just_its_own_documents(steps: list[tuple[str, str, int]]) -> None:
    index = Listed()
    following: Watch = watch(index)
    running: list[tuple[Any, str, set[str], Collected]] = []
    due: dict[int, list[str]] = {}
    for what, tenant, n in steps:
        if what == "open":
            names = {f"d{n}", f"d{n + 1}"}
            sink = Collected()
            follower = following.follow(told(tenant, *(one for name in sorted(names) for one in of(name, n))), sink)
            follower.__enter__()
            running.append((follower, tenant, names, sink))
            due[id(sink)] = []
        elif what == "close" and running:
            running.pop(n % len(running))[0].__exit__(None, None, None)
        elif what == "change":
            index.change(tenant, f"d{n}", added=(99,))
            for _, space, names, sink in running:
                if space == tenant and f"d{n}" in names:
                    names.discard(f"d{n}")
                    due[id(sink)].append(f"d{n}")
        for _, _, _, sink in running:
            assert [cast(Superseded, event).document for event in sink] == due[id(sink)]
    for follower, *_ in running:
        follower.__exit__(None, None, None)
    assert len(following) == 0
