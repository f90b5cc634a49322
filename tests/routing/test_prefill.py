"""Answers that go on from their own beginning: at hosts that can, by their kind; the others are told to go on."""

from __future__ import annotations

import asyncio
import json

import pytest

from routing.played import Cup, Down, Tally, plan, question, route, virtually
from tidewire.core.errors import UpstreamError
from tidewire.core.events import Attempt, Delta, Finish, PartEnded, PartStarted
from tidewire.core.request import Message, Request, Text
from tidewire.dialects.anthropic_host import MessagesHost
from tidewire.dialects.openai_chat_host import ChatHost
from tidewire.dialects.openai_quirks import QUIRKS
from tidewire.dialects.tgi_host import TGIHost
from tidewire.dialects.triton_host import TritonHost
from tidewire.routing.table import Candidate
from tidewire.server.hosts import HOSTS, claude_prefills, hosted
from tidewire.server.settings import Provider

SAID = "the tide comes in and goes out again, twice a day"


class Kind:
    """Says SAID. cut: after so many characters. habit: what it does with a prefill."""

    def __init__(self, name, *, cut=None, can=True, habit="goes on"):
        self.name, self.cut, self.can, self.habit = name, cut, can, habit
        self.asked = []

    def prefills(self, model):
        return self.can and model.startswith(self.name)

    def says(self, request):
        if request.prefill:
            begun = request.messages[-1].text
            assert SAID.startswith(begun)
            return SAID[len(begun) :]
        if len(request.messages) == 1:
            return SAID
        asked = request.messages[-1].text.split("without a break:\n")[1].rsplit("\nWrite nothing", 1)[0]
        return asked + SAID[len(request.messages[-2].text) :]

    async def answer(self, request, sink):
        self.asked.append(request)
        sink.feed([Attempt(n=1, provider=self.name, model=request.model, reason="start")])
        kind = "text"
        if request.prefill and self.habit == "refuses":
            error = UpstreamError("prefill is not supported", code="upstream_refused", upstream_status=400)
            error.status, error.retryable = 400, False
            raise error
        if request.prefill and self.habit == "thinks":
            kind = "thinking"
        sink.feed([PartStarted(part=0, kind=kind)])
        for at, letter in enumerate(self.says(request)):
            await asyncio.sleep(0.001)
            if at == self.cut:
                raise Down
            sink.feed([Delta(part=0, text=letter)])
        sink.feed([PartEnded(part=0), Finish(reason="stop")])

    async def models(self):
        return []

    async def close(self): ...


async def gone_on(second, *, prefill="auto", cut=17):
    first, cup, tally = Kind("a", cut=cut), Cup(), Tally()
    of = route(plan("a", Candidate(model="b", prefill=prefill), continuations=1), [first, second], tally=tally)
    await of.answer(question(), cup)
    assert cup.text == SAID
    assert sum(isinstance(e, PartStarted) for e in cup.events) == 1
    assert cup.events[-1] == Finish(reason="stop")
    return tally.continuations


@pytest.mark.parametrize("cut", [1, 8, 9, 17, 40])
def test_a_host_that_can_is_given_the_beginning_and_a_host_that_cannot_is_told_to_repeat_its_end(cut):
    async def run():
        for can in (True, False):
            second = Kind("b", can=can)
            assert await gone_on(second, cut=cut) == [("b", "whole")]
            assert [asked.prefill for asked in second.asked] == [can]
            assert second.asked[0].messages[-1].role == ("assistant" if can else "user")

    virtually(run())


@pytest.mark.parametrize(("prefill", "can"), [("assistant", False), ("none", True)])
def test_the_table_of_the_route_knows_better(prefill, can):
    async def run():
        second = Kind("b", can=can)
        await gone_on(second, prefill=prefill)
        assert second.asked[0].prefill is (prefill == "assistant")

    virtually(run())


