"""How lists become one ranking: fused, aged, rid of copies, lifted."""

from __future__ import annotations

import tracemalloc

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tidewire.core import prose
from tidewire.retrieval.ports import Row
from tidewire.retrieval.ranking.duplicates import PER_DOCUMENT, collapsed
from tidewire.retrieval.ranking.features import EXACT, OPENS, asked, lift
from tidewire.retrieval.ranking.fuse import normed, reciprocal, shares, weighted
from tidewire.retrieval.ranking.recency import CUED, DAY, PRESETS, Recency, cued, factor, newest, raised
from tidewire.retrieval.simhash import simhash

NOW = 1_790_000_000.0  # in September 2026
SCORED = st.lists(
    st.tuples(st.integers(0, 30), st.floats(-50, 50, allow_nan=False)), max_size=20, unique_by=lambda pair: pair[0]
)


class Ranked(msgspec.Struct):
    row: Row


def row(chunk: int = 1, document: str = "a", text: str = "text", published: float = NOW, **other: object) -> Row:
    given = {
        "version": 1,
        "title": "",
        "uri": "",
        "heading": "",
        "start": 1000,
        "digest": text.encode(),
        "simhash": simhash(prose.words(text)),
        "indexed": NOW,
    }
    return Row(chunk=chunk, document=document, text=text, published=published, **(given | other))  # type: ignore[arg-type]


@pytest.mark.parametrize("scored", [[(7, 3.2)], [(7, -1.0)], [(7, 2.0), (8, 2.0)], [(7, 0.0)]])
def test_a_single_or_flat_list_counts_in_full(scored: list[tuple[int, float]]) -> None:
    assert set(normed(scored).values()) == {1.0}


def test_the_only_holder_of_a_new_word_stands_before_all_that_are_merely_near() -> None:
    meaning = [(chunk, 0.5 - chunk / 100) for chunk in range(20)]
    fused = weighted([(0.5, normed([(99, 4.0)])), (0.5, normed(meaning))])
    assert sorted(fused, key=lambda chunk: -fused[chunk])[:2] in ([0, 99], [99, 0])


@given(SCORED)
def test_a_laid_list_keeps_its_order_and_lies_between_0_and_1(scored: list[tuple[int, float]]) -> None:
    for laid in (normed(scored), shares(scored), reciprocal([scored])):
        assert set(laid) == {chunk for chunk, _ in scored}
        assert all(0.0 <= score <= 1.0 + 1e-9 for score in laid.values())
        order = [laid[chunk] for chunk, _ in sorted(scored, key=lambda pair: (-pair[1], pair[0]))]
        assert order == sorted(order, reverse=True)


@given(SCORED, SCORED, st.floats(0.01, 0.99))
def test_what_leads_both_lists_leads_the_fused_one(
    first: list[tuple[int, float]], second: list[tuple[int, float]], weight: float
) -> None:
    both = [[*scored, (99, 60.0)] for scored in (first, second)]
    for fused in (weighted([(weight, normed(both[0])), (1 - weight, normed(both[1]))]), reciprocal(both)):
        assert fused[99] == pytest.approx(1.0)
        assert max(fused.values()) <= 1.0 + 1e-9


def test_with_one_list_missing_the_other_counts_in_full() -> None:
    assert weighted([(0.5, {}), (0.5, {1: 1.0, 2: 0.5})]) == {1: 1.0, 2: 0.5}


def test_half_of_what_age_may_take_is_gone_after_the_half_time() -> None:
    news = PRESETS["news"]
    assert factor(news, NOW, NOW) == 1.0
    assert factor(news, NOW - news.half, NOW) == pytest.approx(0.75)
    assert factor(news, 0.0, NOW) == pytest.approx(0.5)
    assert factor(PRESETS["reference"], 0.0, NOW) == 1.0


@given(st.floats(0, 1), st.floats(0, 4e9), st.floats(-1e9, 4e9))
def test_age_takes_no_more_than_its_weight_wherever_the_clock_jumps(
    weight: float, published: float, now: float
) -> None:
    aged = factor(Recency(weight), published, now)
    assert 1.0 - weight - 1e-9 <= aged <= 1.0
    if published >= now:
        assert aged == 1.0


