"""A quick model and one that betters its answers, in virtual time: what is shown when, what is asked, what remains when one fails."""

from __future__ import annotations

import asyncio
import random

import pytest

from routing.played import Cup, Down, at_every_moment, question, virtually
from tidewire.core import events as ev
from tidewire.core.errors import UnknownModel
from tidewire.core.events import Attempt, Delta, Edit, Finish, Notice, PartEnded, PartStarted, Progress, Timing, Usage
from tidewire.core.request import Tool
from tidewire.routing.cascade import Cascade
from tidewire.routing.cascade_plan import CascadePlan, Member
from tidewire.routing.hedge import Hedges
from tidewire.routing.judge import Rules

DRAFT = "Rome is old. I'm not sure of its river, the Tibre. It has hills."
BETTER = "Rome is old. Its river is the Tiber. It has seven hills."


def said(text, *, size=5, reason="stop", usage=None, kind="text"):
    """An answer as batches of events."""
    pieces = [text[at : at + size] for at in range(0, len(text), size)]
    out = [[PartStarted(part=0, kind=kind)], *([Delta(part=0, text=piece)] for piece in pieces), [PartEnded(part=0)]]
    return [*out, [*([usage] if usage else []), Finish(reason=reason)]]


def used(tokens_in, tokens_out):
    return Usage(counted_by="host", input=tokens_in, output=tokens_out)


class Speaker:
    """Feeds its batches, one every `pace` seconds after `wait`; an exception among them is raised, "hang" never ends."""

    def __init__(self, name, batches, *, wait=0.1, pace=0.01):
        self.name, self.batches, self.wait, self.pace = name, batches, wait, pace
        self.requests = []
        self.open = 0

    async def answer(self, request, sink):
        self.requests.append(request)
        self.open += 1
        try:
            sink.feed([Attempt(n=1, provider=self.name, model=request.model, reason="start")])
            await asyncio.sleep(self.wait)
            for batch in self.batches:
                if batch == "hang":
                    await asyncio.sleep(1e6)
                if isinstance(batch, Exception):
                    raise batch
                sink.feed([ev.decode(ev.encode(e)) if not isinstance(e, Finish | Timing) else e for e in batch])
                await asyncio.sleep(self.pace)
        finally:
            self.open -= 1


class Counts:
    def __init__(self):
        self.results = []
        self.costs = {}

    def cascaded(self, cascade, result):
        self.results.append(result)

    def cascade_cost(self, cascade, role, usd):
        self.costs[role] = self.costs.get(role, 0.0) + usd


class Timed(Cup):
    """Keeps when each event came."""

    def __init__(self):
        super().__init__()
        self.times = []

    def feed(self, events):
        super().feed(events)
        self.times += [asyncio.get_running_loop().time()] * len(events)

    def when(self, kind):
        return next((at for at, e in zip(self.times, self.events, strict=True) if isinstance(e, kind)), None)


def cascade(draft, better=None, judge=None, *, counts=None, share=None, **more):
    known = {s.name: s for s in (draft, better, judge) if s is not None}

    async def find(model):
        if model not in known:
            raise UnknownModel(f"there is no model {model!r}")
        return known[model], f"{model}-there"

    members = {
        "draft": Member(model="draft", price_in=1, price_out=2),
        "refine": Member(model="better", price_in=10, price_out=20),
        "judge": Member(model="judge" if judge else "", price_in=1, price_out=1),
    }
    plan = CascadePlan(**{**members, **more})
    budget = share or Hedges(plan.refine_share)
    clock = asyncio.get_running_loop().time
    return Cascade("c", plan, find=find, share=budget, meter=counts or Counts(), clock=clock, limit=600.0)


def text_of(events):
    """As a client has it that makes the edits."""
    pieces = []
    for event in events:
        if isinstance(event, Delta):
            pieces.append(event.text)
        elif isinstance(event, Edit):
            ev.edit(pieces, event)
    return "".join(pieces)


