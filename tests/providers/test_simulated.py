"""The simulated provider does what its script says, at the pace it says, and says so when it cannot."""

from __future__ import annotations

import asyncio
from typing import Any

import async_solipsism
import msgspec
import pytest
from plain_chat import Cup, question

from tidewire.core.errors import BadRequest, TimedOut, UpstreamError
from tidewire.core.events import Attempt, Delta, Event, Finish, PartEnded, PartStarted, Progress, Usage
from tidewire.core.request import Message, ToolResult
from tidewire.providers.simulated import Simulated


class Clocked(Cup):
    """Notes when each delta came, in milliseconds."""

    def __init__(self, size: int = 1 << 30) -> None:
        super().__init__(size)
        self.times: list[float] = []

    def feed(self, events: Any) -> None:
        super().feed(events)
        now = asyncio.get_running_loop().time() * 1000
        self.times += [now for e in events if isinstance(e, Delta)]


def run(said: str, cup: Cup | None = None, *, standing: str = "", **more: Any) -> Cup:
    """The answer to one message, in virtual time."""
    cup = Clocked() if cup is None else cup
    with asyncio.Runner(loop_factory=async_solipsism.EventLoop) as runner:
        runner.run(Simulated(script=standing).answer(question(said, **more), cup))
    return cup


def of(cup: Cup, kind: type[Event]) -> list[Any]:
    return [e for e in cup.events if isinstance(e, kind)]


def test_a_plain_question_gets_a_short_natural_text() -> None:
    cup = run("Hello?")
    assert isinstance(cup.events[0], Attempt)
    assert of(cup, Progress)[0].stage == "waiting"
    assert cup.text.startswith("A river does not hurry")
    assert [e.kind for e in of(cup, PartStarted)] == ["text"]
    assert of(cup, PartEnded)[0].part == 0
    assert of(cup, Usage)[0].output == len(cup.text.split())
    assert cup.events[-1] == Finish(reason="stop")


def test_tokens_come_at_the_pace_that_is_asked_for() -> None:
    cup = run("sim: tokens=5 ttft_ms=200 interval_ms=20")
    assert isinstance(cup, Clocked)
    assert cup.times == pytest.approx([200, 220, 240, 260, 280], abs=0.01)


def test_jitter_is_the_same_for_the_same_seed() -> None:
    said = "sim: tokens=20 jitter_ms=30 seed={}"
    first, again, other = (run(said.format(seed)) for seed in (1, 1, 2))
    assert first.times == again.times != other.times  # type: ignore[attr-defined]
    assert msgspec.json.encode(first.events) == msgspec.json.encode(again.events)


@pytest.mark.parametrize(
    ("said", "text"),
    [
        ('sim: text="Hello, wide world"', "Hello, wide world"),
        ('Tell me.\nsim: text="two\\nlines"\nThanks!', "two\nlines"),
        ('sim: text="ab cd" tokens=5', "ab cd ab cd ab "),
        ("sim: tokens=0", ""),
        ("sim: text=''", ""),
    ],
)
def test_the_text_is_the_one_that_is_asked_for(said: str, text: str) -> None:
    assert run(said).text == text


def test_words_share_a_delta() -> None:
    cup = run("sim: tokens=10 words=4")
    assert [len(e.text.split()) for e in of(cup, Delta)] == [4, 4, 2]


def test_thought_comes_before_the_text() -> None:
    cup = run("sim: thinking=10 tokens=3")
    assert [(e.part, e.kind) for e in of(cup, PartStarted)] == [(0, "thinking"), (1, "text")]
    assert sum(e.part == 0 for e in of(cup, Delta)) == 10
    kinds = [type(e) for e in cup.events]
    assert kinds.index(PartEnded) < len(kinds) - 1 - kinds[::-1].index(PartStarted)
    assert (of(cup, Usage)[0].output, of(cup, Usage)[0].reasoning) == (13, 10)


def test_tools_are_called_with_arguments_in_fragments() -> None:
    cup = run('sim: tool=weather,time arguments=\'{"place": "Lyon"}\'')
    starts = of(cup, PartStarted)
    assert [(e.kind, e.name) for e in starts] == [("tool_call", "weather"), ("tool_call", "time")]
    assert starts[0].call != starts[1].call
    for part in (0, 1):
        fragments = [e.text for e in of(cup, Delta) if e.part == part]
        assert len(fragments) > 1
        assert msgspec.json.decode("".join(fragments)) == {"place": "Lyon"}
    assert cup.events[-1] == Finish(reason="tool_calls")


