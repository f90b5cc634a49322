"""Answers that break off and go on: a model that always says the same, cut anywhere, and the text is the uncut one."""

from __future__ import annotations

import asyncio
import json
import random
from collections import Counter

import pytest
from played import Cup, Tally, attempts, plan, question, refusal, route, virtually

from tidewire.core.errors import UpstreamError
from tidewire.core.events import Attempt, Delta, Finish, Notice, PartEnded, PartStarted, Usage
from tidewire.core.request import Text, Tool
from tidewire.routing.health import Healths
from tidewire.routing.hedge import Hedges
from tidewire.routing.overlap import Seam, anchor
from tidewire.routing.table import Candidate

WORDS = [
    *[
        "the",
        "tide",
        "läuft",
        "水",
        "into",
        "a",
        "harbour",
        "🌊",
        "wire",
        "and",
        "back",
        "again",
        "before",
        "anybody",
        "has",
        "counted",
        "its",
        "waves",
        "so",
        "it",
        "is",
    ]
]
ASKED = "last characters of it, letter for letter, and then go on without a break:\n"
HABITS = ("prefill", "obeys", "restarts", "repeats", "remarks", "fences")


def cut_error():
    return UpstreamError("the connection was reset", code="upstream_cut")


class Model:
    """Says `text` and asks for `calls`, whoever asks; told to go on, it does so in its habit. breaks: events of the first try."""

    def __init__(self, name, rng, text, calls, *, habit, breaks=None, thinks=False):
        self.name, self.rng, self.text, self.calls, self.habit = name, rng, text, calls, habit
        self.breaks, self.thinks = breaks, thinks
        self.asked = []

    def words(self, request):
        last = request.messages[-1]
        if last.role == "assistant":
            given = "".join(c.text for c in last.content if isinstance(c, Text))
            assert self.text.startswith(given)
            return self.text[len(given) :]
        if ASKED not in last.text:
            return self.text
        said = request.messages[-2].text
        asked = last.text.split(ASKED)[1].rsplit("\nWrite nothing", 1)[0]
        assert said.endswith(asked)
        rest = self.text[len(said) :]
        if self.habit == "restarts":
            return self.text
        if self.habit == "repeats":
            return said[-max(min(len(asked), 20), self.rng.randrange(len(asked) + 1)) :] + rest
        if self.habit == "remarks":
            return "Continuing from where it stopped:\n" + asked + rest
        if self.habit == "fences":
            return "```json\n" + asked + rest + "\n```"
        return asked + rest

    def told(self, request):
        """The whole answer as events."""
        out, part = [], 0
        if self.thinks:
            out += [PartStarted(part=0, kind="thinking"), Delta(part=0, text="hm"), PartEnded(part=0)]
            part = 1
        text = self.words(request)
        if text or not self.calls:
            out.append(PartStarted(part=part, kind="text"))
            while text:
                size = self.rng.randint(1, 9)
                out.append(Delta(part=part, text=text[:size]))
                text = text[size:]
            out.append(PartEnded(part=part))
            part += 1
        for n, (name, arguments) in enumerate(self.calls):
            out.append(PartStarted(part=part, kind="tool_call", name=name, call=f"{self.name}{len(self.asked)}{n}"))
            for at in range(0, len(arguments), 7):
                out.append(Delta(part=part, text=arguments[at : at + 7]))
            out.append(PartEnded(part=part))
            part += 1
        out += [Usage(counted_by="host", input=100, output=50), Finish(reason="tool_calls" if self.calls else "stop")]
        return out

    async def answer(self, request, sink):
        self.asked.append(request)
        sink.feed([Attempt(n=1, provider=self.name, model=request.model, reason="start")])
        events = self.told(request)
        stop = len(events)
        if self.breaks is not None:
            stop = 1 + self.breaks % (len(events) - 1)  # content has begun, and the end has not come
        for event in events[:stop]:
            sink.feed([event])
            await asyncio.sleep(0.01)
        if stop < len(events):
            raise cut_error()

    async def models(self):
        return []

    async def close(self): ...


def prose(rng):
    return " ".join(rng.choice(WORDS) + rng.choice(["", "", ",", ".\n\n"]) for _ in range(rng.randint(3, 120)))


def document(rng):
    rows = [{"n": n, "said": prose(rng)[:40], "ok": rng.random() < 0.5} for n in range(rng.randint(1, 6))]
    return json.dumps({"rows": rows}, ensure_ascii=False, indent=rng.choice([None, 2]))


