"""Tokens counted by a model's own tokenizer, where its file is named."""

from __future__ import annotations

import asyncio

import pytest

from tidewire.context.step import Budget, Context
from tidewire.context.tokenizer import REMEMBERED, Tokenizer, Tokenizers
from tidewire.core.errors import SettingsError
from tidewire.core.request import Message, Text
from tidewire.core.tokens import MESSAGE, of_message, of_text
from tidewire.server.context import context_steps
from tidewire.server.settings import Context as Table
from tidewire.server.settings import Settings
from workshop import question

rust = pytest.importorskip("tokenizers")


@pytest.fixture
def file(tmp_path):
    """A tokenizer of whole words: every word is a token, which no estimate knows."""
    made = rust.Tokenizer(rust.models.WordLevel({"[UNK]": 0, "hello": 1}, unk_token="[UNK]"))
    made.pre_tokenizer = rust.pre_tokenizers.WhitespaceSplit()
    made.enable_truncation(5)
    made.save(str(tmp_path / "tokenizer.json"))
    return tmp_path / "tokenizer.json"


def test_words_are_counted_exactly_truncation_or_not_and_half_a_character_is_no_error(file):
    tokenizer = Tokenizer(file)
    text = "incomprehensibilities " * 100
    assert tokenizer.of_text(text) == tokenizer.of_text(text) == 100
    assert of_text(text) > 300
    assert tokenizer.of_text("hello \ud800 there") == 3
    assert of_message(Message(role="user", content=[Text(text)]), tokenizer.of_text) == 100 + MESSAGE


def test_counts_are_remembered_up_to_a_bound(file):
    tokenizer = Tokenizer(file)
    for n in range(REMEMBERED + 10):
        tokenizer.of_text(f"{n} " + "x" * 100)
    assert len(tokenizer._counts) == REMEMBERED


def test_a_conversation_is_cut_by_the_count_of_its_model(file):
    asked = question("x")
    asked.messages = [
        Message(role=role, content=[Text("extraordinarily " * 50)]) for _ in range(6) for role in ("user", "assistant")
    ]
    asked.messages.append(question("and?").messages[0])

    class Cup(list):
        feed = list.extend

    def left(model):
        asked.model = model
        step = Context(Budget(tokens=800, answer=100, recent=1), {}, tokenizers=Tokenizers({"own*": Tokenizer(file)}))
        return len(asyncio.run(step.prepare(asked, Cup())).messages)

    assert left("own-7b") == 13  # 12 times 54, and 5
    assert left("another") < 7


def test_a_tokenizer_that_cannot_be_read_is_said_at_start(tmp_path, file):
    def made(path):
        return context_steps(Settings(context=Table(tokens=5000, tokenizers={"m": str(path)})))

    assert len(made(file)) == 1
    (tmp_path / "broken.json").write_text("{")
    for wrong in (tmp_path / "broken.json", tmp_path / "nowhere.json"):
        with pytest.raises(SettingsError, match=r"context\.tokenizers\.m is .*no tokenizer\.json"):
            made(wrong)
        with pytest.raises(SettingsError, match=r"context\.tokenizers\.m is "):  # where nothing is bounded yet, too
            context_steps(Settings(context=Table(tokenizers={"m": str(wrong)})))
