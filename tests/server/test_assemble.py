"""Settings in, a house out: what they choose is what runs."""

from __future__ import annotations

import pytest

from tidewire.core.request import Message, Request, Text
from tidewire.server.assemble import house
from tidewire.server.settings import Limits, Log, Models, Provider, Settings


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
