from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tidewire.core.events import StoredEntry
from tidewire.core.ports import Meta
from tidewire.stores.shelf import PACK, Shelf


def shelf(*sizes: int) -> Shelf:
    made = Shelf(Meta("s", "t", "m", 1, "native", "native/1", "continue", "memory"))
    for n, size in enumerate(sizes, 1):
        made.publish([StoredEntry(n, bytes([n]) * size)])
    return made


def test_what_is_shed_is_the_oldest_and_the_rest_is_read_as_before() -> None:
    it = shelf(10, 10, 10, 10)
    it.shed(20, until=4)
    assert (it.base, it.last, it.size) == (2, 4, 20)
    assert [(e.seq, e.raw[:1]) for e in it.read(2, 9)] == [(3, b"\3"), (4, b"\4")]


def test_nothing_is_shed_that_is_not_stored_elsewhere() -> None:
    it = shelf(10, 10, 10)
    it.shed(0, until=1)
    assert (it.base, it.size) == (1, 20)


def test_a_shelf_that_shed_all_holds_no_decoded_event_either() -> None:
    it = shelf(10, 10)
    it.shed(0, until=2)
    assert (it.base, it.size, it.tip) == (2, 0, [])
    it.publish([StoredEntry(3, b"x")])
    assert [e.seq for e in it.read(2, 9)] == [3]


def test_a_reader_at_the_end_gets_the_entries_as_they_were_appended() -> None:
    it = shelf(1)
    batch = [StoredEntry(2, b"x")]
    seen = []
    it.watch(lambda: seen.append(it.read(1, 10)))
    it.publish(batch)
    assert seen[0] is batch
    assert [(e.seq, e.raw) for e in it.read(1, 10)] == [(2, b"x")]


def test_a_reader_that_leaves_as_it_is_woken_keeps_nobody_from_hearing() -> None:
    it = shelf(1)
    woken = []

    def leave() -> None:
        woken.append("first")
        it.unwatch(leave)

    it.watch(leave)
    it.watch(lambda: woken.append("second"))
    it.publish([StoredEntry(2, b"x")])
    assert woken == ["first", "second"]


@given(st.lists(st.integers(1, 3 * PACK), min_size=1, max_size=6), st.integers(1, 3 * PACK), st.data())
def test_what_is_read_is_what_was_published_wherever_it_begins_and_whatever_was_shed(batches, limit, data):
    it = Shelf(Meta("s", "t", "m", 1, "native", "native/1", "continue", "memory"))
    wanted: list[tuple[int, bytes]] = []
    for size in batches:
        batch = [(len(wanted) + n, b'{"n":%d}' % (len(wanted) + n)) for n in range(1, size + 1)]
        wanted += batch
        it.publish([StoredEntry(seq, raw) for seq, raw in batch])
    assert it.size == sum(len(raw) for _, raw in wanted)
    until = data.draw(st.integers(0, len(wanted)))
    it.shed(data.draw(st.integers(0, it.size)), until)
    assert it.base <= until
    assert it.size == sum(len(raw) for seq, raw in wanted if seq > it.base)
    after = data.draw(st.integers(it.base, len(wanted)))
    assert [(e.seq, e.raw) for e in it.read(after, limit)] == wanted[after : after + limit]


@pytest.mark.parametrize("room", [0, 100])
def test_shedding_comes_down_to_the_room_asked_for_where_all_is_stored(room: int) -> None:
    it = shelf()
    for n in range(1, 5 * PACK):
        it.publish([StoredEntry(n, b"0123456789")])
    it.shed(room, it.last)
    assert it.size <= room
