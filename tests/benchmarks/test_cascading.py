"""The table of cascades is of the cascade as it runs, and says what a cascade is for."""

from __future__ import annotations

import asyncio

import async_solipsism
import cascading


def measured(name, requests=300, seed=1):
    with asyncio.Runner(loop_factory=async_solipsism.EventLoop) as runner:
        return runner.run(cascading.measure(name, requests, seed))


def test_a_seed_gives_the_same_figures():
    assert measured("cascade", 50) == measured("cascade", 50)


def test_a_cascade_is_as_soon_as_the_quick_model_and_cheaper_than_the_strong_one():
    quick, strong, both = (measured(n) for n in ("quick model alone", "strong model alone", "cascade"))
    assert both.first[150] < 1.1 * quick.first[150] < strong.first[150]
    assert quick.usd < both.usd < strong.usd
    assert quick.right < both.right < strong.right == 1.0


def test_the_share_is_kept():
    assert 0 < measured("cascade, share 10 %").refined <= 0.1
