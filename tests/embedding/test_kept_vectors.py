from __future__ import annotations

import asyncio

from tidewire.embedding.kept import Kept
from tidewire.telemetry.encoders import EncoderMetrics


class Counting:
    name = "e"
    dimensions = 1

    def __init__(self):
        self.asked = []

    async def encode(self, texts, *, query=False, deadline=None):
        self.asked.append((list(texts), query))
        return [f"{self.name}:{text}".encode() for text in texts]

    async def close(self): ...


def test_a_question_asked_again_is_not_encoded_again():
    async def work():
        inner, meter = Counting(), EncoderMetrics()
        kept = Kept(inner, 10, meter)
        await kept.encode(["a", "b"], query=True)
        assert await kept.encode(["b", "c", "b"], query=True) == [b"e:b", b"e:c", b"e:b"]
        assert inner.asked == [(["a", "b"], True), (["c"], True)]
        assert meter.asked == {"hit": 1, "miss": 3}

    asyncio.run(work())


def test_only_the_last_questions_are_kept():
    async def work():
        inner = Counting()
        kept = Kept(inner, 2, EncoderMetrics())
        for text in ("a", "b", "a", "c", "a", "b"):
            await kept.encode([text], query=True)
        assert [texts for texts, _ in inner.asked] == [["a"], ["b"], ["c"], ["b"]]

    asyncio.run(work())


def test_documents_pass_and_another_encoder_finds_nothing_kept():
    async def work():
        inner = Counting()
        kept = Kept(inner, 2, EncoderMetrics())
        await kept.encode(["a"])
        await kept.encode(["a"], query=True)
        inner.name = "f"
        assert await kept.encode(["a"], query=True) == [b"f:a"]
        assert [query for _, query in inner.asked] == [False, True, True]

    asyncio.run(work())


def test_no_question_is_held_and_half_a_character_is_one_too():
    async def work():
        inner = Counting()
        kept = Kept(inner, 2, EncoderMetrics())
        for _ in range(2):
            await kept.encode(["who is ill?"], query=True)
        assert "ill" not in repr(kept._vectors.keys())
        inner.encode = lambda texts, **_: asyncio.sleep(0, [b"v" for _ in texts])
        assert await kept.encode(["half \ud83d"], query=True) == [b"v"]

    asyncio.run(work())
