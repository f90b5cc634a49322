"""Questions that were answered, found again in other words: the semantic tier of the cache.

Two things have to hold: `meaning.shape` is the same, and the vectors are as near as the settings ask. The first is a look into a
table, so that a vector is made only where there is a question to compare with.
"""

from __future__ import annotations

import asyncio
from array import array
from collections import OrderedDict
from typing import Final

import msgspec

from tidewire.cache.meaning import shape
from tidewire.core.errors import TidewireError
from tidewire.core.ports import Encoder
from tidewire.core.request import Request, Text

MOST: Final = 10_000  # questions that are remembered
EACH: Final = 4  # of one shape: they differ in cases and stops only
PATIENCE: Final = 0.25  # seconds for a vector; later than that, the model is asked

Place = tuple[str, bytes, bytes]  # tenant, the key without the question, shape


class Asked(msgspec.Struct, frozen=True):
    """A question that was answered, and the key of its answer."""

    text: str
    key: bytes


def asked(request: Request) -> str:
    """The text of a question that may be taken for another one; "" where more than text was asked, or not by a user."""
    last = request.messages[-1] if request.messages else None
    if last is None or last.role != "user" or len(last.content) != 1 or not isinstance(last.content[0], Text):
        return ""
    return last.content[0].text


class Alike:
    """similarity: the least cosine of two questions. rest, below: the key of a request but for its question."""

    def __init__(self, encoder: Encoder, similarity: float) -> None:
        self._encoder = encoder
        self._similarity = similarity
        self._asked: OrderedDict[Place, list[Asked]] = OrderedDict()

    async def find(self, request: Request, rest: bytes) -> bytes | None:
        """The key of an answer that will do. Never raises for an encoder that fails: then none will."""
        place = _place(request, rest)
        if place is None or place not in self._asked:
            return None
        known = self._asked[place]
        text = asked(request)
        deadline = asyncio.get_running_loop().time() + PATIENCE
        try:
            mine, *others = await self._encoder.encode([text, *(a.text for a in known)], query=True, deadline=deadline)
        except TidewireError:
            return None
        near, best = max(
            ((cosine(mine, other), one) for other, one in zip(others, known, strict=True)), key=lambda p: p[0]
        )
        return best.key if near >= self._similarity else None

    def remember(self, request: Request, rest: bytes, key: bytes) -> None:
        place = _place(request, rest)
        if place is None:
            return
        text = asked(request)
        others = [a for a in self._asked.pop(place, []) if a.text != text]
        self._asked[place] = [*others, Asked(text, key)][-EACH:]
        while len(self._asked) > MOST:
            self._asked.popitem(last=False)

    def forget(self, tenant: str) -> None:
        for place in [p for p in self._asked if p[0] == tenant]:
            del self._asked[place]


def _place(request: Request, rest: bytes) -> Place | None:
    form = shape(asked(request))
    return None if form is None else (request.tenant, rest, form)


def cosine(one: bytes, other: bytes) -> float:
    """Of two unit vectors, little-endian float32."""
    a, b = array("f", one), array("f", other)
    return sum(x * y for x, y in zip(a, b, strict=True))
