"""The table of arranged answers is of the routes as they run, the same for the same seed, and drawn as it is written."""

from __future__ import annotations

import asyncio
import xml.etree.ElementTree as ET

import arranging
import async_solipsism
import pytest


def measured(name, requests=600, seed=1):
    with asyncio.Runner(loop_factory=async_solipsism.EventLoop) as runner:
        return runner.run(arranging.measure(name, arranging.PLANS[name], requests, seed))


def test_a_seed_gives_the_same_figures():
    assert measured("fallback") == measured("fallback")


@pytest.mark.parametrize("name", arranging.PLANS)
def test_no_mechanism_asks_more_than_its_budget(name):
    row = measured(name)
    plan = arranging.PLANS[name] or {}
    again = 0.2 if plan and plan.get("fallbacks", 2) else 0.0
    assert row.requests <= row.asked <= row.requests * (1 + plan.get("hedge_share", 0.0) + again)
    assert len(row.ttft) >= row.whole > 0.9 * row.requests


def test_falling_back_saves_answers_and_hedging_saves_time():
    alone, fallback, hedge = (measured(name, 3000) for name in ("one host", "fallback", "hedge of 10 %"))
    assert fallback.whole > alone.whole
    assert hedge.at(0.95) < alone.at(0.95)


def test_the_picture_is_an_svg_with_every_mechanism():
    rows = [measured(name, 50) for name in arranging.PLANS]
    drawn = ET.fromstring(arranging.picture(rows))
    texts = {e.text for e in drawn.iter("{http://www.w3.org/2000/svg}text")}
    assert texts >= set(arranging.PLANS)


def test_kept_and_shared_answers_spare_calls_and_time():
    with asyncio.Runner(loop_factory=async_solipsism.EventLoop) as runner:
        plain, shared, kept = [
            runner.run(arranging.measure(name, None, 600, 1, wrapped))
            for name, wrapped in (("one host", ()), ("coalesce", ("coalesce",)), ("cache", ("cache",)))
        ]
    assert kept.asked < shared.asked < plain.asked == 600
    assert kept.tokens < plain.tokens
    assert kept.at(0.5) < plain.at(0.5)
    assert kept.whole > plain.whole
