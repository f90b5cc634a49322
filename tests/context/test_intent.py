"""How long an answer a question asks for, and what that bounds."""

from __future__ import annotations

import asyncio

import pytest

from tidewire.context.intent import Shares, intent_of
from tidewire.context.step import Budget, Context
from tidewire.core.events import Notice
from tidewire.core.request import Message, Text, Thinking, Tool
from tidewire.server.intent_settings import Intents
from workshop import question

QUESTIONS = {
    "short": [
        "Hi",
        "Hello there!",
        "Thank you very much.",
        "Danke!",
        "Is Oslo in Norway?",
        "Can a cat swim?",
        "Merci beaucoup",
    ],
    "normal": [
        "",
        "What is a river?",
        "Is it better to swim or to run?",
        "Can you explain why the sky is blue?",
        "Does this work, and how?",
        "Wie heißt die Hauptstadt von Norwegen?",
        "Hello, my router is broken",
        "Could you tell me what a monad is?",
    ],
    "long": [
        "Write a poem about rain",
        "Can you write me a letter?",
        "List all rivers of Norway",
        "Is this right? ```x = 1```",
        "word " * 251,
        "I need a script that renames files",
    ],
}


@pytest.mark.parametrize(("asked", "intent"), [(q, intent) for intent, qs in QUESTIONS.items() for q in qs])
def test_the_words_of_a_question_say_how_long_an_answer_it_asks_for(asked, intent):
    assert intent_of(asked) == intent


def prepared(request, *, budget=Budget(), **shares):  # noqa: B008 - frozen
    class Cup(list):
        feed = list.extend

    cup = Cup()
    out = asyncio.run(Context(budget, {}, shares).prepare(request, cup))
    assert all(isinstance(e, Notice) for e in cup)
    return out, [e.code for e in cup]


def test_a_limit_is_given_where_the_client_has_none_and_said_so():
    short = Shares(answer=50)
    out, codes = prepared(question("Thanks!"), short=short)
    assert (out.max_tokens, codes) == (50, ["answer_limited"])
    for free in (
        question("Thanks!", max_tokens=900),
        question("Thanks!", tools=[Tool(name="t")]),
        question("Thanks!", response_format={"type": "json_object"}),
        question("Thanks!", thinking=Thinking()),
        question("Thanks!", intent="long"),
        question("What is a river?"),
    ):
        out, codes = prepared(free, short=short)
        assert (out, codes) == (free, [])
    assert prepared(question("What is a river?", intent="short"), short=short)[0].max_tokens == 50


def test_a_short_question_takes_its_latest_turns_along_and_no_more():
    asked = question("x")
    asked.messages = [
        Message(role=role, content=[Text("word " * 100)]) for _ in range(10) for role in ("user", "assistant")
    ]
    asked.messages.append(question("Thanks!").messages[0])
    out, codes = prepared(asked, budget=Budget(recent=1), short=Shares(context=300))
    assert (len(out.messages), codes) == (3, ["context_pruned"])
    out, codes = prepared(asked, budget=Budget(recent=4), short=Shares(context=1))
    assert (len(out.messages), codes) == (
        7,
        ["context_pruned"],
    )  # recent turns go whatever it says, which is no fault of the client's
    wide, _ = prepared(asked, budget=Budget(tokens=1400, answer=100), short=Shares(context=10**6))
    assert len(wide.messages) == len(prepared(asked, budget=Budget(tokens=1400, answer=100))[0].messages) < 21
    kept = Message(role="user", content=[Text("a passage")], kept=True)
    asked.messages.insert(0, kept)
    out, _ = prepared(asked, budget=Budget(recent=1), short=Shares(context=10))
    assert out.messages[0] is kept
    assert len(out.messages) == 2


def test_settings_that_bound_nothing_make_no_step():
    assert Intents().shares == {}
    assert Intents(short_answer=5).shares == {"short": Shares(answer=5)}
