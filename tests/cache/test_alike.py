"""The semantic tier: who may share an answer although the questions differ."""

from __future__ import annotations

import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st
from test_kept_answers import World

from tidewire.cache.alike import MOST, Alike
from tidewire.cache.meaning import shape, words
from tidewire.core.errors import TimedOut
from tidewire.core.request import Image
from workshop import in_virtual_time, question


class Encoder:
    """Two questions are as near as `cosine` says. asked: how many texts were encoded."""

    name, dimensions = "fake", 2

    def __init__(self, cosine=1.0, error=None):
        self.cosine, self.error, self.asked = cosine, error, 0

    async def encode(self, texts, *, query=False, deadline=None):
        self.asked += len(texts)
        if self.error:
            raise self.error
        across = (1 - self.cosine**2) ** 0.5
        return [struct.pack("<2f", 1, 0), *(struct.pack("<2f", self.cosine, across) for _ in texts[1:])]

    async def close(self): ...


def world(encoder, similarity=0.9):
    made = World()
    made.cache._alike = Alike(encoder, similarity)
    return made


@in_virtual_time
async def test_the_same_words_share_an_answer_and_other_words_do_not():
    one = world(encoder := Encoder())
    await one.ask("What is the capital of France?")
    cup = await one.ask("Hi, what's capital of France")
    assert (one.asked, cup.usages[0].reused) == (1, "cache")
    assert one.meter.hits[0][0] == "semantic"
    before = encoder.asked
    await one.ask("What is the capital of Spain?")
    assert one.asked == 2
    assert encoder.asked == before, "no vector is made where no question has the same words"


@in_virtual_time
async def test_vectors_that_are_too_far_apart_keep_answers_apart():
    for cosine, asked in ((0.91, 1), (0.89, 2)):
        one = world(Encoder(cosine))
        await one.ask("What is the capital of France?")
        await one.ask("what is the capital of France")
        assert one.asked == asked


@in_virtual_time
async def test_an_encoder_that_fails_costs_hits_only():
    one = world(Encoder(error=TimedOut("late")))
    await one.ask("What is it?")
    assert (await one.ask("what is it?")).text == "a river runs"
    assert one.asked == 2


@in_virtual_time
async def test_everything_else_has_to_be_equal():
    one = world(Encoder())
    await one.ask("What is it?")
    for more in ({"tenant": "other"}, {"model": "n"}, {"stop": ["x"]}, {"tools": []} | {"max_tokens": 5}):
        await one.ask("what is it", **more)
    assert one.asked == 5
    one.version = "2"
    await one.ask("what is it")
    assert one.asked == 6


@in_virtual_time
async def test_what_a_tenant_forgets_is_forgotten_here_too():
    one = world(Encoder())
    await one.ask("What is it?")
    assert await one.cache.clear("default") == 1
    assert len(one.cache._alike._asked) == 0
    await one.ask("what is it")
    assert one.asked == 2


@in_virtual_time
async def test_a_question_with_more_than_text_is_taken_for_no_other():
    alike = Alike(Encoder(), 0.9)
    seen = question("what is it")
    seen.messages[-1].content.append(Image(url="https://x.example/a.png"))
    alike.remember(seen, b"rest", b"key")
    assert await alike.find(seen, b"rest") is None
    for n in range(MOST + 5):
        alike.remember(question(f"what is {n}"), b"rest", b"key")
    assert len(alike._asked) == MOST


@pytest.mark.parametrize(
    ("said", "meant"),
    [
        ("What's the fee, please?", ["what", "is", "fee"]),
        ("Hello! Could you tell me who can't join?", ["who", "can", "not", "join"]),
        ("Is vitamin A good?", ["is", "vitamin", "A", "good"]),
        ("Is it 3.50 or -3?", ["is", "it", "3.50", "or", "-", "3"]),
        ("US law. Why?", ["US", "law", "why"]),
        ("thank you", ["thank", "you"]),
    ],
)
def test_which_words_count(said, meant):
    assert words(said) == meant


def test_a_long_text_and_a_word_alone_share_with_none():
    assert shape("why " * 200) is None
    assert shape("one line\nand another") is None
    assert shape("Hello") is None
    assert shape("") is None


@given(st.text(max_size=60), st.integers(0, 999), st.integers(0, 999))
def test_another_number_is_another_question(text, one, other):
    if one != other:
        said = f"{text} for {one} days"
        assert shape(said) is None or shape(said) != shape(f"{text} for {other} days")


@given(
    st.lists(
        st.sampled_from(["not", "Ann", "Bob", "pays", "today", "only", "owes", "5", "never"]), min_size=2, max_size=6
    )
)
def test_a_word_more_or_less_is_another_question(said):
    whole = shape(" ".join(said))
    for n in range(len(said)):
        rest = shape(" ".join(said[:n] + said[n + 1 :]))
        assert rest is None or rest != whole
