"""The scan of vectors, held against arithmetic told row by row, and against a thread that changes what it looks at."""

from __future__ import annotations

import sys
import threading

import pytest

from tidewire.retrieval.engines.place import Place
from tidewire.retrieval.ports import Filter, Vector

np = pytest.importorskip("numpy")
matrix = pytest.importorskip("tidewire.retrieval.engines.matrix")
WIDTH = 16


def vector(drawn) -> Vector:
    return Vector(drawn.integers(-127, 128, WIDTH, dtype=np.int8).tobytes(), 1 / 127)


@pytest.mark.parametrize("seed", range(6))
@pytest.mark.parametrize("open_to", [1.0, 0.3, 0.002])
def test_whatever_the_filter_leaves_the_best_of_it_are_found_in_order(seed, open_to):
    drawn = np.random.default_rng(seed)
    made, rows = matrix.Matrix(WIDTH), {}
    for chunk in range(3000):
        place = Place(
            "a",
            readers=int(drawn.random() > open_to),
            source=int(drawn.integers(3)),
            published=float(drawn.integers(10)),
            expires=float(drawn.choice([5.0, np.inf])),
        )
        rows[chunk] = (vector(drawn), place)
        made.put(chunk, *rows[chunk])
    for chunk in drawn.choice(3000, 300, replace=False).tolist():
        made.remove(chunk)
        del rows[chunk]
    for which, sources in ((Filter(6.0), None), (Filter(4.0, since=3.0, until=7.0), None), (Filter(6.0), {1, 2})):
        query = drawn.integers(-127, 128, WIDTH).astype("<f4")
        query[0] = 127.0  # so that laying it on int8 leaves it as it is
        told = {
            chunk: float(np.frombuffer(one.data, np.int8).astype(np.int64) @ query.astype(np.int64)) * one.scale
            for chunk, (one, place) in rows.items()
            if place.readers == 0
            and place.expires > which.now
            and (which.since is None or which.since <= place.published <= which.until)
            and (sources is None or place.source in sources)
        }
        found = made.search(query.tobytes(), 50, which, {0}, sources)
        best = sorted(told.values(), reverse=True)[:50]
        assert [score for _, score in found] == pytest.approx(best)
        assert all(told[chunk] == pytest.approx(score) for chunk, score in found)


def test_a_search_beside_one_that_moves_all_rows_finds_what_stays():
    drawn = np.random.default_rng(3)
    made, stays = matrix.Matrix(WIDTH), vector(drawn)
    place = Place("a", readers=0, source=0, published=1.0, expires=float("inf"))
    made.put(-1, stays, place)
    query = np.frombuffer(stays.data, np.int8).astype("<f4").tobytes()
    over, failed = threading.Event(), []

    def change() -> None:
        try:
            for turn in range(40):  # the table grows, and is closed up, again and again
                for chunk in range(600):
                    made.put(chunk, stays if chunk == turn else vector(drawn), place)
                for chunk in range(600):
                    made.remove(chunk)
        except Exception as error:  # to be seen in the test's own thread
            failed.append(error)
        finally:
            over.set()

    thread = threading.Thread(target=change)
    thread.start()
    looks = 0
    while not over.is_set():
        found = made.search(query, 5, Filter(0.0), {0}, None)
        assert -1 in dict(found)
        assert all(-1 <= chunk < 600 for chunk, _ in found)
        looks += 1
    thread.join()
    assert not failed
    assert looks > 10


@pytest.fixture
def quick_turns():
    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-5)
    yield
    sys.setswitchinterval(before)


def test_what_is_put_again_is_found_at_every_moment(quick_turns):
    drawn = np.random.default_rng(5)
    one, other = vector(drawn), vector(drawn)
    made = matrix.Matrix(WIDTH)
    place = Place("a", readers=0, source=0, published=1.0, expires=float("inf"), document="d")
    made.put(7, one, place)
    query = np.ones(WIDTH, "<f4").tobytes()
    over = threading.Event()

    def put() -> None:
        for turn in range(4000):  # twice the same, twice another: the table is moved, too
            made.put(7, one if turn % 4 < 2 else other, place)
        over.set()

    thread = threading.Thread(target=put)
    thread.start()
    missed = 0
    while not over.is_set():
        missed += not made.search(query, 5, Filter(0.0), {0}, None)
    thread.join()
    assert missed == 0
    assert [chunk for chunk, _ in made.search(query, 5, Filter(0.0), {0}, None)] == [7]
