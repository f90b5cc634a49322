"""The load tools and what is made of their figures. No figure is judged here: that is for `make bench`."""

from __future__ import annotations

import pytest
from relay import page, tables
from relay.bars import BARS, judge
from relay.gateways import gateway
from relay.machine import Cores
from relay.scenarios import SCENARIOS
from relay.tools import Unavailable, build, load, upstream


@pytest.fixture(scope="module")
def tools(tmp_path_factory):
    try:
        return build(tmp_path_factory.mktemp("tools"))
    except Unavailable as lacking:
        pytest.skip(str(lacking))


@pytest.mark.slow
def test_twenty_streams_come_through_whole_and_in_order(tools):
    cores = Cores.find(realtime=False)
    with upstream(tools, cores) as host, gateway("tidewire", tools, cores, host) as tidewire:
        host.get("/reset")
        got = load(tools, cores, tidewire.url, "-c 20 -n 20 --tokens 50 --interval-us 20000 --duration 5 --max-s 20")
        assert host.drained()
        sent = host.get("/stats")["tokens_sent"]
    assert got["completed"] == 20, got["first_error"]
    assert (got["failed"], got["truncated"], got["unfinished"], got["wrong_order"]) == (0, 0, 0, 0)
    assert got["tokens"] == sent == 20 * 50
    assert got["refused_ms"]["n"] == 0


def test_a_missing_compiler_is_said(monkeypatch, tmp_path):
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(Unavailable, match=r"C compiler|Linux only"):
        build(tmp_path)


def row(peer, scenario, turn=1, **figures):
    usual = {
        "ttft_p50": 5.0, "req_per_s": 100.0, "tokens_per_s": 1000.0, "us_per_token": 10.0, "delay_p99": 1.0,
        "kb_per_stream": 40.0, "idle_mb": 50.0, "lost": 0, "refused": 0, "refused_p99": 0.0, "completed": 1000, "unseen": 0,
        "abort_p99": 1.0, "wasted_tokens": 0, "other_cpu_share": 0.1,
    }  # fmt: skip
    return {"round": turn, "peer": peer, "scenario": scenario} | usual | figures


def verdict(rows, says, scenario):
    return next(v for v in judge(rows) if v.bar.scenario == scenario and v.bar.says.startswith(says))


def test_the_median_of_the_rounds_is_judged_and_each_round_is_a_ratio_of_its_own():
    rows = [row("nginx", "S2-500", turn, us_per_token=nginx) for turn, nginx in ((1, 10), (2, 10), (3, 20))]
    rows += [row("tidewire", "S2-500", turn, us_per_token=ours) for turn, ours in ((1, 17), (2, 90), (3, 30))]
    found = verdict(rows, "CPU a token", "S2-500")
    assert found.figures == (1.7, 9.0, 1.5)
    assert (found.figure, found.met) == (1.7, True)


def test_a_single_lost_stream_in_any_round_misses_the_bar():
    rows = [row("tidewire", "S2-1000", turn, lost=turn == 2) for turn in (1, 2, 3)]
    assert verdict(rows, "streams failed", "S2-1000").met is False


def test_without_nginx_its_ratios_are_not_judged_and_the_rest_is():
    rows = [row("tidewire", "S2-500"), {"round": 1, "peer": "nginx", "scenario": "S2-500", "error": "not installed"}]
    ratio = verdict(rows, "CPU a token", "S2-500")
    assert (ratio.met, ratio.why) == (None, "not measured: nginx")
    assert verdict(rows, "delay of a token", "S2-500").met is True


def test_a_server_that_does_not_start_misses_its_bars():
    rows = [{"round": 1, "peer": "tidewire", "scenario": "S3", "error": "it ended with 1"}]
    assert verdict(rows, "streams failed", "S3").met is False


def test_few_refused_late_or_most_refused_at_once_both_miss():
    late = [row("tidewire", "S2-1000", refused=10, refused_p99=300.0, completed=990)]
    assert verdict(late, "time to a refusal", "S2-1000").met is False
    most = [row("tidewire", "S2-1000", refused=900, refused_p99=1.0, completed=100)]
    assert verdict(most, "streams accepted", "S2-1000").met is False


def test_every_bar_is_set_on_a_scenario_that_is_run():
    assert {bar.scenario for bar in BARS} == set(SCENARIOS)
    report = tables.report({"cpu": "a"}, [row(p, s) for s in SCENARIOS for p in ("tidewire", "nginx", "direct")])
    assert all(bar.says in report for bar in BARS)


def test_the_tables_of_the_page_are_those_of_the_recorded_results():
    text = page.PAGE.read_text(encoding="utf-8")
    assert page.rendered(text) == text, "benchmarks/README.md was edited by hand: python benchmarks/run.py --page"
    assert all(f"<!-- {name}: generated -->" in text for name in page.SECTIONS)
