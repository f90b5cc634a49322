"""What the settings of [cache] come to."""

from __future__ import annotations

import pytest

from tidewire.cache.answers import Cached
from tidewire.cache.flight import Shared
from tidewire.core.errors import SettingsError
from tidewire.core.events import Attempt, Usage
from tidewire.routing.table import Candidate, Plan
from tidewire.server.cache_settings import Cache
from tidewire.server.caching import Caching
from tidewire.server.settings import Limits, Provider, Settings
from tidewire.telemetry.metrics import Metrics
from tidewire.toolbox.runner import Runner
from workshop import Acts, question, silence

ALL = Cache(answers="all", coalesce=True)


def caching(settings=None, tables=({}, {}), **more):
    held = [tables]
    made = Caching(settings or Settings(cache=ALL), tables=lambda: held[0], meter=Metrics(), **more)
    return made, held


def basis(made):
    return made._basis("h", question())


def test_what_shapes_answers_is_part_of_the_key_and_the_rest_is_not():
    plain = basis(caching()[0])
    assert basis(caching(Settings(cache=ALL, limits=Limits(streams=5)))[0]) == plain
    assert basis(caching(Settings(cache=ALL, providers={"p": Provider(base_url="http://x/v1")}))[0]) != plain
    made, held = caching()
    held[0] = ({"r": Plan(candidates=[Candidate(model="m")])}, {})
    assert basis(made) != plain
    held[0] = ({}, {})
    assert basis(made) == plain


def test_a_price_is_known_where_a_route_says_it():
    plans = {"r": Plan(candidates=[Candidate(model="far/m", price_in=1.0, price_out=2.0)])}
    made, _ = caching(tables=(plans, {}))
    usage = Usage(counted_by="host", input=1_000_000, output=500_000)
    for provider, model, usd in (("far", "m", 2.0), ("far", "far/m", 2.0), ("near", "m", 0.0)):
        assert made._price(Attempt(n=1, provider=provider, model=model, reason="start"), usage) == usd


def test_nothing_is_shared_where_the_server_runs_tools():
    made, _ = caching()
    plain = Acts(silence)
    kept = made.around(plain, "m")
    assert isinstance(kept, Cached)
    assert isinstance(kept._inner, Shared)
    tools = Runner(plain, lambda request: {}, None, None)
    kept = made.around(tools, "m")
    assert kept._inner is tools
    assert (kept._answerer, made.around(tools, "alias")._answerer) == ("acts/m", "acts/alias")


def test_without_settings_nothing_is_put_around():
    plain = Acts(silence)
    assert caching(Settings())[0].around(plain, "m") is plain


@pytest.mark.parametrize("given", [Cache(semantic=True, answers="all"), Cache(semantic=True)])
def test_a_semantic_cache_says_what_it_lacks(given):
    encoder = None if given.answers == "all" else object()
    with pytest.raises(SettingsError, match=r"cache\.semantic") as told:
        caching(Settings(cache=given), encoder=encoder)
    assert told.value.param == "cache.semantic"
