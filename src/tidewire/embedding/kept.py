"""Vectors of questions that were asked before, kept in memory: the first tier of the caches."""

from __future__ import annotations

import hashlib
from collections import OrderedDict
from collections.abc import Sequence

from tidewire.core.meter import EncoderMeter
from tidewire.core.ports import Encoder


class Kept:
    """An `Encoder` around an encoder: of queries, the last `size` vectors are kept. Documents pass through.

    A vector says nothing of who asked: it is a function of the text and the encoder, and the keys are digests of just these, so that
    no question is kept and a long one takes no more memory than a short one.
    """

    def __init__(self, encoder: Encoder, size: int, meter: EncoderMeter) -> None:
        self._encoder = encoder
        self._size = size
        self._meter = meter
        self._vectors: OrderedDict[bytes, bytes] = OrderedDict()

    @property
    def name(self) -> str:
        return self._encoder.name

    @property
    def dimensions(self) -> int:
        return self._encoder.dimensions

    async def encode(
        self, texts: Sequence[str], *, query: bool = False, deadline: float | None = None
    ) -> Sequence[bytes]:
        if not query:
            return await self._encoder.encode(texts, deadline=deadline)
        keys = {text: self._key(text) for text in texts}
        found = {text: self._vectors[key] for text, key in keys.items() if key in self._vectors}
        lacking = [text for text in keys if text not in found]
        self._meter.kept(len(found), len(lacking))
        for text in found:
            self._vectors.move_to_end(keys[text])
        if lacking:
            made = await self._encoder.encode(lacking, query=True, deadline=deadline)
            for text, vector in zip(lacking, made, strict=True):
                found[text] = self._vectors[keys[text]] = vector
            while len(self._vectors) > self._size:
                self._vectors.popitem(last=False)
        return [found[text] for text in texts]

    def _key(self, text: str) -> bytes:
        return hashlib.blake2b(f"{self.name}\0{text}".encode("utf-8", "surrogatepass"), digest_size=16).digest()

    async def close(self) -> None:
        await self._encoder.close()
