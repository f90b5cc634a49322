"""The pipeline without sockets carries every token, and its profile names our modules."""

from __future__ import annotations

import hotspots
import pipeline


async def test_every_token_comes_out_at_the_other_end():
    assert await pipeline.whole(3, 90) > 0
    assert all(took > 0 for _, took in await pipeline.parts(90))


def test_the_profile_names_our_modules():
    stacks = "run (/x/lib/python3.11/asyncio/runners.py:9);wake (/x/src/tidewire/doors/pump.py:99) 3\nrun (/x/lib/python3.11/asyncio/runners.py:9) 1\n"
    counted = hotspots.leaves(stacks)
    assert counted == {("tidewire/doors/pump.py", "wake"): 3, (hotspots.LOOP, "run"): 1}
    assert "tidewire/doors/pump.py" in hotspots.told(counted, 10.0, "")
