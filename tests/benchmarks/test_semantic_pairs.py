"""The pairs that the semantic cache is measured by, and what its words make of them."""

from __future__ import annotations

from semantic_cache import nearness, table
from semantic_pairs import PAIRS

from tidewire.cache.alike import cosine
from tidewire.cache.meaning import shape


def test_there_are_enough_pairs_of_both_kinds_and_none_twice():
    assert len(PAIRS) >= 200
    assert len({(one, other) for one, other, _ in PAIRS}) == len(PAIRS)
    assert min(sum(same for *_, same in PAIRS), sum(not same for *_, same in PAIRS)) >= 80


def test_no_pair_that_means_something_else_has_the_same_words():
    assert [(one, other) for one, other, same in PAIRS if not same and shape(one) == shape(other)] == []


def test_most_pairs_that_say_the_same_in_the_same_words_have():
    hits = [
        (one, other) for one, other, same in PAIRS if same and shape(one) is not None and shape(one) == shape(other)
    ]
    assert len(hits) >= 75


async def test_the_table_counts_by_vectors_and_by_words():
    class Flat:
        """Every text has the same vector."""

        async def encode(self, texts, *, query=False, deadline=None):
            return [b"\x00\x00\x80\x3f" for _ in texts]

    near = await nearness(Flat(), PAIRS)
    assert set(near) == {cosine(b"\x00\x00\x80\x3f", b"\x00\x00\x80\x3f")} == {1.0}
    wrong = sum(not same for *_, same in PAIRS)
    lines = table(PAIRS, near).splitlines()
    assert f"{wrong} of {wrong} (100.0%)" in lines[1]
    assert f"0 of {wrong} (0.0%)" in lines[-1]
