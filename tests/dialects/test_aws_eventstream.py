"""The binary event stream of AWS, against botocore's own parser: what we write it reads, what it reads we read, however it is cut."""

from __future__ import annotations

from struct import pack
from uuid import UUID
from zlib import crc32

import pytest
from botocore.eventstream import EventStreamBuffer
from hypothesis import given
from hypothesis import strategies as st

from tidewire.core.errors import UpstreamError
from tidewire.dialects.aws_eventstream import (
    LIMIT,
    Byte,
    Long,
    Messages,
    Short,
    Timestamp,
    message,
    read_headers,
    write_headers,
)


def signed(bits: int):
    return st.integers(-(1 << (bits - 1)), (1 << (bits - 1)) - 1)


VALUES = st.one_of(
    st.booleans(),
    signed(8).map(Byte),
    signed(16).map(Short),
    signed(32),
    signed(64).map(Long),
    st.binary(max_size=40),
    st.text(st.characters(exclude_categories=["Cs"]), max_size=40),
    signed(64).map(Timestamp),
    st.uuids(),
)
NAMES = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=20)
HEADERS = st.dictionaries(NAMES, VALUES, max_size=6)
STREAMS = st.lists(st.tuples(HEADERS, st.binary(max_size=200)), max_size=6)
EVERY = {
    "true": True,
    "false": False,
    "byte": Byte(-5),
    "short": Short(300),
    "int": -70000,
    "long": Long(1 << 40),
    "bytes": b"\x00\xff",
    "string": "é😀",
    "timestamp": Timestamp(1_790_000_000_123),
    "uuid": UUID(int=7),
}


def written(stream) -> bytes:
    return b"".join(message(write_headers(headers), payload) for headers, payload in stream)


def read(*cuts: bytes) -> list:
    messages = Messages()
    out = [m for cut in cuts for m in messages.feed(cut)]
    assert not messages.waiting
    return out


def of_botocore(wire: bytes) -> list:
    buffer = EventStreamBuffer()
    buffer.add_data(wire)
    return [(m.headers, m.payload) for m in buffer]


def plain(headers) -> dict:
    """As botocore gives them: a UUID is its bytes."""
    return {name: value.bytes if isinstance(value, UUID) else value for name, value in headers.items()}


@given(STREAMS)
def test_botocore_reads_what_we_write(stream):
    assert of_botocore(written(stream)) == [(plain(headers), payload) for headers, payload in stream]


@given(STREAMS)
def test_we_read_what_botocore_reads_and_every_type_comes_back_as_it_was(stream):
    wire = written(stream)
    got = read(wire)
    assert [(plain(headers), payload) for headers, payload in got] == of_botocore(wire)
    assert [[type(v) for v in headers.values()] for headers, _ in got] == [
        [type(v) for v in headers.values()] for headers, _ in stream
    ]
    assert written(got) == wire


@given(STREAMS, st.data())
def test_where_the_bytes_are_cut_changes_nothing(stream, data):
    wire = written(stream)
    places = sorted(data.draw(st.lists(st.integers(0, len(wire)), max_size=8)))
    assert read(*(wire[a:b] for a, b in zip([0, *places], [*places, len(wire)], strict=True))) == read(wire)


@pytest.mark.parametrize("size", [1, 2, 3, 7, 64])
def test_a_message_with_every_type_of_header_is_read_in_pieces_of(size):
    wire = written([(EVERY, b"payload"), ({}, b""), (EVERY, b"again")])
    assert read(*(wire[i : i + size] for i in range(0, len(wire), size))) == [
        (EVERY, b"payload"),
        ({}, b""),
        (EVERY, b"again"),
    ]


def test_a_message_is_the_bytes_of_the_specification():
    wire = message(write_headers({"a": "b"}), b"{}")
    lengths = pack(">II", 12 + 6 + 2 + 4, 6)
    body = lengths + pack(">I", crc32(lengths)) + b"\x01a\x07\x00\x01b" + b"{}"
    assert wire == body + pack(">I", crc32(body))