@pytest.mark.parametrize(
    "question",
    [
        "What is the latest release?",
        "price today",
        "who leads it CURRENTLY",
        "the current version",
        "changes this week",
        "prices in 2026",
        "2025 plan",
    ],
)
def test_a_cue_of_time_makes_what_is_new_count_more(question: str) -> None:
    assert cued(question, NOW)
    assert raised(Recency()).weight == raised(PRESETS["reference"]).weight == CUED


@pytest.mark.parametrize(
    "question",
    ["electric current in a coil", "the current through a diode", "the war of 2003", "port 2025x", "how to restore"],
)
def test_a_question_without_one_has_no_cue(question: str) -> None:
    assert not cued(question, NOW)


def test_a_cue_takes_nothing_from_a_greater_weight() -> None:
    assert raised(Recency(0.9, DAY)) == Recency(0.9, DAY)


def test_of_old_documents_the_newest_is_told_apart_from_older_ones() -> None:
    """200 and 700 days are both many half-lives; counted from the newest that fits, one is new."""
    old, older = NOW - 200 * DAY, NOW - 700 * DAY
    plain = [factor(raised(Recency()), when, NOW) for when in (old, older)]
    assert plain[0] - plain[1] < 0.01
    zero = newest([(0.9, old), (1.0, older), (0.1, NOW)], NOW)
    assert zero == old
    assert factor(raised(Recency()), old, zero) == 1.0
    assert factor(raised(Recency()), older, zero) < 0.51


def test_age_counts_from_now_where_nothing_was_found_or_it_is_dated_ahead() -> None:
    assert newest([], NOW) == NOW
    assert newest([(1.0, NOW + DAY)], NOW) == NOW


WORDS = " ".join(f"word{n}" for n in range(60))


def test_of_copies_the_newest_is_shown_at_the_place_of_the_best() -> None:
    ranked = [
        Ranked(row(1, "old", WORDS, NOW - DAY)),
        Ranked(row(2, "x", "other")),
        Ranked(row(3, "new", WORDS + " end")),
    ]
    shown, copies = collapsed(ranked)
    assert [one.row.chunk for one in shown] == [3, 2]
    assert copies == {3: [1]}


def test_a_newer_copy_does_not_give_its_document_more_than_its_share() -> None:
    ranked = [Ranked(row(n, "new", f"{n} text")) for n in (1, 2)]
    ranked += [Ranked(row(3, "old", WORDS, NOW - DAY)), Ranked(row(4, "new", WORDS))]
    shown, _ = collapsed(ranked)
    assert [one.row.chunk for one in shown] == [1, 2]


@given(st.lists(st.tuples(st.sampled_from("abc"), st.integers(0, 6), st.integers(0, 5)), max_size=15))
def test_each_text_is_shown_once_and_no_document_fills_the_page(drawn: list[tuple[str, int, int]]) -> None:
    ranked = [Ranked(row(n, name, f"{text} " * 9, NOW - age)) for n, (name, text, age) in enumerate(drawn)]
    shown, copies = collapsed(ranked)
    texts = [one.row.text for one in shown]
    assert len(texts) == len(set(texts))
    for name in "abc":
        assert sum(one.row.document == name for one in shown) <= PER_DOCUMENT
    for one in shown:
        assert one.row.published == max(other.row.published for other in ranked if other.row.text == one.row.text)
        stood = {other.row.chunk for other in ranked if other.row.text == one.row.text} - {one.row.chunk}
        assert set(copies.get(one.row.chunk, [])) == stood


def test_a_heading_that_is_asked_for_lifts_and_a_question_of_small_words_lifts_nothing() -> None:
    assert lift(asked("How do I restore backups?"), row(heading="Guide > Restoring backups"), opens=True) == EXACT
    assert lift(asked("what is it"), row(), opens=True) == 1.0
    assert lift(asked("what is it"), row(start=0), opens=True) == OPENS
    assert lift(asked("what is it"), row(start=0), opens=False) == 1.0


def test_nothing_of_a_question_stays_in_memory() -> None:
    tracemalloc.start()
    try:
        before, _ = tracemalloc.get_traced_memory()
        for n in range(20):
            asked(f"{n} " * 20_000)
        after, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert after - before < 100_000
