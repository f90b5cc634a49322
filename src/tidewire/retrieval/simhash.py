"""SimHash: 64 bits of a text, of which near-duplicates share most. Over shingles of four words, in plain Python.

Each bit is what most shingles say. The votes are counted for all 64 bits at once, in binary: `planes[n]` holds bit n of every
count, and adding a shingle is an addition with carry.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from functools import lru_cache
from typing import Final

SHINGLE: Final = 4
_MASK: Final = (1 << 64) - 1
_ODD: Final = 0x9E3779B97F4A7C15  # spreads a word's bits anew for each place in the shingle
_SECOND: Final = _ODD * _ODD & _MASK
_THIRD: Final = _ODD * _SECOND & _MASK


def simhash(words: Sequence[str]) -> int:
    """words: folded, in order. 0 for none; fewer than four are one shingle."""
    if not words:
        return 0
    hashes = [_hash(word) for word in words]
    hashes = [0] * (SHINGLE - len(hashes)) + hashes
    planes: list[int] = []
    for first, second, third, fourth in zip(hashes, hashes[1:], hashes[2:], hashes[3:], strict=False):
        carry = (first * _THIRD + second * _SECOND + third * _ODD + fourth) & _MASK
        for at, plane in enumerate(planes):
            planes[at] = plane ^ carry
            carry &= plane
            if not carry:
                break
        if carry:
            planes.append(carry)
    return _above(planes, (len(hashes) - SHINGLE + 1) // 2)


def _above(planes: Sequence[int], half: int) -> int:
    """The bits whose count is more than half."""
    more, equal = 0, _MASK
    for at in range(len(planes) - 1, -1, -1):
        if half >> at & 1:
            equal &= planes[at]
        else:
            more |= equal & planes[at]
            equal &= ~planes[at]
    return more if half >> len(planes) == 0 else 0


@lru_cache(maxsize=65536)
def _hash(word: str) -> int:
    return int.from_bytes(hashlib.blake2b(word.encode("utf-8", "surrogatepass"), digest_size=8).digest())


def distance(one: int, other: int) -> int:
    """Bits that differ, of 64."""
    return (one ^ other).bit_count()