def told_by(events):
    """Parts in order: kind and text; parts closed, numbers unique, one Finish and nothing behind it."""
    parts, open_, order = {}, set(), []
    for event in events:
        if isinstance(event, PartStarted):
            assert event.part not in parts
            parts[event.part] = [event.kind, event.name, ""]
            order.append(event.part)
            open_.add(event.part)
        elif isinstance(event, Delta):
            assert event.part in open_
            parts[event.part][2] += event.text
        elif isinstance(event, PartEnded):
            open_.remove(event.part)
    assert not open_
    assert [e for e in events if isinstance(e, Finish)] == events[-1:]
    return [tuple(parts[n]) for n in order if parts[n][0] != "thinking"]


async def uncut_and_cut(rng, habit, kind):
    text = {"text": prose, "json": document, "tools": prose}[kind](rng)
    calls = []
    if kind == "tools":
        text = rng.choice([text, ""])
        calls = [(f"t{n}", json.dumps({"q": prose(rng)[:50], "n": n})) for n in range(rng.randint(1, 3))]
    more = {"tools": [Tool(name=f"t{n}") for n in range(3)]} if calls else {}
    if kind == "json":
        more["response_format"] = {"type": "json_object"}
    asked, whole = question(**more), Cup()
    await Model("a", random.Random(1), text, calls, habit=habit).answer(asked, whole)
    first = Model("a", rng, text, calls, habit=habit, breaks=rng.randrange(10_000), thinks=rng.random() < 0.3)
    second = Model("b", rng, text, calls, habit=habit, thinks=rng.random() < 0.3)
    twice = rng.random() < 0.2
    third = [Model("c", rng, text, calls, habit=habit)] if twice else []
    if twice:
        second.breaks = rng.randrange(10_000)
    cup, tally = Cup(), Tally()
    given = [Candidate(model=m, prefill="assistant" if habit == "prefill" else "none") for m in "abc"[: 2 + twice]]
    over = route(plan(*given, continuations=2), [first, second, *third], tally=tally)
    await over.answer(asked, cup)
    assert told_by(cup.events) == told_by(whole.events)
    tried = attempts(cup)
    assert [n for n, _, _ in tried] == list(range(1, len(tried) + 1))
    assert [r for _, _, r in tried[1:]] == ["continuation"] * (len(tried) - 1)
    booked = [e for e in cup.events if isinstance(e, Usage)][-1]
    assert booked.counted_by == "server"
    assert booked.output >= 50
    assert booked.input > 100
    assert tally.continuations[-1][1] == "whole"
    return len(tried)


