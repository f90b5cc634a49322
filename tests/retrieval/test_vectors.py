"""Chunks get their vectors in the background, in virtual time."""

from __future__ import annotations

import asyncio
import math
import random
import struct

import async_solipsism
import pytest

from tidewire.core.errors import UpstreamError
from tidewire.retrieval.vectors import Vectors, quantised
from tidewire.telemetry.encoders import EncoderMetrics


class Shop:
    """What of a `Store` is used here, in memory. Later chunks are of newer documents."""

    def __init__(self):
        self.texts: dict[int, str] = {}
        self.vectors: dict[str, dict[int, object]] = {}
        self.notes: dict[str, str] = {}
        self.order: list[int] = []
        self.wakes: list = []
        self.encoder = "new"

    def put(self, *texts):
        for text in texts:
            self.texts[len(self.texts) + 1] = text
        for wake in self.wakes:
            wake()

    def listen(self, wake):
        self.wakes.append(wake)
        return lambda: self.wakes.remove(wake)

    async def pending(self, encoder, limit):
        have = self.vectors.get(encoder, {})
        lacking = [(n, text) for n, text in sorted(self.texts.items(), reverse=True) if n not in have]
        return lacking[:limit]

    async def add_vectors(self, encoder, vectors):
        for chunk, vector in vectors:
            if chunk in self.texts:
                self.vectors.setdefault(encoder, {})[chunk] = vector
                self.order.append(chunk)

    async def forget_encoder(self, encoder):
        return len(self.vectors.pop(encoder, {}))

    async def namespaces(self):
        return ["a"]

    async def count(self, namespace):
        return 1, len(self.texts), len(await self.pending(self.encoder, 10**9))

    async def note(self, name):
        return self.notes.get(name)

    async def set_note(self, name, value, *, expires=None):
        self.notes[name] = value


class Scales:
    """An encoder that takes 10 ms a text."""

    dimensions = 2

    def __init__(self, name="new"):
        self.name = name
        self.failing = lambda texts: None
        self.calls = []

    async def encode(self, texts, *, query=False, deadline=None):
        assert not query
        assert deadline is None
        self.calls.append((asyncio.get_running_loop().time(), list(texts)))
        await asyncio.sleep(0.01 * len(texts))
        if (error := self.failing(texts)) is not None:
            raise error
        return [struct.pack("<2f", 0.6, 0.8) for _ in texts]


def virtually(work):
    with asyncio.Runner(loop_factory=async_solipsism.EventLoop) as runner:
        return runner.run(work())


async def at_work(shop, encoder, batch=4):
    meter = EncoderMetrics()
    queue = Vectors(shop, encoder, meter, batch=batch)
    queue.start()
    return queue, meter


def test_every_chunk_gets_its_vector_the_newest_first_also_those_that_come_meanwhile():
    async def work():
        shop, encoder = Shop(), Scales()
        shop.put(*"abcdefghij")
        queue, meter = await at_work(shop, encoder)
        await asyncio.sleep(0.05)
        shop.put("k")
        await asyncio.sleep(0.01)
        assert meter.waiting == 10
        await asyncio.sleep(5)
        assert shop.order[:4] == [10, 9, 8, 7]
        assert shop.order.index(11) <= 8  # behind the batch that ran
        assert sorted(shop.order) == list(range(1, 12))
        assert meter.waiting == 0
        shop.put("late")
        await asyncio.sleep(1)
        assert shop.order[-1] == 12
        await queue.close()
        assert shop.wakes == []

    virtually(work)


def test_an_outage_is_waited_out_ever_longer_and_nothing_is_lost():
    async def work():
        shop, encoder = Shop(), Scales()
        encoder.failing = lambda texts: UpstreamError("down") if asyncio.get_running_loop().time() < 200 else None
        shop.put(*"abc")
        queue, meter = await at_work(shop, encoder)
        await asyncio.sleep(199)
        assert meter.waiting == 3
        assert len(encoder.calls) < 12
        gaps = [round(b - a, 3) for (a, _), (b, _) in zip(encoder.calls, encoder.calls[1:], strict=False)]
        assert gaps == sorted(gaps)
        await asyncio.sleep(100)
        assert sorted(shop.order) == [1, 2, 3]
        await queue.close()

    virtually(work)


def test_a_text_that_the_encoder_refuses_keeps_no_other_from_its_vector():
    def refusal(texts):
        if "bad" not in texts:
            return None
        error = UpstreamError("no", code="upstream_refused")
        error.status = 400
        return error

    async def work():
        shop, encoder = Shop(), Scales()
        encoder.failing = refusal
        shop.put("a", "bad", "c", "d", "e", "f", "g")
        queue, _ = await at_work(shop, encoder)
        await asyncio.sleep(5)
        assert sorted(shop.order) == [1, 3, 4, 5, 6, 7]
        asked = len(encoder.calls)
        await asyncio.sleep(500)
        assert len(encoder.calls) == asked
        await queue.close()

    virtually(work)


def test_another_encoder_begins_anew_and_the_old_vectors_stay_until_it_has_come_through():
    async def work():
        shop = Shop()
        shop.put(*"abcdefgh")
        shop.encoder = "old"
        queue, _ = await at_work(shop, Scales("old"))
        await asyncio.sleep(1)
        await queue.close()
        shop.encoder = "new"
        queue, _ = await at_work(shop, Scales("new"))
        await asyncio.sleep(0.06)
        assert len(shop.vectors["old"]) == 8
        assert 0 < len(shop.vectors["new"]) < 8
        await queue.close()  # a restart in the middle
        queue, _ = await at_work(shop, Scales("new"))
        await asyncio.sleep(1)
        assert set(shop.vectors) == {"new"}
        assert len(shop.vectors["new"]) == 8
        await queue.close()

    virtually(work)


@pytest.mark.parametrize("size", [1, 2, 384, 1536])
def test_int8_keeps_the_direction_and_the_length(size):
    rng = random.Random(size)
    numbers = [rng.gauss(0, 1) for _ in range(size)]
    length = math.sqrt(sum(n * n for n in numbers))
    unit = [n / length for n in numbers]
    small = quantised(struct.pack(f"<{size}f", *unit))
    back = [n * small.scale for n in struct.unpack(f"{size}b", small.data)]
    assert max(abs(a - b) for a, b in zip(unit, back, strict=True)) <= small.scale / 2 + 1e-6
    assert sum(a * b for a, b in zip(unit, back, strict=True)) / math.sqrt(sum(b * b for b in back)) > 0.9999


def test_a_vector_without_a_direction_becomes_none_that_raises():
    assert quantised(struct.pack("<2f", 0.0, 0.0)).data == b"\0\0"
