"""What is promised, and whether it was met: one bar a line, judged over all rounds."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

OURS, YARDSTICK, FLOOR = "tidewire", "nginx", "direct"
AT_ONCE = 20.0  # ms: a refusal is at once when it comes within one token's interval, as slow as the server may be then

Row = Mapping[str, Any]
Peers = Mapping[str, Row]  # the rows of one scenario in one round, by peer


@dataclass(frozen=True)
class Bar:
    """figure: of one round, None where it does not apply. worst: the worst round counts, not the median. most: limit from above."""

    says: str
    scenario: str
    limit: float
    figure: Callable[[Peers], float | None]
    peers: tuple[str, ...] = (OURS,)
    unit: str = ""
    most: bool = True
    worst: bool = False
    aim: str = ""


def _own(name: str) -> Callable[[Peers], float | None]:
    return lambda peers: peers[OURS][name]


def _ratio(name: str) -> Callable[[Peers], float | None]:
    return lambda peers: peers[OURS][name] / max(peers[YARDSTICK][name], 1e-9)


def _refusal(peers: Peers) -> float | None:
    return peers[OURS]["refused_p99"] if peers[OURS]["refused"] else None


def _lost(scenario: str) -> Bar:
    return Bar("streams failed, cut short or out of order", scenario, 0, _own("lost"), worst=True)


def _cancel(scenario: str) -> tuple[Bar, ...]:
    return (
        Bar("cancelled by the client, not seen by the host", scenario, 0, _own("unseen"), worst=True),
        Bar("client's close to the host's closed socket, p99", scenario, 5, _own("abort_p99"), unit="ms"),
        Bar("tokens sent by the host and read by nobody", scenario, 0, _own("wasted_tokens"), worst=True),
    )


BOTH = (OURS, YARDSTICK)
BARS = (
    Bar("added time to the first token, p50", "S1-1", 0.35,
        lambda peers: peers[OURS]["ttft_p50"] - peers[FLOOR]["ttft_p50"], (OURS, FLOOR), unit="ms"),
    Bar("short streams a second, share of nginx's", "S1-max", 0.6, _ratio("req_per_s"), BOTH, most=False),
    _lost("S1-max"),
    Bar("CPU a token, times nginx's", "S2-500", 1.8, _ratio("us_per_token"), BOTH, aim="aim 1.5"),
    Bar("delay of a token, p99, the tools' own included", "S2-500", 1.5, _own("delay_p99"), unit="ms"),
    Bar("memory a stream with its 300 events", "S2-500", 80, _own("kb_per_stream"), unit="KB"),
    Bar("memory before the first load", "S2-500", 100, _own("idle_mb"), unit="MB"),
    Bar("streams refused", "S2-500", 0, _own("refused"), worst=True),
    _lost("S2-500"),
    _lost("S2-1000"),
    Bar("delay of a token of those accepted, p99", "S2-1000", 5, _own("delay_p99"), unit="ms"),
    Bar("streams accepted", "S2-1000", 500, _own("completed"), most=False, worst=True),
    Bar("time to a refusal (429), p99", "S2-1000", AT_ONCE, _refusal, unit="ms"),
    Bar("tokens a second, share of nginx's", "S3", 0.35, _ratio("tokens_per_s"), BOTH, most=False),
    _lost("S3"),
    *_cancel("S4-200"),
    *_cancel("S4-prefill"),
)  # fmt: skip


@dataclass(frozen=True)
class Verdict:
    """figures: one a round. met: None where nothing was measured, or it does not apply."""

    bar: Bar
    figures: tuple[float, ...]
    figure: float | None
    met: bool | None
    why: str = ""


def judge(rows: Sequence[Row]) -> list[Verdict]:
    rounds: dict[tuple[int, str], dict[str, Row]] = {}
    for row in rows:
        if "error" not in row:
            rounds.setdefault((row["round"], row["scenario"]), {})[row["peer"]] = row
    failed = {(row["peer"], row["scenario"]): row["error"] for row in rows if "error" in row}
    return [_verdict(bar, [p for (_, s), p in sorted(rounds.items()) if s == bar.scenario], failed) for bar in BARS]


def _verdict(bar: Bar, rounds: Sequence[Peers], failed: Mapping[tuple[str, str], str]) -> Verdict:
    broken = next(
        (failed[OURS, bar.scenario] for peer in bar.peers if peer == OURS and (OURS, bar.scenario) in failed), ""
    )
    if broken:
        return Verdict(bar, (), None, met=False, why=broken)
    whole = [peers for peers in rounds if all(peer in peers for peer in bar.peers)]
    if not whole:
        lacking = ", ".join(peer for peer in bar.peers if not any(peer in peers for peers in rounds))
        return Verdict(bar, (), None, met=None, why=f"not measured: {lacking}")
    figures = tuple(figure for peers in whole if (figure := bar.figure(peers)) is not None)
    if not figures:
        return Verdict(bar, (), None, met=None, why="nothing to measure")
    worst = max if bar.most else min
    figure = worst(figures) if bar.worst else statistics.median(figures)
    return Verdict(bar, figures, figure, met=figure <= bar.limit if bar.most else figure >= bar.limit)