def well_formed(events, *, finished=True):
    begun = [e.part for e in events if isinstance(e, PartStarted)]
    ended = [e.part for e in events if isinstance(e, PartEnded)]
    assert len(begun) == len(set(begun))
    if finished:
        assert sorted(begun) == sorted(ended)
        assert [type(e) for e in events].count(Finish) == 1
        assert isinstance(events[-1], Finish)


async def asked(of, cup=None, **more):
    cup = cup or Timed()
    await of.answer(question(**{"edits": True, **more}), cup)
    return cup


def codes(cup):
    return [e.code for e in cup.events if isinstance(e, Notice)]


def test_a_draft_that_no_rule_finds_wanting_ends_as_it_would_alone():
    async def work():
        counts = Counts()
        draft, better = Speaker("draft", said("Rome is old.", usage=used(3, 4))), Speaker("better", said(BETTER))
        cup = await asked(cascade(draft, better, counts=counts))
        alone = Timed()
        await draft.answer(question(), alone)
        kinds = [type(e) for e in alone.events]
        assert sorted(map(repr, map(type, cup.events))) == sorted(map(repr, [*kinds, Usage]))  # what it cost
        assert cup.text == alone.text
        began = alone.times[0]
        shown = [e for e in cup.events if isinstance(e, Delta)]
        assert [cup.times[cup.events.index(e)] for e in shown] == pytest.approx([0.11, 0.12, 0.13])
        assert alone.times[-1] - began == pytest.approx(
            cup.times[-1] + 0.0, abs=0.011
        )  # no later than the host's own end
        assert better.requests == []
        assert counts.results == ["kept"]
        assert draft.requests[0].model == "draft-there"

    virtually(work())


def test_a_draft_that_is_not_sure_is_edited_into_the_better_text_while_that_is_written():
    async def work():
        counts = Counts()
        draft = Speaker("draft", said(DRAFT, usage=used(10, 20)))
        better = Speaker("better", said(BETTER, usage=used(100, 30)))
        cup = await asked(cascade(draft, better, counts=counts))
        well_formed(cup.events)
        assert text_of(cup.events) == BETTER
        assert cup.text == DRAFT  # its tokens passed as they came
        assert [(e.n, e.provider, e.reason) for e in cup.events if isinstance(e, Attempt)] == [
            (1, "draft", "start"),
            (2, "better", "refinement"),
        ]
        stages = [e for e in cup.events if isinstance(e, Progress)]
        assert [(e.stage, e.detail) for e in stages] == [
            ("refining", "the draft is not sure"),
            ("refining", "better changed the answer in 3 places, for 0.001650 USD in all"),
        ]
        assert cup.when(Edit) < cup.times[-1] - 0.05  # the first edit, before the last of the better text
        last = [e for e in cup.events if isinstance(e, Usage)][-1]
        assert (last.input, last.output, last.counted_by) == (110, 50, "host")
        assert counts.results == ["refined"]
        assert counts.costs == {"draft": pytest.approx(50e-6), "refine": pytest.approx(1600e-6)}
        assert codes(cup) == []
        messages = better.requests[0].messages
        assert [m.role for m in messages] == ["user", "assistant", "user"]
        assert messages[1].text == DRAFT

    virtually(work())


def test_a_better_text_that_is_the_draft_changes_nothing():
    async def work():
        counts = Counts()
        cup = await asked(cascade(Speaker("draft", said(DRAFT)), Speaker("better", said(DRAFT)), counts=counts))
        assert not [e for e in cup.events if isinstance(e, Edit)]
        assert counts.results == ["unchanged"]
        assert codes(cup) == []

    virtually(work())


@pytest.mark.parametrize(
    "batches",
    [
        [Down()],
        [*said(BETTER)[:9], Down()],
        [*said(BETTER)[:9], "hang"],
        ["hang"],
        said(BETTER, reason="length"),
        said(BETTER)[:-1],
        said(""),
        [*said(BETTER)[:8], [PartStarted(part=1, kind="tool_call", name="f", call="c")], [Finish(reason="tool_calls")]],
    ],
    ids=["down", "cut", "stalls", "hangs", "too long", "no end", "empty", "calls a tool"],
)
def test_a_refinement_that_fails_is_taken_back_and_the_client_is_told(batches):
    async def work():
        counts = Counts()
        draft, better = Speaker("draft", said(DRAFT)), Speaker("better", batches)
        cup = await asked(cascade(draft, better, counts=counts, refine_s=5.0))
        well_formed(cup.events)
        assert text_of(cup.events) == DRAFT
        assert codes(cup) == ["refinement_failed"]
        assert counts.results == ["failed"]
        assert draft.open == better.open == 0

    virtually(work())