def test_after_the_tools_result_comes_the_text() -> None:
    request = question("sim: tool=weather")
    request.messages.append(Message(role="tool", content=[ToolResult(call="call_0_0", text="sunny")]))
    cup = Cup()
    with asyncio.Runner(loop_factory=async_solipsism.EventLoop) as runner:
        runner.run(Simulated().answer(request, cup))
    assert cup.text.startswith("A river")
    assert cup.events[-1] == Finish(reason="stop")


def test_the_requests_token_limit_is_kept() -> None:
    cup = run("sim: tokens=50", max_tokens=7)
    assert len(of(cup, Delta)) == 7
    assert cup.events[-1] == Finish(reason="length")


@pytest.mark.parametrize(
    ("error", "kind", "status", "retryable"),
    [
        ("overloaded", "upstream_rate_limited", 429, True),
        ("unavailable", "upstream_unavailable", 502, True),
        ("auth", "upstream_auth", 502, False),
        ("cut", "upstream_cut", 502, True),
    ],
)
def test_an_error_comes_where_it_is_asked_for(error: str, kind: str, status: int, retryable: bool) -> None:
    for said, deltas in ((f"sim: error={error}", 0), (f"sim: error={error} fail_after=3", 3)):
        cup = Cup()
        with pytest.raises(UpstreamError) as caught:
            run(said, cup)
        assert (caught.value.kind, caught.value.status, caught.value.retryable) == (kind, status, retryable)
        assert len(of(cup, Delta)) == deltas
        assert not of(cup, Finish)


def test_a_timeout_and_a_defect_can_be_had_too() -> None:
    with pytest.raises(TimedOut):
        run("sim: error=timeout")
    with pytest.raises(RuntimeError):
        run("sim: error=defect fail_after=2")
    with pytest.raises(UpstreamError, match="closed the connection after 2 tokens"):
        run("sim: fail_after=2")


async def test_a_stall_lasts_until_it_is_cancelled() -> None:
    cup = Cup()
    task = asyncio.create_task(Simulated().answer(question("sim: stall_after=2 ttft_ms=0 interval_ms=0"), cup))
    await cup.got.wait()
    for _ in range(20):
        await asyncio.sleep(0)
    assert not task.done()
    assert len(of(cup, Delta)) == 2
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


def test_without_an_interval_it_goes_as_fast_as_the_sink_has_room() -> None:
    async def main() -> Cup:
        cup = Cup(size=100)
        task = asyncio.create_task(Simulated().answer(question("sim: tokens=1000 ttft_ms=0 interval_ms=0"), cup))
        while not task.done():
            while not cup.waited and not task.done():
                await asyncio.sleep(0)
            held = len(cup.events)
            for _ in range(5):
                await asyncio.sleep(0)
            assert len(cup.events) == held <= 1200
            cup.waited = 0
            cup.drink()
            await asyncio.sleep(0)
        await task
        return cup

    with asyncio.Runner(loop_factory=async_solipsism.EventLoop) as runner:
        cup = runner.run(main())
    assert len(of(cup, Delta)) == 1000
    assert cup.feeds < 40


@pytest.mark.parametrize(
    ("said", "words"),
    [
        ("sim: speed=9", "speed"),
        ("sim: tokens=many", "tokens"),
        ("sim: tokens=-1", "tokens"),
        ("sim: error=boredom", "error"),
        ("sim: fast", "name=value"),
        ('sim: text="open', "quotation"),
    ],
)
def test_what_a_script_cannot_say_is_a_bad_request(said: str, words: str) -> None:
    cup = Cup()
    with pytest.raises(BadRequest, match=words):
        run(said, cup)
    assert not cup.events


def test_a_standing_script_holds_where_the_message_says_nothing_else() -> None:
    cup = run("sim: tokens=2", standing="tokens=9 interval_ms=7 ttft_ms=0")
    assert cup.times == pytest.approx([0, 7], abs=0.01)  # type: ignore[attr-defined]
    with pytest.raises(BadRequest):
        Simulated(script="tokens=x")


async def test_its_models_are_on_offer() -> None:
    provider = Simulated("sim", models=["fast", "slow"])
    assert [(m.id, m.provider) for m in await provider.models()] == [("fast", "sim"), ("slow", "sim")]
    await provider.close()
