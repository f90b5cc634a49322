"""Which texts go next: in told time, against every other way to do it."""

from __future__ import annotations

import itertools

from hypothesis import given
from hypothesis import strategies as st

from tidewire.embedding.line import NEVER, Bounds, Item, Line
from tidewire.embedding.pace import Pace

FREE = Bounds(texts=1000, units=100_000, seconds=NEVER, waiting=1000)


def line(bounds: Bounds = FREE, fixed: float = 1.0, each: float = 1.0) -> Line:
    return Line(Pace(fixed, each), bounds)


def drained(line: Line, now: float = 0.0) -> list[tuple[float, list[Item]]]:
    """Every batch in order, with the time at which it ends."""
    out = []
    while len(line):
        batch, _ = line.take(now)
        assert batch, "something waits, and nothing goes"
        now += line.pace.seconds(sum(item.size for item in batch))
        out.append((now, batch))
    return out


def missed(batches: list[tuple[float, list[Item]]]) -> int:
    return sum(item.due < end - 1e-9 for end, batch in batches for item in batch)


def some_way(items: list[tuple[int, float]], pace: Pace, most: int) -> bool:
    """Whether any order, cut into batches anyhow, keeps every deadline."""
    for order in itertools.permutations(items):
        for cuts in range(1 << (len(order) - 1)):
            now, kept, batch = 0.0, True, []
            for place, item in enumerate(order):
                batch.append(item)
                if place == len(order) - 1 or cuts >> place & 1:
                    now += pace.seconds(sum(size for size, _ in batch))
                    kept = kept and len(batch) <= most and all(now <= due + 1e-9 for _, due in batch)
                    batch = []
            if kept:
                return True
    return False


asked = st.lists(st.tuples(st.integers(1, 6), st.integers(1, 40).map(float)), min_size=1, max_size=5)


@given(items=asked, fixed=st.sampled_from([0.0, 1.0, 4.0]), most=st.integers(1, 5))
def test_no_deadline_is_missed_that_any_choice_of_batches_could_have_kept(items, fixed, most):
    ours = line(Bounds(texts=most, units=100_000, seconds=NEVER, waiting=1000), fixed)
    for number, (size, due) in enumerate(items):
        ours.add(number, [size], due, query=True)
    assert (missed(drained(ours)) == 0) == some_way(items, ours.pace, most)


@given(
    calls=st.lists(
        st.tuples(st.booleans(), st.lists(st.integers(1, 50), min_size=1, max_size=8), st.none() | st.floats(0, 200)),
        min_size=1,
        max_size=12,
    ),
    texts=st.integers(1, 9),
    units=st.integers(1, 120),
    seconds=st.sampled_from([0.5, 20.0, NEVER]),
)
def test_every_text_goes_once_in_batches_of_one_kind_within_the_bounds(calls, texts, units, seconds):
    ours = line(Bounds(texts=texts, units=units, seconds=seconds, waiting=1000))
    for number, (query, sizes, due) in enumerate(calls):
        ours.add((number, query), sizes, due, query=query)
    gone = []
    for _, batch in drained(ours):
        assert len({item.call[1] for item in batch}) == 1
        gone += [(item.call[0], item.place) for item in batch]
        if len(batch) > 1:
            assert len(batch) <= texts
            assert sum(item.size for item in batch) <= units
            assert ours.pace.seconds(sum(item.size for item in batch)) <= seconds
    assert sorted(gone) == [(n, place) for n, (_, sizes, _) in enumerate(calls) for place in range(len(sizes))]


def test_queries_go_before_documents_that_came_first():
    ours = line()
    ours.add("document", [5], None, query=False)
    ours.add("query", [1], None, query=True)
    assert ours.take(0.0)[1] is True
    assert ours.take(0.0)[1] is False


def test_documents_get_a_turn_a_second_however_many_queries_come():
    ours = line()
    ours.add("document", [5, 5], None, query=False)
    now, turns = 0.0, []
    while len(ours) and now < 10:
        ours.add("query", [1], None, query=True)
        turns.append((now, ours.take(now)[1]))
        now += 0.25
    assert [at for at, query in turns if not query] == [1.0]  # both documents were in that batch


def test_the_texts_of_a_long_call_take_turns_with_those_of_a_short_one():
    ours = line(Bounds(texts=1, units=100, seconds=NEVER, waiting=1000))
    ours.add("long", [1] * 50, None, query=False)
    for _ in range(10):
        ours.take(0.0)
    ours.add("short", [1, 1, 1], None, query=False)
    order = [batch[0].call for _, batch in drained(ours)]
    assert max(place for place, call in enumerate(order) if call == "short") <= 6


def test_a_text_that_comes_too_late_whatever_goes_next_costs_no_other_its_deadline():
    ours = line(Bounds(texts=1, units=100, seconds=NEVER, waiting=1000))
    ours.add("hopeless", [9], 2.0, query=True)
    ours.add("kept", [1], 2.0, query=True)
    assert [batch[0].call for _, batch in drained(ours)] == ["kept", "hopeless"]


def test_nothing_of_a_caller_that_left_stays():
    ours = line()
    ours.add("gone", [1, 2], 5.0, query=True)
    ours.add("gone", [3], None, query=False)
    ours.add("here", [4], None, query=False)
    ours.drop("gone")
    assert [item.call for _, batch in drained(ours) for item in batch] == ["here"]


@given(
    fixed=st.floats(0, 2), each=st.floats(1e-6, 1e-2), sizes=st.lists(st.integers(1, 5000), min_size=30, max_size=60)
)
def test_the_pace_is_learned_from_what_batches_took(fixed, each, sizes):
    pace = Pace(0.5, 0.5)
    for size in sizes:
        pace.learn(size, fixed + each * size)
    for size in sizes[-5:]:
        right = fixed + each * size
        assert abs(pace.seconds(size) - right) <= 0.05 * right + 1e-6 or len(set(sizes)) < 3


def test_a_pace_that_was_wrong_for_a_while_is_right_again_soon():
    pace = Pace(0.0, 1.0)
    for size in (10, 20, 30, 40) * 5:
        pace.learn(size, 10.0)  # the machine was busy
    for size in (10, 20, 30, 40) * 25:
        pace.learn(size, 0.001 * size)
    assert pace.seconds(40) < 0.1
