from __future__ import annotations

import asyncio

import async_solipsism
import pytest

from tidewire.telemetry.looplag import LoopLag


class Blocked(async_solipsism.EventLoop):
    """Virtual time that can be spent without yielding, as a long callback does."""

    def __init__(self) -> None:
        super().__init__()
        self.lost = 0.0

    def time(self) -> float:
        return super().time() + self.lost


@pytest.fixture
def loop():
    loop = Blocked()
    yield loop
    loop.close()


def test_an_idle_loop_is_on_time(loop):
    readings: list[float] = []
    lag = LoopLag(readings.append, interval=0.05)

    async def main() -> None:
        lag.start()
        await asyncio.sleep(0.5)
        lag.stop()

    loop.run_until_complete(main())
    assert len(readings) in (9, 10)
    assert max(readings) == pytest.approx(0.0, abs=1e-6)


def test_one_long_callback_is_seen_but_is_no_overload(loop):
    readings: list[float] = []
    lag = LoopLag(readings.append, interval=0.05)

    async def main() -> None:
        lag.start()
        await asyncio.sleep(0.11)
        loop.lost += 0.4
        await asyncio.sleep(0.2)
        assert lag.seconds == pytest.approx(0.0, abs=1e-6)
        lag.stop()

    loop.run_until_complete(main())
    assert max(readings) == pytest.approx(0.36, abs=0.01)


def test_lateness_that_goes_on_is_overload(loop):
    lag = LoopLag(lambda late: None, interval=0.05)

    async def main() -> None:
        lag.start()
        for _ in range(4):
            await asyncio.sleep(0.049)
            loop.lost += 0.3
        await asyncio.sleep(0)
        assert lag.seconds > 0.2
        lag.stop()

    loop.run_until_complete(main())
