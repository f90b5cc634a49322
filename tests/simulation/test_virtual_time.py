"""The loop that worlds live in."""

from __future__ import annotations

import asyncio

import pytest

from virtual_time import Hang, VirtualLoop


def test_time_passes_only_when_everything_waits_and_what_is_due_at_once_keeps_its_order():
    seen = []

    async def waits(name, seconds):
        await asyncio.sleep(seconds)
        seen.append((name, asyncio.get_running_loop().time()))

    async def all_of_them():
        await asyncio.gather(waits("a", 3.0), waits("b", 0.5), waits("c", 3.0), waits("d", 0.0))

    VirtualLoop().live(all_of_them())
    assert seen == [("d", 0.0), ("b", 0.5), ("a", 3.0), ("c", 3.0)]


def test_a_time_limit_comes_in_time_and_one_that_was_called_off_does_not():
    async def slow():
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(2.0):
                await asyncio.sleep(10.0)
        async with asyncio.timeout(1.0):
            await asyncio.sleep(0.5)
        await asyncio.sleep(60.0)
        return asyncio.get_running_loop().time()

    assert VirtualLoop().live(slow()) == 62.5


def test_what_would_wait_forever_is_told():
    async def waits():
        await asyncio.get_running_loop().create_future()

    with pytest.raises(Hang):
        VirtualLoop().live(waits())


def test_what_goes_wrong_behind_everybody_is_kept():
    async def breaks():
        asyncio.get_running_loop().call_soon(int, "no number")
        await asyncio.sleep(1.0)

    loop = VirtualLoop()
    loop.live(breaks())
    assert [type(complaint["exception"]) for complaint in loop.complaints] == [ValueError]
