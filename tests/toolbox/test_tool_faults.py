"""Small worlds by a seed: models that call wildly, tools that raise, hang, flood and fault, people who leave. Time is virtual.

What must hold in each: nothing lost or doubled, at most one end, each side effect once, nothing left running.
"""

from __future__ import annotations

import asyncio
import random
from collections import Counter

import pytest

from tidewire.core.errors import TidewireError, UpstreamError
from tidewire.toolbox.port import ToolFault, ToolOutput
from toolbox.played_tools import Model, Played, Stage, calls, says, virtually

SEEDS = range(400)


def behaviour(rng: random.Random, effects: Counter[str]):
    """What one tool does; an effect is noted where the world outside would see one."""
    kind = rng.choice(["quick", "slow", "raises", "faults", "hangs", "huge", "chatty", "stubborn", "refuses"])
    takes = rng.choice([0.0, 0.1, 3.0])

    async def work(arguments, context):
        effects[context.key] += 1
        if kind in ("raises", "faults") and rng.random() < 0.7:
            effects[context.key] -= kind == "faults"  # it broke on its way there
            raise (ToolFault("broke") if kind == "faults" else RuntimeError("a defect"))
        if kind == "hangs":
            await asyncio.sleep(10_000)
        if kind == "stubborn":
            try:
                await asyncio.sleep(10_000)
            except asyncio.CancelledError:
                await asyncio.sleep(1.0)
                raise
        if kind == "chatty":
            for n in range(20):
                context.progress(f"{n} of 20")
                await asyncio.sleep(takes / 10)
        await asyncio.sleep(takes)
        return ToolOutput("x" * (2_000_000 if kind == "huge" else 20), failed=kind == "refuses")

    return work


def script(rng: random.Random, names: list[str]):
    out: list = []
    for _ in range(rng.randint(0, 5)):
        pick = rng.random()
        if pick < 0.25:
            out += says("words " * rng.randint(1, 3))
        elif pick < 0.4:
            out.append(rng.choice([0.0, 0.05, 4.0]))
        elif pick < 0.45:
            out.append(UpstreamError("the host closed the answer before its end", code="upstream_cut"))
        else:
            raw = rng.choice([None, None, None, "{", "[]", '{"city": 1}'])
            out.append(calls(rng.choice([*names, "nobody"]), rng.choice(["c1", "c2", "c3"]), raw=raw))
    return out


async def world(seed: int) -> str:
    rng = random.Random(seed)
    effects: Counter[str] = Counter()
    names = ["a", "b", "c"][: rng.randint(1, 3)]
    tools = [
        Played(
            name,
            behaviour(rng, effects),
            timeout=5.0,
            idempotent=rng.random() < 0.5,
            retries=2,
            result_bytes=1_000_000,
        )
        for name in names
    ]
    model = Model(*(script(rng, names) for _ in range(rng.randint(1, 4))), says("Done."))
    stage = Stage(model, *tools, rounds=3, parallel=rng.randint(1, 4), calls=8, heartbeat=rng.choice([0.5, 10.0]))
    before = asyncio.all_tasks()
    playing = asyncio.ensure_future(stage.play())
    if rng.random() < 0.4:
        await asyncio.sleep(rng.choice([0.0, 0.01, 0.12, 3.05, 6.0, 20.0]))
        playing.cancel()
    try:
        await playing
        outcome = "whole"
    except asyncio.CancelledError:
        outcome = "cancelled"
    except TidewireError as error:
        outcome = error.kind
    told = len(stage.cup.events)
    assert all(tool.running == 0 for tool in tools)
    assert asyncio.all_tasks() - before <= {playing}
    await asyncio.sleep(60.0)
    assert len(stage.cup.events) == told  # nobody speaks after the end
    assert all(count <= 1 for count in effects.values())
    assert len(effects) <= 8
    return outcome


@pytest.mark.parametrize("block", range(4))
def test_nothing_is_lost_doubled_or_left_over_whatever_tools_models_and_people_do(block) -> None:
    outcomes: Counter[str] = Counter()
    for seed in SEEDS[block::4]:
        try:
            outcomes[virtually(world(seed))] += 1
        except BaseException as error:
            raise AssertionError(f"seed {seed}") from error
    assert outcomes["whole"] > 20
    assert outcomes["cancelled"] > 5
    assert outcomes["upstream_cut"] > 5


def test_cancelled_at_every_turn_it_leaves_nothing_running_and_makes_no_call_twice() -> None:
    """Cancelled one turn of the event loop later each time, until it is over before that."""

    async def played(turns: int) -> bool:
        tool = Played(takes=0.0, idempotent=True)
        stage = Stage(Model([*says("a"), calls("weather", "c1"), calls("weather", "c2")], says("b")), tool, parallel=1)
        playing = asyncio.ensure_future(stage.play())
        for _ in range(turns):
            await asyncio.sleep(0)
        over = not playing.cancel()
        await asyncio.wait({playing})
        assert tool.running == 0
        assert max(Counter(tool.begun).values(), default=1) == 1
        assert asyncio.all_tasks() == {asyncio.current_task()}
        return over

    turns = 0
    while not virtually(played(turns)):
        turns += 1
    assert turns > 10
