"""One text becomes another by edits: whatever the texts, however the new one comes, and not by many more than are needed."""

from __future__ import annotations

import difflib
import random

from hypothesis import given
from hypothesis import strategies as st

from tidewire.routing import edits
from tidewire.routing.edits import Change, Revision, apply

# Letters, ends of sentences, white space, marks that join, characters of one word each, and of two UTF-16 units.
LETTERS = st.text("ab .!?\n\t\u65e5\u3002\u0301\U0001f44d\U0001f3fd\u200d*`", max_size=80)
WORDS = """the model answers questions with words of water light and seven rivers quick harbour
    signal copper market winter garden engine""".split()  # noqa: SIM905


def fed(old: str, new: str, size: int) -> tuple[Revision, list[Change]]:
    revision = Revision(old)
    changes = [c for at in range(0, len(new), size) for c in revision.feed(new[at : at + size])]
    return revision, changes


def sentence(rng: random.Random) -> str:
    return " ".join(rng.choice(WORDS) for _ in range(rng.randint(3, 15))) + rng.choice([". ", "! ", ".\n\n", "\u3002"])


def bettered(rng: random.Random) -> tuple[str, str]:
    """A text, and itself with one to six sentences inserted, taken out or changed in a word."""
    old = [sentence(rng) for _ in range(rng.randint(1, 30))]
    new = list(old)
    for _ in range(rng.randint(1, 6)):
        what, place = rng.random(), rng.randrange(len(new) + 1)
        if what < 0.3:
            new.insert(place, sentence(rng))
        elif what < 0.5 and place < len(new):
            del new[place]
        elif place < len(new):
            words = new[place].split(" ")
            words[rng.randrange(len(words))] = "otherwise"
            new[place] = " ".join(words)
    return "".join(old), "".join(new)


def least(old: str, new: str) -> int:
    """Characters that difflib deletes and inserts, word by word, with both texts before it."""
    ours, theirs = edits._UNIT.findall(old), edits._UNIT.findall(new)
    match = difflib.SequenceMatcher(None, ours, theirs, autojunk=False).get_opcodes()
    return sum(len("".join(ours[i:j])) + len("".join(theirs[k:m])) for what, i, j, k, m in match if what != "equal")


@given(LETTERS, LETTERS, st.integers(1, 9))
def test_the_changes_made_in_order_give_the_new_text_however_it_comes(old, new, size):
    revision, changes = fed(old, new, size)
    changes += revision.end()
    text = old
    for change in changes:
        assert 0 <= change.start <= change.end <= len(text)
        text = apply(text, change)
    assert text == new == revision.text
    again, at_once = fed(old, new, 1000)
    assert [*at_once, *again.end()] == changes


@given(LETTERS, LETTERS, st.integers(1, 9), st.integers(0, 80))
def test_at_any_place_what_was_changed_can_be_taken_back_and_what_was_passed_stays(old, new, size, until):
    revision, changes = fed(old, new[:until], size)
    text, passed = old, 0
    for change in changes:
        assert change.start >= passed
        passed = change.start + len(change.text)
        text = apply(text, change)
    assert text.startswith(revision.text)  # new as far as it goes, then the rest of the old one
    assert old.endswith(text[len(revision.text) :])
    for change in revision.back():
        text = apply(text, change)
    assert text == old


def test_equal_texts_need_no_change():
    text = "".join(sentence(random.Random(7)) for _ in range(50))
    revision, changes = fed(text, text, 3)
    assert [*changes, *revision.end()] == []


def test_a_word_that_differs_is_the_only_one_that_is_edited():
    old = "Rome is old. Its river is the Tibre, of course! It has hills."
    revision, changes = fed(old, old.replace("Tibre", "Tiber"), 5)
    assert [*changes, *revision.end()] == [Change(30, 35, "Tiber")]


def test_an_edit_comes_while_the_rest_is_still_being_written():
    old = "One is here. Two is wrong. Three is here."
    revision = Revision(old)
    assert revision.feed("One is here. Two is right. T") == [Change(20, 25, "right")]


def test_six_changes_in_a_text_cost_about_what_they_would_with_both_texts_at_hand():
    """difflib has both texts; this has one and the beginning of the other. Over many texts it edits at most 1.3 times as much."""
    ours = theirs = 0
    for seed in range(200):
        old, new = bettered(random.Random(seed))
        revision, _ = fed(old, new, 7)
        revision.end()
        ours += revision.changed
        theirs += least(old, new)
    assert ours <= 1.3 * theirs


def test_nothing_is_edited_twice_over_however_different_the_texts_are():
    old, new = ("".join(sentence(random.Random(seed)) for _ in range(40)) for seed in (1, 2))
    revision, _ = fed(old, new, 11)
    revision.end()
    assert revision.changed <= len(old) + len(new)


def test_long_texts_without_words_or_ends_take_no_more_comparing_than_their_length(monkeypatch):
    """Each sentence is held against a few others at most, and is itself bounded."""
    compared = []
    matcher = difflib.SequenceMatcher

    def counting(junk, ours, theirs, **more):
        compared.append(len(ours) * len(theirs))
        return matcher(junk, ours, theirs, **more)

    monkeypatch.setattr(edits.difflib, "SequenceMatcher", counting)
    for old, new in (
        ("a" * 100_000, "a" * 99_999),
        ("a b " * 25_000, "a c " * 25_000),
        ("x. " * 30_000, "y. " * 30_000),
    ):
        compared.clear()
        revision, _ = fed(old, new, 50)
        revision.end()
        assert revision.text == new
        assert all(size <= edits.LONGEST**2 for size in compared)
        assert len(compared) <= len(new) / 3 + 1