def test_a_thousand_cuts_lose_and_repeat_nothing():
    seen = Counter()
    for seed in range(1002):
        rng = random.Random(seed)
        habit = HABITS[seed % 6]
        kind = ("text", "json", "tools")[seed // 6 % 3] if habit != "fences" else "json"

        async def one(rng=rng, habit=habit, kind=kind):
            seen[await uncut_and_cut(rng, habit, kind)] += 1
            seen[habit] += 1
            seen[kind] += 1

        virtually(one())
    assert all(seen[habit] == 167 for habit in HABITS)
    assert min(seen["text"], seen["json"], seen["tools"]) > 200
    assert seen[3] > 50, "answers that were cut twice"


def test_a_route_without_the_setting_fails_as_before():
    async def run():
        model = Model("a", random.Random(1), "word " * 20, [], habit="obeys", breaks=9)
        other = Model("b", random.Random(1), "word " * 20, [], habit="obeys")
        error = await refusal(route(plan("a", "b"), [model, other]))
        assert (error.kind, other.asked) == ("upstream_cut", [])

    virtually(run())


@pytest.mark.parametrize("more", [{"n": 2}, {"logprobs": 3}])
def test_several_answers_and_log_probabilities_are_not_joined(more):
    async def run():
        model = Model("a", random.Random(1), "word " * 20, [], habit="obeys", breaks=9)
        error = await refusal(route(plan("a", continuations=2), [model]), question(**more))
        assert error.kind == "upstream_cut"
        assert len(model.asked) == 1

    virtually(run())


def test_a_model_that_begins_anew_with_other_words_is_let_go_of():
    async def run():
        said = " ".join(WORDS) * 3
        model = Model("a", random.Random(1), said, [], habit="obeys", breaks=35)
        other = Model("b", random.Random(1), said[:40] + "quite another end of it " * 80, [], habit="restarts")
        tally, cup = Tally(), Cup()
        error = await refusal(route(plan("a", "b", continuations=1), [model, other], tally=tally), cup=cup)
        assert error.kind == "upstream_cut"
        assert said.startswith(cup.text)
        assert tally.continuations == [("b", "unjoinable")]
        booked = [e for e in cup.events if isinstance(e, Usage)][-1]
        assert booked.output > len([e for e in cup.events if isinstance(e, Delta)]), "both tries are paid for"

    virtually(run())


def test_calls_that_the_client_has_are_kept_and_others_are_not_given_to_it():
    async def run():
        calls = [("t0", '{"q": 1}'), ("t1", '{"q": 2}')]
        model = Model("a", random.Random(1), "", calls, habit="obeys", breaks=4)  # in the second call
        other = Model("b", random.Random(1), "", [("t0", '{"q": 9}'), ("t1", '{"q": 2}')], habit="obeys")
        cup, tally = Cup(), Tally()
        await route(plan("a", "b", continuations=1), [model, other], tally=tally).answer(question(), cup)
        assert told_by(cup.events) == [("tool_call", "t0", '{"q": 1}')]
        assert cup.events[-1].reason == "tool_calls"
        assert [e.code for e in cup.events if isinstance(e, Notice)] == ["calls_cut"]
        assert tally.continuations == [("b", "unjoinable")]

    virtually(run())


def test_the_winner_of_a_hedge_may_be_cut_too():
    async def run():
        text = prose(random.Random(5))
        slow = Model("a", random.Random(1), text, [], habit="obeys")
        quick = Model("b", random.Random(1), text, [], habit="obeys", breaks=20)
        last = Model("c", random.Random(1), text, [], habit="obeys")
        at_once, late = slow.answer, asyncio.sleep

        async def answer(request, sink):
            await late(5 if len(slow.asked) == 0 else 0)
            await at_once(request, sink)

        slow.answer = answer
        healths, hedges = Healths(), Hedges(1.0)
        for _ in range(20):
            healths["a"].spoke(0.1, 0.0)
            hedges.request()
        over = route(plan("a", "b", "c", continuations=1, hedge_share=1.0), [slow, quick, last], healths=healths)
        over.hedges = hedges
        cup = Cup()
        await over.answer(question(), cup)
        assert told_by(cup.events) == [("text", None, text)]
        assert [reason for _, _, reason in attempts(cup)][-2:] == ["hedge", "continuation"]
        assert [(m, healths[m].breaker.state(10.0)) for m in "abc"] == [(m, "closed") for m in "abc"]

    virtually(run())


def test_cuts_count_for_the_breaker_of_the_host_that_broke_off():
    async def run():
        healths, text = Healths(), prose(random.Random(5))
        for _ in range(12):
            broken = Model("a", random.Random(1), text, [], habit="obeys", breaks=9)
            well = Model("b", random.Random(1), text, [], habit="obeys")
            cup = Cup()
            await route(plan("a", "b", continuations=1), [broken, well], healths=healths).answer(question(), cup)
            assert told_by(cup.events) == [("text", None, text)]
        assert not healths["a"].breaker.allows(asyncio.get_running_loop().time())
        assert healths["b"].breaker.allows(asyncio.get_running_loop().time())

    virtually(run())


def test_limits_are_those_of_the_whole_answer():
    async def run():
        model = Model("a", random.Random(1), prose(random.Random(3)), [], habit="prefill", breaks=9)
        other = Model("b", random.Random(1), model.text, [], habit="prefill")
        given = [Candidate(model=m, prefill="assistant") for m in "ab"]
        cup = Cup()
        await route(plan(*given, continuations=1), [model, other]).answer(question(max_tokens=100), cup)
        assert other.asked[0].max_tokens == 100 - 9
        assert cup.text == model.text

    virtually(run())


@pytest.mark.parametrize("seed", range(300))
def test_the_seam_does_not_depend_on_the_pieces(seed):
    rng = random.Random(seed)
    whole = prose(rng)
    at = rng.randint(1, len(whole))
    said, rest = whole[:at], whole[at:]
    before = rng.choice(["", "", "Continuing:\n", "Sure, going on from there.\n\n" if len(said) > 12 else ""])
    told = before + rng.choice([whole, anchor(said) + rest])
    seam, got, left = Seam(said), "", told
    while left:
        size = rng.randint(1, 40)
        got, left = got + seam.feed(left[:size]), left[size:]
        assert len(seam._held) <= 400 + len(said)
    assert got + seam.end() == rest
