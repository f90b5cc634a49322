"""`application/vnd.amazon.eventstream`, both ways: messages of typed headers and a payload, with two checksums.

A message: total length, length of the headers, CRC-32 of these two; headers; payload; CRC-32 of all before it. Big-endian.
Source: the Smithy specification, "Amazon event stream". What a message means is its reader's business.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from struct import Struct, error
from typing import Final
from uuid import UUID
from zlib import crc32

from tidewire.core.errors import UpstreamError

MEDIA_TYPE: Final = "application/vnd.amazon.eventstream"
LIMIT: Final = 8 * 1024 * 1024  # bytes of one message, as of one Server-Sent Event
HEADERS: Final = 128 * 1024  # bytes of one message's headers, after the specification

_LENGTHS: Final = Struct(">II")
_PRELUDE: Final = Struct(">III")
_CRC: Final = Struct(">I")
_INTEGERS: Final = {2: Struct(">b"), 3: Struct(">h"), 4: Struct(">i"), 5: Struct(">q"), 8: Struct(">q")}
_SIZE: Final = Struct(">H")
_AROUND: Final = _PRELUDE.size + _CRC.size
_KEPT: Final = 64  # header blocks that are remembered; a stream has one for each type of event


class Byte(int):
    """A header of 8 bits."""


class Short(int):
    """A header of 16 bits."""


class Long(int):
    """A header of 64 bits; a plain int is written with 32 where they suffice."""


class Timestamp(int):
    """Milliseconds since 1970."""


Value = bool | int | bytes | str | UUID
Headers = Mapping[str, Value]

_MEANINGS: Final[dict[int, type[int]]] = {2: Byte, 3: Short, 4: int, 5: Long, 8: Timestamp}
_TYPES: Final[dict[type[int], int]] = {cls: number for number, cls in _MEANINGS.items()}


class Messages:
    """Reads a byte stream as messages, however it is cut. What one message holds back is at most `limit` bytes."""

    __slots__ = ("_known", "_limit", "_needed", "_rest")

    def __init__(self, limit: int = LIMIT) -> None:
        self._limit = limit
        self._rest = bytearray()
        self._needed = 0  # bytes, until there is anything to read
        self._known: dict[bytes, Headers] = {}

    def feed(self, data: bytes) -> Iterator[tuple[Headers, bytes]]:
        """Headers and payload of each message that these bytes complete. Raises UpstreamError behind the last good one."""
        rest = self._rest
        if rest:
            rest += data
            if len(rest) < self._needed:
                return
            data = bytes(rest)
            rest.clear()
        at, end = 0, len(data)
        while end - at >= _AROUND:
            total, size, check = _PRELUDE.unpack_from(data, at)
            if crc32(data[at : at + 8]) != check:
                raise _bad("the checksum of a message's lengths is wrong")
            if total > self._limit:
                raise UpstreamError(
                    f"the host announced a message of {total} bytes; {self._limit} is the most",
                    code="upstream_event_too_large",
                )
            if size > HEADERS or size + _AROUND > total:
                raise _bad(f"a message of {total} bytes claims {size} bytes of headers")
            stop = at + total - 4
            if stop + 4 > end:
                self._needed = total
                break
            if crc32(data[at:stop]) != _CRC.unpack_from(data, stop)[0]:
                raise _bad("the checksum of a message is wrong")
            head = data[at + 12 : at + 12 + size]
            headers = self._known.get(head)
            if headers is None:
                headers = self._headers(head)
            yield headers, data[at + 12 + size : stop]
            at = stop + 4
        else:
            self._needed = _AROUND
        rest += data[at:]

    @property
    def waiting(self) -> bool:
        """Whether a message has begun and not ended."""
        return bool(self._rest)

    def _headers(self, head: bytes) -> Headers:
        headers = read_headers(head)
        if len(self._known) >= _KEPT:
            self._known.clear()
        if len(head) <= 1024:
            self._known[head] = headers
        return headers


def read_headers(raw: bytes) -> dict[str, Value]:
    """Raises UpstreamError for headers that are cut, twice there, or of a type unknown."""
    out: dict[str, Value] = {}
    at = 0
    try:
        while at < len(raw):
            named = at + 1 + raw[at]
            name, kind = raw[at + 1 : named].decode(), raw[named]
            if not name or name in out:
                raise _bad(f"the header {name[:40]!r} is empty or twice there")
            at = named + 1
            if kind in _INTEGERS:
                number = _INTEGERS[kind]
                out[name] = _MEANINGS[kind](number.unpack_from(raw, at)[0])
                at += number.size
            elif kind <= 1:
                out[name] = kind == 0
            elif kind in (6, 7):
                begin = at + 2
                at = begin + _SIZE.unpack_from(raw, at)[0]
                out[name] = raw[begin:at] if kind == 6 else raw[begin:at].decode()
            elif kind == 9:
                out[name] = UUID(bytes=raw[at : at + 16])
                at += 16
            else:
                raise _bad(f"the header {name[:40]!r} has the unknown type {kind}")
    except (error, IndexError, ValueError):
        raise _bad("a message's headers are cut short or not UTF-8") from None
    if at > len(raw):
        raise _bad("a message's headers are cut short")
    return out


def write_headers(headers: Headers) -> bytes:
    """Raises ValueError for a name or value that the format cannot hold."""
    return b"".join(_header(name.encode(), value) for name, value in headers.items())


def _header(name: bytes, value: Value) -> bytes:
    if not 0 < len(name) < 256:
        raise ValueError(f"a header's name has {len(name)} bytes; it may have 1 to 255")
    head = bytes((len(name),)) + name
    if isinstance(value, bool):
        return head + (b"\x00" if value else b"\x01")
    if isinstance(value, int):
        kind = _TYPES.get(type(value), 4)
        if kind == 4 and not -(1 << 31) <= value < 1 << 31:
            kind = 5
        try:
            return head + bytes((kind,)) + _INTEGERS[kind].pack(value)
        except error:
            raise ValueError(f"{value} does not fit into a header of {8 * _INTEGERS[kind].size} bits") from None
    if isinstance(value, UUID):
        return head + b"\x09" + value.bytes
    kind, data = (7, value.encode()) if isinstance(value, str) else (6, value)
    if len(data) >= 1 << 15:  # the length has 16 bits, of which the specification allows 15
        raise ValueError(f"a header's value has {len(data)} bytes; it may have {(1 << 15) - 1}")
    return head + bytes((kind,)) + _SIZE.pack(len(data)) + data


def message(head: bytes, payload: bytes) -> bytes:
    """One message for the wire. head: what `write_headers` gave, which is the same for all events of a type."""
    lengths = _LENGTHS.pack(len(head) + len(payload) + _AROUND, len(head))
    whole = b"%b%b%b%b" % (lengths, _CRC.pack(crc32(lengths)), head, payload)
    return whole + _CRC.pack(crc32(whole))


def _bad(what: str) -> UpstreamError:
    return UpstreamError(f"the host's event stream is broken: {what}", code="upstream_bad_event")