@pytest.mark.parametrize(("habit", "result"), [("refuses", "failed"), ("thinks", "unjoinable")])
def test_a_model_that_takes_no_beginning_although_its_host_should_is_told_to_go_on_instead(habit, result):
    """llama.cpp refuses it where a template thinks; with a parser of thoughts, vLLM may take what follows for a thought."""

    async def run():
        second = Kind("b", habit=habit)
        assert await gone_on(second) == [("b", result), ("b", "whole")]
        assert [asked.prefill for asked in second.asked] == [True, False]

    virtually(run())


def test_a_request_that_nobody_goes_on_with_ends_with_no_prefill():
    async def run():
        first = Kind("a")
        await route(plan("a", continuations=1), [first]).answer(question(), Cup())
        assert not first.asked[0].prefill

    virtually(run())


# What hosts are asked

BEGUN = [Message("user", [Text("Hello?")]), Message("assistant", [Text("Well,")])]


def body(speaker, **more):
    given = Request(model="m", messages=BEGUN, **more)
    return json.loads(speaker.ask(given, "m").body)


def test_flags_go_with_a_beginning_to_the_hosts_that_want_them_and_with_nothing_else():
    flags = {"continue_final_message": True, "add_generation_prompt": False}
    assert body(ChatHost(QUIRKS["vllm"]), prefill=True).items() >= flags.items()
    assert body(ChatHost(QUIRKS["sglang"]), prefill=True)["continue_final_message"] is True
    assert not body(ChatHost(QUIRKS["vllm"])).keys() & flags.keys()
    for kind in ("openai", "compatible", "llamacpp"):
        assert not body(ChatHost(QUIRKS[kind]), prefill=True).keys() & flags.keys()
    assert body(MessagesHost(), prefill=True, max_tokens=9)["messages"][-1]["role"] == "assistant"


def test_a_host_of_plain_text_goes_on_with_the_text():
    assert body(TGIHost(), prefill=True)["inputs"] == "Hello? Well,"
    assert body(TritonHost(), prefill=True)["text_input"] == "Hello? Well,"
    longer = [Message("system", [Text("Be brief.")]), *BEGUN]
    asked = json.loads(TGIHost().ask(Request(model="m", messages=longer, prefill=True), "m").body)
    assert asked["inputs"] == "Be brief.\n\nUser: Hello?\nAssistant: Well,"
    spaced = [BEGUN[0], Message("assistant", [Text("\nWell,")])]
    assert json.loads(TGIHost().ask(Request(model="m", messages=spaced, prefill=True), "m").body)["inputs"] == (
        "Hello?\nWell,"
    )


def test_which_models_go_on_is_known_by_the_kind_of_their_host():
    kinds = {kind for kind in HOSTS if HOSTS[kind].prefill("m")}
    assert kinds == {"vllm", "sglang", "llamacpp", "tgi-generate", "triton"}
    claude = hosted("anthropic", "claude", Provider(kind="anthropic"))
    assert claude.prefills("claude/claude-haiku-4-5")
    assert claude.once().prefills("claude/claude-haiku-4-5")
    assert not claude.prefills("claude/claude-opus-4-6")


@pytest.mark.parametrize(
    ("model", "can"),
    [
        ("claude-3-5-haiku-20241022", True),
        ("claude-sonnet-4-20250514", True),
        ("claude-opus-4-1-20250805", True),
        ("claude-sonnet-4-5", True),
        ("us.anthropic.claude-sonnet-4-5-20250929-v1:0", True),
        ("claude-opus-4-5@20251101", True),
        ("claude-opus-4-6", False),
        ("us.anthropic.claude-opus-4-6-v1", False),
        ("claude-sonnet-4-6", False),
        ("claude-opus-5", False),
        ("some-other-model", False),
    ],
)
def test_models_of_anthropic_took_a_beginning_until_they_were_4_6(model, can):
    assert claude_prefills(model) is can
