from __future__ import annotations

import random
from collections import Counter

from hypothesis import given
from hypothesis import strategies as st

from tidewire.retrieval import simhash as module
from tidewire.retrieval.simhash import SHINGLE, distance, simhash

WORDS = st.lists(st.sampled_from(["the", "tide", "rises", "and", "falls", "twice"]), max_size=200)


def slowly(words: list[str]) -> int:
    """Bit by bit."""
    if not words:
        return 0
    votes: Counter[int] = Counter()
    count = max(1, len(words) - SHINGLE + 1)
    for n in range(count):
        rolled = 0
        for word in words[n : n + SHINGLE]:
            rolled = (rolled * module._ODD + module._hash(word)) & module._MASK
        votes.update(bit for bit in range(64) if rolled >> bit & 1)
    return sum(1 << bit for bit in range(64) if votes[bit] > count // 2)


@given(WORDS)
def test_counting_all_bits_at_once_gives_what_counting_each_gives(words: list[str]) -> None:
    assert simhash(words) == slowly(words)


def test_a_text_with_one_word_changed_is_near_and_another_text_is_far() -> None:
    chosen = random.Random(1)
    words = [f"w{chosen.randrange(500)}" for _ in range(150)]
    changed = [*words[:70], "other", *words[71:]]
    other = [f"v{chosen.randrange(500)}" for _ in range(150)]
    assert distance(simhash(words), simhash(changed)) <= 10
    assert distance(simhash(words), simhash(other)) > 15


def test_it_is_the_same_in_every_process() -> None:
    assert simhash(["the", "tide", "rises", "twice", "a", "day"]) == 2350552861116433029
