"""A conversation kept within its budget: whole turns, the oldest first, and the client is told."""

from __future__ import annotations

import random

import pytest

from tidewire.context.step import Budget, Context
from tidewire.context.turns import fit
from tidewire.core.errors import SettingsError
from tidewire.core.events import Notice
from tidewire.core.request import File, Image, Message, Request, Text, Tool, ToolCall, ToolResult
from tidewire.core.tokens import IMAGE, MESSAGE, of_message, of_text, of_tools
from tidewire.server.settings import Context as Table
from tidewire.server.settings import Settings, check
from tidewire.stores.memory import MemoryLog
from workshop import Acts, desk_of, in_virtual_time, read, says, settle


def say(role, text):
    return Message(role=role, content=[Text(text)])


def conversation(seed, turns=12):
    """System texts, questions in one message or two, answers with and without tool calls in parallel, a file now and then."""
    rng = random.Random(seed)
    out = [say("system", "be brief")]
    for n in range(turns):
        out.append(say("user", f"question {n} " * rng.randint(1, 30)))
        if rng.random() < 0.2:
            out.append(Message(role="user", content=[File(url=f"https://example.com/{n}.pdf")]))
        if rng.random() < 0.4:
            calls = [f"c{n}.{i}" for i in range(rng.randint(1, 3))]
            out.append(
                Message(role="assistant", content=[ToolCall(call=c, name="look", arguments="{}") for c in calls])
            )
            if rng.random() < 0.5:  # as Chat Completions has them, and as Anthropic does
                out += [Message(role="tool", content=[ToolResult(call=c, text="found")]) for c in calls]
            else:
                out.append(Message(role="user", content=[ToolResult(call=c, text="found") for c in calls]))
        if rng.random() < 0.1:
            out.append(say("system", f"new rule {n}"))
        out.append(say("assistant", f"answer {n} " * rng.randint(1, 30)))
    out.append(say("user", "and now?"))
    return out


def contents(messages, kind):
    return [c for m in messages for c in m.content if isinstance(c, kind)]


@pytest.mark.parametrize("seed", range(200))
def test_what_is_left_is_whole_and_within_the_budget(seed):
    messages = conversation(seed)
    budget = random.Random(seed).randint(50, 4000)
    recent = 1 + seed % 4
    left = fit(messages, budget, of_message, recent=recent, passages=True)
    kept = iter(messages)
    assert all(m in kept for m in left.messages)  # nothing changed its order
    assert left.left_out == len(messages) - len(left.messages)
    assert left.tokens == sum(map(of_message, left.messages))
    assert [m for m in left.messages if m.role == "system"] == [m for m in messages if m.role == "system"]
    assert contents(left.messages, File) == contents(messages, File)
    assert {c.call for c in contents(left.messages, ToolCall)} == {c.call for c in contents(left.messages, ToolResult)}
    assert left.messages[-1].text == "and now?"
    spoken = [m for m in left.messages if m.role != "system"]
    assert spoken[0].role == "user"
    assert not isinstance(spoken[0].content[0], ToolResult)
    if left.tokens > budget:  # only what may not be left out is left
        least = fit(messages, 0, of_message, recent=recent, passages=True)
        assert least.messages == left.messages


def test_no_more_is_left_out_than_must_be():
    messages = [m for n in range(6) for m in (say("user", f"q{n} " * 50), say("assistant", f"a{n} " * 50))]
    turn = sum(map(of_message, messages[:2]))
    left = fit(messages, 4 * turn, of_message, recent=1, passages=True)
    assert left.messages == messages[4:]
    assert fit(messages, 6 * turn, of_message, recent=1, passages=True).left_out == 0
    assert fit(messages, 6 * turn - 1, of_message, recent=1, passages=True).messages == messages[2:]


def test_files_may_go_where_that_is_set():
    messages = [
        Message(role="user", content=[File(url="https://example.com/a.pdf")]),
        say("assistant", "a"),
        say("user", "b"),
    ]
    assert fit(messages, 10, of_message, recent=1, passages=True).left_out == 0
    assert fit(messages, 10, of_message, recent=1, passages=False).messages == messages[2:]


def test_an_empty_conversation_fits():
    assert fit([], 0, of_message, recent=2, passages=True).messages == []


