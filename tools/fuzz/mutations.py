"""Answers of hosts, broken in the ways that networks, proxies, hosts and models break them. Everything comes out of the given random numbers."""

from __future__ import annotations

import re
import struct
import zlib
from collections.abc import Callable, Sequence
from random import Random
from typing import Final

LONGEST: Final = 6 * 1024  # bytes of an input; long ones find nothing that short ones do not, and take their time
_VALUE: Final = re.compile(rb'"(?:[^"\\\n]|\\.)*"|-?\d+(?:\.\d+)?|true|false|null|\{\}|\[\]')
_BREAK: Final = re.compile(rb"(?:\r?\n){1,2}")
VALUES: Final = (
    b"null", b"true", b"false", b"0", b"-1", b"1", b"2", b"7", b"1.5", b"1e999", b"-0", b"123456789012345678901234567890",
    b'""', b'"x"', b'"\\ud800"', b'"\\u0000"', b'"stop"', b'"length"', b'"error"', b'"tool_calls"', b'"text"', b'"thinking"',
    b"[]", b"{}", b"[[]]", b"[null]", b"[{}]", b'{"a":1}', b'{"text":"x"}', b'"data:,x"', b'"===="', b'"aGVsbG8="',
    b"[" * 300 + b"]" * 300, b'{"a":' * 300 + b"1" + b"}" * 300, b"[" * 3000, b'"' + b"y" * 2000 + b'"', b"NaN", b"",
)  # fmt: skip
JUNK: Final = (b"\x00", b"\xff", b"\xe2\x82", b"\n", b"\r", b"\r\n", b"\n\n", b"\xef\xbb\xbf", b":", b"data: [DONE]\n\n", b"event: error\n", b"data:\n\n", b"}", b'"', b"\\", b"<html>")  # fmt: skip

Mutation = Callable[[Random, bytes, Sequence[bytes]], bytes]


def mutated(rng: Random, corpus: Sequence[bytes]) -> bytes:
    """One input, made of one of the corpus by one to four mutations; now and then of an answer that stays whole."""
    wire = rng.choice(corpus)
    if is_messages(wire) and rng.random() < 0.7:
        return remade(rng, wire, corpus)[:LONGEST]
    for _ in range(rng.choice((0, 1, 1, 1, 2, 2, 3, 4))):
        wire = rng.choice(MUTATIONS)(rng, wire, corpus)[:LONGEST]
    return wire


def cuts(rng: Random, wire: bytes) -> list[bytes]:
    """The input as a network may bring it."""
    size = rng.choice((1, 2, 3, 7, 64, 0, 0) if len(wire) < 1500 else (7, 64, 0, 0))
    if size:
        return [wire[at : at + size] for at in range(0, len(wire), size)]
    places = sorted(rng.randrange(len(wire) + 1) for _ in range(rng.randrange(1, 6)))
    return [wire[a:b] for a, b in zip([0, *places], [*places, len(wire)], strict=True)]


def _span(rng: Random, wire: bytes, most: int = 400) -> tuple[int, int]:
    begin = rng.randrange(len(wire) + 1)
    return begin, min(len(wire), begin + rng.randrange(1, most))


def flip_bits(rng: Random, wire: bytes, corpus: Sequence[bytes]) -> bytes:
    data = bytearray(wire)
    for _ in range(rng.choice((1, 1, 2, 8)) if data else 0):
        data[rng.randrange(len(data))] ^= 1 << rng.randrange(8)
    return bytes(data)


def remove(rng: Random, wire: bytes, corpus: Sequence[bytes]) -> bytes:
    begin, end = _span(rng, wire)
    return wire[:begin] + wire[end:]


def repeat(rng: Random, wire: bytes, corpus: Sequence[bytes]) -> bytes:
    begin, end = _span(rng, wire)
    return wire[:end] + wire[begin:end] * rng.choice((1, 1, 2, 20)) + wire[end:]


def splice(rng: Random, wire: bytes, corpus: Sequence[bytes]) -> bytes:
    other = rng.choice(corpus)
    return wire[: rng.randrange(len(wire) + 1)] + other[rng.randrange(len(other) + 1) :]


def truncate(rng: Random, wire: bytes, corpus: Sequence[bytes]) -> bytes:
    return wire[: rng.randrange(len(wire) + 1)]


