"""Settings in, a house out: what they choose is what runs."""

from __future__ import annotations

import pytest

from tidewire.core.events import Notice
from tidewire.core.request import Message, Request, Text
from tidewire.server.assemble import house
from tidewire.server.settings import Context, Limits, Log, Models, Provider, Settings
from workshop import read


@pytest.mark.parametrize("durability", ["memory", "process", "disk"])
async def test_the_durability_asked_for_is_the_one_that_streams_have(tmp_path, durability):
    settings = Settings(
        data=str(tmp_path),
        log=Log(durability=durability),
        limits=Limits(busy=10.0),
        models=Models(discover=False),
        providers={"simulated": Provider(kind="simulated")},
    )
    async with house(settings, own_port=0) as parts:
        asked = Request(model="simulated", messages=[Message(role="user", content=[Text("Hello")])])
        meta = await parts.desk.start(asked)
        assert meta.durability == durability
        await parts.desk.cancel(meta.tenant, meta.stream)
    assert settings.log_path.exists() == (durability != "memory")


async def test_a_budget_of_tokens_is_kept_before_the_host_is_asked(tmp_path):
    settings = Settings(
        data=str(tmp_path),
        log=Log(durability="memory"),
        limits=Limits(busy=10.0),
        models=Models(discover=False),
        context=Context(models={"simulated": 2000}),
        providers={"simulated": Provider(kind="simulated")},
    )
    old = [Message(role=role, content=[Text("word " * 500)]) for _ in range(4) for role in ("user", "assistant")]
    async with house(settings, own_port=0) as parts:
        asked = Request(model="simulated", messages=[*old, Message(role="user", content=[Text("Hello")])])
        meta = await parts.desk.start(asked)
        entries = await read(parts.desk, meta.stream)
        assert [e.event.code for e in entries if isinstance(e.event, Notice)] == ["context_pruned"]
