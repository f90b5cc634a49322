"""What rules see in a question and a draft, what a judge model's words mean, and what a cascade's models cost."""

from __future__ import annotations

import pytest

from routing.played import question
from tidewire.routing import judge
from tidewire.routing.cascade_plan import CascadePlan, Member, priced
from tidewire.routing.judge import Rules, by_rule, put, read
from tidewire.routing.table import Candidate, Plan

JSON = {"response_format": {"type": "json_object"}}


@pytest.mark.parametrize(
    ("asked", "draft", "more", "certain"),
    [
        ("What is Rome?", "I'm not sure, but it is a city.", {}, True),
        ("What is Rome?", "I don\u2019t really know.", {}, True),
        ("What is Rome?", "I might be mistaken: a city.", {}, True),
        ("What is Rome?", "I'm sorry, but I can't help with that.", {}, True),
        ("What is Rome?", "Unfortunately, I am unable to say.", {}, True),
        ("Think hard: what is Rome?", "A city.", {}, True),
        ("Explain it step by step.", "A city.", {}, True),
        ("Rome as JSON", "A city.", JSON, True),
        ("What does ```x = f(1)``` do?", "Little.", {}, False),
        ("What is 17 * 23?", "391", {}, False),
        ("Prove that there are many primes.", "There are.", {}, False),
        ("x" * 2000, "Yes.", {}, False),
    ],
)
def test_signs_that_call_for_a_better_answer(asked, draft, more, certain):
    verdict = by_rule(Rules(), question(asked, **more), draft)
    assert (verdict.refine, verdict.certain) == (True, certain)


@pytest.mark.parametrize(
    ("asked", "draft", "more"),
    [
        ("What is Rome?", "A city. He said: I cannot stay.", {}),
        ("What is Rome?", "A city, to be sure.", {}),
        ("Rome as JSON", '{"rome": "a city"}', JSON),
        ("Who leads the class of 1999?", "Nobody knows.", {}),
    ],
)
def test_and_what_is_none(asked, draft, more):
    assert not by_rule(Rules(), question(asked, **more), draft).refine


def test_each_rule_can_be_left_out_and_phrases_added():
    off = Rules(asked=False, unsure=False, refused=False, json=False, hard=False, long_question=0)
    for asked, draft in (("Think hard.", "I'm not sure."), ("1 + 1", "I cannot"), ("x" * 9999, "")):
        assert not by_rule(off, question(asked, **JSON), draft).refine
    german = Rules(phrases=["ich bin nicht sicher"])
    assert by_rule(german, question("Was?"), "Ich bin nicht sicher.").certain
    assert by_rule(Rules(short_draft=10), question("What?"), "Rome.").refine


def test_long_and_hostile_texts_are_looked_at_in_bounds():
    for text in ("class " * 200_000, "$" * 1_000_000, "-" * 1_000_000, "1 " * 500_000, "I'm not " * 100_000):
        by_rule(Rules(), question(text), text[:131_072])
        assert len(put(question(text), text, whole=True).question) < 2 * judge.SHOWN + 200


@pytest.mark.parametrize(
    ("reply", "meant"),
    [
        ("KEEP", False),
        ("refine.", True),
        ("My word: **REFINE**", True),
        ('{"refine": false}', False),
        ('```json\n{"refine": true}\n```', True),
        ("keep or refine?", None),
        ("keeper", None),
        ('{"refine": "yes"}', True),
        ("", None),
        ("[" * 5000, None),
        ("\ud83d", None),
    ],
)
def test_a_reply_of_the_judge_is_a_word_or_no_verdict(reply, meant):
    assert read(reply) is meant


def test_prices_that_a_cascade_leaves_out_are_those_of_routes():
    routes = {
        "quick": Plan(candidates=[Candidate(model="a", price_in=1, price_out=2), Candidate(model="b", price_out=3)]),
    }
    given = CascadePlan(draft=Member(model="quick"), refine=Member(model="b"), judge=Member(model="c", price_in=9))
    plan = priced(given, routes)
    assert [(m.price_in, m.price_out) for m in (plan.draft, plan.refine, plan.judge)] == [(1, 3), (0, 3), (9, 0)]
