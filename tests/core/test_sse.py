"""Server-Sent Events, however the network cuts them, against the rules of the standard read line by line."""

from __future__ import annotations

import itertools
import re

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from tidewire.core.errors import UpstreamError
from tidewire.core.sse import Frames, comment, frame


def by_the_standard(data: bytes) -> list[tuple[bytes, bytes]]:
    """WHATWG HTML, 9.2.6, without ids and retries: the slow way."""
    out: list[tuple[bytes, bytes]] = []
    event, pending = b"", []
    lines = re.split(b"\r\n|\n|\r", data.removeprefix(b"\xef\xbb\xbf"))
    for line in lines[:-1]:
        if not line:
            if pending:
                out.append((event, b"\n".join(pending)))
            event, pending = b"", []
            continue
        name, _, value = line.partition(b":")
        value = value.removeprefix(b" ")
        if name == b"data":
            pending.append(value)
        elif name == b"event":
            event = value
    return out


pieces = st.sampled_from(
    [
        b"data: one",
        b"data:two",
        b"data:  three",
        b"data",
        b"data:",
        b"data: \xc3\xa9\xf0\x9f\x98\x80",
        b"event: error",
        b"event:x",
        b"event",
        b": a comment",
        b":",
        b"id: 7",
        b"retry: 100",
        b"databank: 1",
        b"nonsense",
        b" data: indented",
        b"",
        b"",
        b"",
    ]
)
ends = st.sampled_from([b"\n", b"\r", b"\r\n"])
streams = st.builds(
    lambda bom, lines, tail: (b"\xef\xbb\xbf" if bom else b"") + b"".join(a + b for a, b in lines) + tail,
    st.booleans(),
    st.lists(st.tuples(pieces, ends), max_size=14),
    st.sampled_from([b"", b"da", b"data: un", b"\xef", b"\xef\xbb"]),
)


def fed(*cuts: bytes) -> list[tuple[bytes, bytes]]:
    frames = Frames()
    return [event for cut in cuts for event in frames.feed(cut)]


@given(streams)
@example(b"data: a\r\n\r\ndata: b\r\rdata: c\n\n")
@example(b"\xef\xbb\xbfdata: a\n\n")
@example(b"data: a\n\ndata: b\n\n")
@example(b"event: e\n\ndata: a\n\n")
def test_every_cut_gives_what_the_standard_says(data):
    expected = by_the_standard(data)
    assert fed(data) == expected
    for at in range(len(data) + 1):
        assert fed(data[:at], data[at:]) == expected
    assert fed(*(data[i : i + 1] for i in range(len(data)))) == expected


@given(streams, st.lists(st.integers(0, 200), max_size=6))
def test_many_cuts_at_once_change_nothing(data, places):
    marks = sorted({0, len(data), *(p for p in places if p < len(data))})
    assert fed(*(data[a:b] for a, b in itertools.pairwise(marks))) == by_the_standard(data)


@given(st.lists(st.binary(max_size=40), max_size=5))
def test_any_bytes_at_all_do_no_harm(cuts):
    assert fed(*cuts) == by_the_standard(b"".join(cuts))


def test_what_was_framed_is_read_again():
    wire = frame(b'{"a":1}', event="delta", number=12) + comment() + comment("hi") + frame(b"x")
    assert wire.startswith(b"id: 12\nevent: delta\ndata: ")
    assert fed(wire) == [(b"delta", b'{"a":1}'), (b"", b"x")]


def fill(frames: Frames, data: bytes) -> None:
    for _ in range(2000):
        frames.feed(data)


@pytest.mark.parametrize(
    "endless", [b"data: xxxxxxxxx\n", b"x" * 16, b"data: xxxxxxxxx", b"event: " + b"x" * 16, b"data\n"]
)
def test_an_event_without_end_is_refused_before_it_fills_the_memory(endless):
    frames = Frames(limit=1000)
    with pytest.raises(UpstreamError) as caught:
        fill(frames, endless)
    assert caught.value.kind == "upstream_event_too_large"


def test_a_long_line_that_comes_in_many_pieces_is_looked_at_once():
    """Joined anew for each piece, 7 MB in pieces of 16 bytes would be 1.5 TB to copy."""
    frames = Frames()
    assert frames.feed(b"data: ") == []
    for _ in range(440_000):
        assert not frames.feed(b"0123456789abcdef")
    assert frames.feed(b"\r\ndata: x\n\n") == [(b"", b"0123456789abcdef" * 440_000 + b"\nx")]


def test_many_small_events_never_meet_the_limit():
    frames = Frames(limit=100)
    assert sum(len(frames.feed(b"event: e\ndata: " + b"x" * 50 + b"\n\n")) for _ in range(100)) == 100