def insert(rng: Random, wire: bytes, corpus: Sequence[bytes]) -> bytes:
    at = rng.randrange(len(wire) + 1)
    junk = rng.choice(JUNK) if rng.random() < 0.7 else rng.randbytes(rng.randrange(1, 40))
    return wire[:at] + junk + wire[at:]


def swap_value(rng: Random, wire: bytes, corpus: Sequence[bytes]) -> bytes:
    """A value of the JSON that is in it becomes another one, of its own or of a list."""
    found = list(_VALUE.finditer(wire))
    if not found:
        return wire
    for _ in range(rng.choice((1, 1, 2, 5))):
        spot = rng.choice(found)
        new = rng.choice(found)[0] if rng.random() < 0.4 else rng.choice(VALUES)
        if wire[spot.start() : spot.end()] == spot[0]:  # what came before it has kept its length
            wire = wire[: spot.start()] + new + wire[spot.end() :]
    return wire


def shuffle_frames(rng: Random, wire: bytes, corpus: Sequence[bytes]) -> bytes:
    """Events are left out, repeated, or change places."""
    blank = b"\r\n\r\n" if b"\r\n\r\n" in wire else b"\n\n" if b"\n\n" in wire else b"\n"
    frames = wire.split(blank)
    for _ in range(rng.choice((1, 1, 2, 3))):
        a, b = rng.randrange(len(frames)), rng.randrange(len(frames))
        act = rng.randrange(3)
        if act == 0 and len(frames) > 1:
            frames.pop(a)
            a = b = 0
        elif act == 1:
            frames.insert(b, frames[a])
        else:
            frames[a], frames[b] = frames[b], frames[a]
    return blank.join(frames)


def change_breaks(rng: Random, wire: bytes, corpus: Sequence[bytes]) -> bytes:
    return wire.replace(b"\r\n", b"\n").replace(b"\n", rng.choice((b"\r\n", b"\r", b"\n\n", b"\n")))


MUTATIONS: Final[tuple[Mutation, ...]] = (
    flip_bits,
    remove,
    repeat,
    splice,
    truncate,
    insert,
    swap_value,
    swap_value,
    swap_value,
    shuffle_frames,
    shuffle_frames,
    change_breaks,
)


# application/vnd.amazon.eventstream: broken bytes fail its checksums and never reach what reads them, so messages are made again


def is_messages(wire: bytes) -> bool:
    return len(wire) >= 16 and struct.unpack(">I", wire[8:12])[0] == zlib.crc32(wire[:8])


def messages(wire: bytes) -> list[tuple[bytes, bytes]]:
    """(headers, payload) of each whole message."""
    out = []
    at = 0
    while at + 16 <= len(wire):
        total, headers = struct.unpack(">II", wire[at : at + 8])
        if total < 16 + headers or at + total > len(wire):
            break
        out.append((wire[at + 12 : at + 12 + headers], wire[at + 12 + headers : at + total - 4]))
        at += total
    return out


def message(headers: bytes, payload: bytes) -> bytes:
    prelude = struct.pack(">II", 16 + len(headers) + len(payload), len(headers))
    body = prelude + struct.pack(">I", zlib.crc32(prelude)) + headers + payload
    return body + struct.pack(">I", zlib.crc32(body))


def remade(rng: Random, wire: bytes, corpus: Sequence[bytes]) -> bytes:
    """Messages that are whole again, their payloads and headers broken, themselves left out, repeated, or in other places."""
    frames = messages(wire)
    others = [payload for _, payload in messages(rng.choice(corpus))] or [b"{}"]
    for _ in range(rng.choice((1, 1, 2, 3))):
        a, b = rng.randrange(len(frames)), rng.randrange(len(frames))
        headers, payload = frames[a]
        act = rng.randrange(6)
        if act == 0 and len(frames) > 1:
            frames.pop(a)
        elif act == 1:
            frames.insert(b, frames[a])
        elif act == 2:
            frames[a], frames[b] = frames[b], frames[a]
        elif act == 3:
            frames[a] = rng.choice((flip_bits, truncate, insert))(rng, headers, corpus), payload
        else:
            frames[a] = headers, rng.choice((swap_value, swap_value, flip_bits, truncate, insert))(rng, payload, others)
    return b"".join(message(*frame) for frame in frames)