@given(HEADERS, st.binary(max_size=50), st.data())
def test_a_single_flipped_bit_is_found(headers, payload, data):
    wire = bytearray(written([(headers, payload)]))
    place = data.draw(st.integers(0, 8 * len(wire) - 1))
    wire[place // 8] ^= 1 << place % 8
    messages = Messages()
    with pytest.raises(UpstreamError) as caught:
        list(messages.feed(bytes(wire)))
    assert caught.value.kind == "upstream_bad_event"


def test_what_came_before_the_broken_message_is_given_out_first():
    good = written([({"n": 1}, b"one"), ({"n": 2}, b"two")])
    broken = bytearray(written([({"n": 3}, b"three")]))
    broken[-1] ^= 1
    for at in range(len(good) + len(broken) + 1):
        wire = good + broken
        got = []

        def read_all(wire=wire, at=at, got=got):
            messages = Messages()
            for piece in (wire[:at], wire[at:]):
                got.extend(payload for _, payload in messages.feed(piece))

        with pytest.raises(UpstreamError):
            read_all()
        assert got == [b"one", b"two"]


def prelude(total: int, size: int) -> bytes:
    lengths = pack(">II", total, size)
    return lengths + pack(">I", crc32(lengths)) + b"\x00" * 4


@pytest.mark.parametrize(
    ("wire", "code"),
    [
        (prelude(LIMIT + 1, 0), "upstream_event_too_large"),
        (prelude(0xFFFFFFFF, 0xFFFFFFFF), "upstream_event_too_large"),
        (prelude(15, 0), "upstream_bad_event"),
        (prelude(0, 0), "upstream_bad_event"),
        (prelude(100, 85), "upstream_bad_event"),
        (prelude(1 << 20, (128 << 10) + 1), "upstream_bad_event"),
        (b"<html>not a stream</html>", "upstream_bad_event"),
        (b'{"message": "no"}', "upstream_bad_event"),
    ],
)
def test_lengths_that_cannot_be_are_refused_before_anything_is_held(wire, code):
    messages = Messages()
    with pytest.raises(UpstreamError) as caught:
        list(messages.feed(wire))
    assert caught.value.kind == code


@pytest.mark.parametrize(
    "raw",
    [
        b"\x00\x07\x00\x00",  # no name
        b"\x01a",  # no type
        b"\x01a\x0a",  # a type unknown
        b"\x01a\xff",
        b"\x05a",  # a name that is cut
        b"\x01a\x04\x00\x00",  # a number that is cut
        b"\x01a\x07\x00\x05ab",  # text that is cut
        b"\x01a\x07\x00",
        b"\x01a\x09\x00",  # a UUID that is cut
        b"\x01a\x07\x00\x01\xff",  # not UTF-8
        b"\x01\xff\x00",
        b"\x01a\x00\x01a\x00",  # twice
    ],
)
def test_headers_that_make_no_sense_are_an_error_of_the_host(raw):
    with pytest.raises(UpstreamError) as caught:
        read_headers(raw)
    assert caught.value.kind == "upstream_bad_event"


@given(st.binary(max_size=200))
def test_any_bytes_as_headers_are_read_or_refused(raw):
    try:
        headers = read_headers(raw)
    except UpstreamError:
        return
    assert read_headers(write_headers(headers)) == headers


@pytest.mark.parametrize(
    "headers",
    [{"": 1}, {"a" * 256: 1}, {"a": "x" * (1 << 15)}, {"a": Byte(128)}, {"a": Short(1 << 15)}, {"a": 1 << 63}],
)
def test_what_the_format_cannot_hold_is_not_written(headers):
    with pytest.raises(ValueError, match=r"\d"):
        write_headers(headers)


def test_a_number_takes_the_bits_that_it_needs():
    assert read_headers(write_headers({"a": 1 << 31})) == {"a": Long(1 << 31)}


def test_a_long_message_in_small_pieces_is_put_together_once():
    wire = written([({"a": "b"}, bytes(1 << 20))])
    messages = Messages()
    got = [m for i in range(0, len(wire), 64) for m in messages.feed(wire[i : i + 64])]
    assert [len(payload) for _, payload in got] == [1 << 20]


def test_header_blocks_of_a_host_that_never_repeats_them_are_not_all_kept():
    messages = Messages()
    for n in range(1000):
        assert list(messages.feed(message(write_headers({"n": n}), b""))) == [({"n": n}, b"")]
    assert len(messages._known) <= 64