# Counted with a tokenizer (o200k_base); the estimate may be a fifth off, and is not below by more than a tenth.
MEASURED = [
    (("Все люди рождаются свободными и равными в своём достоинстве и правах. Они наделены разумом и совестью и должны "
     "поступать в отношении друг друга в духе братства."), 42),
    ("人人生而自由，在尊严和权利上一律平等。他们赋有理性和良心，并应以兄弟关系的精神相对待。", 35),
    (("모든 인간은 태어날 때부터 자유로우며 그 존엄과 권리에 있어 동등하다. 인간은 천부적으로 이성과 양심을 부여받았으며 "
     "서로 형제애의 정신으로 행동하여야 한다."), 51),
    ("يولد جميع الناس أحرارًا متساوين في الكرامة والحقوق. وقد وهبوا عقلاً وضميرًا وعليهم أن يعامل بعضهم بعضًا بروح الإخاء.", 44),
    (("Alle Menschen sind frei und gleich an Würde und Rechten geboren. Sie sind mit Vernunft und Gewissen begabt und sollen "
     "einander im Geiste der Brüderlichkeit begegnen."), 39),
    (("Tous les êtres humains naissent libres et égaux en dignité et en droits. Ils sont doués de raison et de conscience et "
     "doivent agir les uns envers les autres dans un esprit de fraternité."), 41),
]  # fmt: skip


@pytest.mark.parametrize(("text", "tokens"), MEASURED)
def test_the_estimate_is_near_what_a_tokenizer_counts(text, tokens):
    assert 0.9 * tokens <= of_text(text) <= 1.2 * tokens


def test_every_character_costs_something():
    assert of_text("") == 0
    assert of_text("🚀") >= 1
    assert of_text("\ud800 lone") >= 1
    assert (
        of_message(Message(role="user", content=[Image(url="data:image/png;base64," + "A" * 100_000)]))
        == MESSAGE + IMAGE
    )
    assert of_tools([]) == 0
    assert of_tools([Tool(name="look", parameters={"type": "object"})]) > 10


# The step, at a desk


def chat(**more):
    messages = [say("system", "be brief")]
    for n in range(20):
        messages += [say("user", f"question {n} " * 20), say("assistant", f"answer {n} " * 20)]
    return Request(model="m", messages=[*messages, say("user", "and now?")], **more)


async def asked(step, request):
    """What the provider was asked, and the notices."""
    heard = []

    async def script(request, sink):
        heard.append(request)
        await says("yes")(request, sink)

    desk = desk_of(MemoryLog(), {"m": Acts(script)}, steps=[step])
    entries = await read(desk, (await desk.start(request)).stream)
    await settle()
    return heard[0], [e.event for e in entries if isinstance(e.event, Notice)]


@in_virtual_time
async def test_the_host_is_asked_what_fits_and_the_client_is_told():
    request, notices = await asked(Context(Budget(tokens=2000, answer=500), {}), chat())
    assert sum(map(of_message, request.messages)) <= 1500
    left_out = 42 - len(request.messages)
    assert left_out > 0
    assert left_out % 2 == 0
    assert [n.code for n in notices] == ["context_pruned"]
    assert f"the {left_out} oldest messages were left out" in notices[0].message
    assert "2000 tokens" in notices[0].message


@in_virtual_time
async def test_the_answer_asked_for_and_the_tools_take_their_share():
    free, _ = await asked(Context(Budget(tokens=2000, answer=100), {}), chat())
    asks, _ = await asked(Context(Budget(tokens=2000, answer=100), {}), chat(max_tokens=900))
    tools = [Tool(name=f"tool_{n}", description="does something " * 10) for n in range(10)]
    armed, _ = await asked(Context(Budget(tokens=2000, answer=100), {}), chat(tools=tools))
    assert len(asks.messages) < len(free.messages)
    assert len(armed.messages) < len(free.messages)
    assert armed.tools == tools


@in_virtual_time
async def test_a_model_has_a_budget_of_its_own():
    whole, notices = await asked(Context(Budget(tokens=500), {"m": 100_000}), chat())
    assert (len(whole.messages), notices) == (42, [])
    short, _ = await asked(Context(Budget(), {"m": 2000}), chat())
    assert len(short.messages) < 42
    whole, notices = await asked(Context(Budget(), {"other": 2000}), chat())
    assert (len(whole.messages), notices) == (42, [])


@in_virtual_time
async def test_what_cannot_be_made_to_fit_is_sent_and_said():
    request = Request(model="m", messages=[say("user", "long " * 5000)])
    sent, notices = await asked(Context(Budget(tokens=2000, answer=500), {}), request)
    assert sent.messages == request.messages
    assert [n.code for n in notices] == ["context_over"]
    assert "1500 of 2000" in notices[0].message


def test_a_budget_without_room_for_a_question_is_refused():
    with pytest.raises(SettingsError, match=r"context\.models\.m is 100.*1024"):
        check(Settings(context=Table(tokens=8000, models={"m": 100})))
    check(Settings(context=Table(tokens=8000, models={"m": 2000})))