def test_a_refinement_beyond_the_token_limit_is_taken_back():
    async def work():
        for most, text in ((len(BETTER) // 5 + 1, BETTER), (5, DRAFT)):
            cup = await asked(cascade(Speaker("draft", said(DRAFT)), Speaker("better", said(BETTER))), max_tokens=most)
            assert text_of(cup.events) == text

    virtually(work())


def test_a_refinement_is_over_before_the_deadline_of_its_stream():
    async def work():
        loop = asyncio.get_running_loop()
        began = loop.time()
        cup = await asked(
            cascade(Speaker("draft", said(DRAFT)), Speaker("better", [*said(BETTER)[:9], "hang"])), time_limit=3.0
        )
        assert loop.time() - began < 3.0
        assert text_of(cup.events) == DRAFT

    virtually(work())


def test_what_was_spent_before_the_draft_leaves_a_refinement_less():
    async def work():
        loop = asyncio.get_running_loop()
        due = loop.time() + 2.0
        better = Speaker("better", [*said(BETTER)[:9], "hang"])
        cup = await asked(cascade(Speaker("draft", said(DRAFT)), better), time_limit=3.0, deadline=due)
        assert text_of(cup.events) == DRAFT
        assert loop.time() < due
        well_formed(cup.events)

    virtually(work())


def test_a_draft_that_fails_ends_the_stream_as_any_host_does():
    async def work():
        for edits in (True, False):
            cup = Timed()
            with pytest.raises(Down):
                await asked(
                    cascade(Speaker("draft", [*said(DRAFT)[:5], Down()]), Speaker("better", []), without_edits="wait"),
                    cup,
                    edits=edits,
                )
            assert cup.text == DRAFT[:20]

    virtually(work())


def test_a_draft_that_calls_tools_is_left_alone():
    async def work():
        counts = Counts()
        better = Speaker("better", said(BETTER))
        calls = [
            *said("I'm not sure.")[:-1],
            [PartStarted(part=1, kind="tool_call", name="f", call="c"), Delta(part=1, text="{}"), PartEnded(part=1)],
            [Finish(reason="tool_calls")],
        ]
        for edits in (True, False):
            cup = await asked(
                cascade(Speaker("draft", calls), better, counts=counts, without_edits="wait"),
                edits=edits,
                tools=[Tool(name="f")],
            )
            well_formed(cup.events)
        assert better.requests == []
        assert counts.results == ["unfit", "unfit"]

    virtually(work())


# Clients that cannot take back text


def test_a_client_without_edits_gets_the_draft_and_the_stronger_model_is_not_asked():
    async def work():
        counts, better = Counts(), Speaker("better", said(BETTER))
        cup = await asked(cascade(Speaker("draft", said(DRAFT)), better, counts=counts), edits=False)
        assert cup.text == DRAFT
        assert better.requests == []
        assert counts.results == ["draft_only"]

    virtually(work())


@pytest.mark.parametrize("more", [{"edits": False}, {"stop": ["x"]}, {"response_format": {"type": "json_object"}}])
def test_or_it_waits_and_sees_the_better_text_alone(more):
    async def work():
        draft = Speaker("draft", said(DRAFT, usage=used(10, 20)))
        better = Speaker("better", said(BETTER, usage=used(100, 30)))
        cup = await asked(cascade(draft, better, without_edits="wait"), **more)
        well_formed(cup.events)
        assert cup.text == BETTER
        assert not [e for e in cup.events if isinstance(e, Edit)]
        assert [e.stage for e in cup.events if isinstance(e, Progress)] == ["drafting", "refining"]
        assert cup.when(Progress) == 0.0
        last = [e for e in cup.events if isinstance(e, Usage)][-1]
        assert (last.input, last.output) == (110, 50)

    virtually(work())


@pytest.mark.parametrize("batches", [[Down()], ["hang"], said("")], ids=["down", "hangs", "empty"])
def test_who_waits_gets_the_draft_where_nothing_better_comes(batches):
    async def work():
        cup = await asked(
            cascade(Speaker("draft", said(DRAFT)), Speaker("better", batches), without_edits="wait", refine_s=5.0),
            edits=False,
        )
        well_formed(cup.events)
        assert cup.text == DRAFT
        assert codes(cup) == ["refinement_failed"]

    virtually(work())


def test_who_waits_may_see_a_text_that_takes_longer_than_its_first_word_may():
    async def work():
        slow = Speaker("better", said(BETTER), pace=2.0)
        cup = await asked(cascade(Speaker("draft", said(DRAFT)), slow, without_edits="wait", refine_s=5.0), edits=False)
        assert cup.text == BETTER

    virtually(work())


def test_json_that_is_none_is_written_again_and_json_that_is_some_is_shown():
    async def work():
        for text, shown in (("no json", '{"a": 1}'), ('{"a": 0}', '{"a": 0}')):
            of = cascade(Speaker("draft", said(text)), Speaker("better", said('{"a": 1}')), without_edits="wait")
            cup = await asked(of, response_format={"type": "json_object"})
            assert cup.text == shown

    virtually(work())


# The judge


@pytest.mark.parametrize(
    ("reply", "result"),
    [("KEEP", "kept"), ("I say: refine.", "refined"), ('{"refine": true}', "refined"), ("{}", "kept"), ("", "kept")],
)
def test_the_judge_decides_in_a_word_where_the_rules_are_not_certain(reply, result):
    async def work():
        counts = Counts()
        judge = Speaker("judge", said(reply, usage=used(5, 1)))
        of = cascade(Speaker("draft", said("Rome is old. ")), Speaker("better", said(BETTER)), judge, counts=counts)
        cup = await asked(of)
        assert counts.results == [result]
        assert text_of(cup.events) == (BETTER if result == "refined" else "Rome is old. ")
        assert ("judge_failed" in codes(cup)) is (reply in ("", "{}"))
        assert not [e for e in cup.events if isinstance(e, Attempt) and e.provider == "judge"]
        assert counts.costs["judge"] == pytest.approx(6e-6)

    virtually(work())


@pytest.mark.parametrize("batches", [["hang"], [Down()]])
def test_a_judge_that_is_late_or_fails_is_not_waited_for_and_the_rules_decide(batches):
    async def work():
        for asks, result in (("What is Rome?", "kept"), ("Solve 3 + 4 = x", "refined")):
            counts, judge = Counts(), Speaker("judge", batches)
            of = cascade(Speaker("draft", said("Seven. ")), Speaker("better", said(BETTER)), judge, counts=counts)
            cup = Timed()
            await of.answer(question(asks, edits=True), cup)
            assert counts.results == [result]
            assert codes(cup)[0] == "judge_failed"
            assert judge.open == 0
            assert cup.times[-1] - cup.times[0] < 3.2

    virtually(work())


def test_a_certain_sign_needs_no_judge():
    async def work():
        judge = Speaker("judge", said("KEEP"))
        await asked(cascade(Speaker("draft", said(DRAFT)), Speaker("better", said(BETTER)), judge))
        assert judge.requests == []

    virtually(work())


def test_the_judge_reads_while_the_draft_is_written_so_that_its_end_need_not_wait():
    async def work():
        draft = Speaker("draft", said("Rome is old. " * 20))  # 260 characters, 0.52 s
        judge = Speaker("judge", said("KEEP"), wait=0.2)
        cup = await asked(cascade(draft, Speaker("better", []), judge, judge_after=100))
        assert cup.times[-1] == pytest.approx(0.1 + 55 * 0.01, abs=0.011)
        assert "still being written" in judge.requests[0].question

    virtually(work())


# What it may cost


def test_no_more_answers_are_refined_than_the_share_allows():
    async def work():
        counts, share = Counts(), Hedges(0.25)
        for _ in range(40):
            draft, better = Speaker("draft", said(DRAFT)), Speaker("better", said(BETTER))
            await asked(cascade(draft, better, counts=counts, share=share, refine_share=0.25))
        assert counts.results.count("refined") == 10
        assert counts.results.count("share") == 30

    virtually(work())


def test_a_refinement_that_is_likely_to_cost_more_than_it_may_is_not_asked_for():
    async def work():
        for most, result in ((1e-6, "cost"), (1.0, "refined")):
            counts, better = Counts(), Speaker("better", said(BETTER))
            cup = await asked(cascade(Speaker("draft", said(DRAFT)), better, counts=counts, max_cost=most))
            well_formed(cup.events)
            assert counts.results == [result]
            assert len(better.requests) == (result == "refined")

    virtually(work())


def test_several_answers_to_one_request_are_drafts():
    async def work():
        better = Speaker("better", said(BETTER))
        await asked(cascade(Speaker("draft", said(DRAFT)), better), n=2)
        assert better.requests == []

    virtually(work())


# Stopping


@pytest.mark.parametrize("judged", [False, True])
@pytest.mark.parametrize("edits", [False, True])
def test_stopped_at_any_moment_nothing_runs_on_and_the_text_makes_sense(edits, judged):
    """The text is the beginning of the better one and then the end of the draft: nothing of either is torn."""

    async def one(at):
        draft, better = Speaker("draft", said(DRAFT)), Speaker("better", said(BETTER))
        judge = Speaker("judge", said("REFINE"), wait=0.05) if judged else None
        rules = Rules(unsure=not judged)
        of = cascade(draft, better, judge, without_edits="wait", rules=rules, judge_after=30)
        cup = Timed()
        task = asyncio.get_running_loop().create_task(of.answer(question(edits=edits), cup))
        await asyncio.sleep(at)
        done = task.done()
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        count = len(cup.events)
        assert draft.open == better.open == (judge.open if judge else 0) == 0
        assert len(asyncio.all_tasks()) == 1
        await asyncio.sleep(1)
        assert len(cup.events) == count
        text = text_of(cup.events)
        if not any(isinstance(e, Edit) for e in cup.events):
            assert DRAFT.startswith(text) or BETTER.startswith(text)
        else:
            assert any(text == BETTER[:n] + text[n:] and DRAFT.endswith(text[n:]) for n in range(len(text) + 1))
        return done

    at_every_moment(one)


def test_in_random_worlds_the_text_is_the_one_or_the_other():
    async def world(seed):
        rng = random.Random(seed)

        def broken(text):
            batches = said(text, size=rng.randint(1, 9), usage=rng.choice([None, used(3, 4)]))
            if rng.random() < 0.4:
                return [*batches[: rng.randrange(len(batches))], rng.choice([Down(), "hang"])]
            return batches

        draft = Speaker("draft", said(DRAFT, size=rng.randint(1, 9)), pace=rng.random() / 10)
        better = Speaker("better", broken(BETTER), wait=rng.random(), pace=rng.random() / 10)
        judge = Speaker("judge", broken(rng.choice(["KEEP", "REFINE", "perhaps"])), wait=rng.random() * 4)
        rules = Rules(unsure=rng.random() < 0.5)
        cup, counts = Timed(), Counts()
        judge_after = rng.choice([0, 20])
        of = cascade(
            draft, better, rng.choice([judge, None]), counts=counts, rules=rules, refine_s=3.0, judge_after=judge_after
        )
        await asked(of, cup)
        well_formed(cup.events)
        text = text_of(cup.events)
        assert text in (DRAFT, BETTER)
        refined = counts.results == ["refined"]
        assert (text == BETTER) is refined
        assert draft.open == better.open == judge.open == 0
        return refined

    async def work():
        refined = [await world(seed) for seed in range(300)]
        assert any(refined)
        assert not all(refined)

    virtually(work())
