"""Rows as Markdown tables: the bars, then every scenario with all that was measured beside ours."""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence
from typing import Any

from relay.bars import Row, Verdict, judge
from relay.scenarios import SCENARIOS

COLUMNS = {
    "S1-1": ("ttft_p50", "ttft_p99", "us_per_request", "lost", "other_cpu_share"),
    "S1-max": ("req_per_s", "ttft_p50", "ttft_p99", "us_per_request", "cpu_share", "lost", "other_cpu_share"),
    "S2-500": (
        "tokens_per_s", "ttft_p50", "ttft_p99", "delay_p50", "delay_p95", "delay_p99", "us_per_token", "cpu_share",
        "kb_per_stream", "idle_mb", "refused", "lost", "other_cpu_share",
    ),
    "S2-1000": (
        "tokens_per_s", "ttft_p50", "ttft_p99", "delay_p50", "delay_p95", "delay_p99", "us_per_token", "cpu_share",
        "completed", "refused", "refused_p50", "refused_p99", "lost", "other_cpu_share",
    ),
    "S3": ("tokens_per_s", "us_per_token", "cpu_share", "client_cpu_share", "upstream_cpu_share", "lost", "other_cpu_share"),
    "S4-200": (
        "client_aborts", "host_aborts", "abort_p50", "abort_p99", "wasted_tokens", "active_after", "sockets_before",
        "sockets_after", "lost", "other_cpu_share",
    ),
}  # fmt: skip
COLUMNS["S4-prefill"] = COLUMNS["S4-200"]

MACHINE = {
    "cpu": "CPU", "cores": "cores", "memory_gb": "memory, GB", "kernel": "Linux", "python": "Python", "uvloop": "uvloop",
    "nginx": "nginx", "scheduling": "scheduling", "commit": "commit", "date": "date", "rounds": "rounds",
}  # fmt: skip


def number(value: float | None) -> str:
    if value is None:
        return "-"
    return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.3g}"


def table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines) + "\n"


def machine(context: Mapping[str, Any]) -> str:
    return "; ".join(f"{says} {context[name]}" for name, says in MACHINE.items() if name in context) + ".\n"


def verdicts(found: Sequence[Verdict]) -> str:
    return table(
        ("scenario", "bar", "limit", "figure", "rounds, min to max", "met"), [_verdict(verdict) for verdict in found]
    )


def _verdict(verdict: Verdict) -> tuple[str, ...]:
    bar = verdict.bar
    unit = f" {bar.unit}" if bar.unit else ""
    if bar.limit == 0:
        limit = "none"
    else:
        limit = f"{'≤' if bar.most else '≥'} {number(bar.limit)}{unit}" + (f" ({bar.aim})" if bar.aim else "")
    met = {True: "met", False: "**missed**", None: "-"}[verdict.met]
    if verdict.figure is None:
        return bar.scenario, bar.says, limit, (verdict.why.splitlines() or [""])[0], "", met
    spread = f"{number(min(verdict.figures))} to {number(max(verdict.figures))}"
    return bar.scenario, bar.says, limit, f"{number(verdict.figure)}{unit}", spread, met


def scenario(name: str, rows: Sequence[Row]) -> str:
    """The median of each column for each peer; the spread where it is a figure that a bar is set on."""
    columns = COLUMNS[name]
    peers = list(dict.fromkeys(row["peer"] for row in rows if row["scenario"] == name and "error" not in row))
    body = []
    for peer in peers:
        own = [row for row in rows if row["peer"] == peer and row["scenario"] == name and "error" not in row]
        body.append((peer, str(len(own)), *(_median(own, column) for column in columns)))
    errors = [
        f"\n{row['peer']}: {row['error'].splitlines()[0]}\n"
        for row in rows
        if row["scenario"] == name and "error" in row
    ]
    title = f"#### {name}: {SCENARIOS[name].says}\n\n"
    return title + table(("", "rounds", *columns), body) + "".join(dict.fromkeys(errors))


def _median(rows: Sequence[Row], column: str) -> str:
    values = [row[column] for row in rows if row.get(column) is not None]
    return number(statistics.median(values)) if values else "-"


def noise(rows: Sequence[Row]) -> str:
    shares = [row["other_cpu_share"] for row in rows if "error" not in row]
    if not shares:
        return ""
    return (
        f"Other work on the machine meanwhile: {statistics.median(shares):.2f} of a core in the median, "
        f"{max(shares):.2f} at most.\n"
    )


def report(context: Mapping[str, Any], rows: Sequence[Row]) -> str:
    names = [name for name in SCENARIOS if any(row["scenario"] == name for row in rows)]
    found = [verdict for verdict in judge(rows) if verdict.bar.scenario in names]
    parts = [machine(context), noise(rows), verdicts(found), *(scenario(name, rows) for name in names)]
    return "\n".join(part for part in parts if part)


def missed(rows: Sequence[Row]) -> list[Verdict]:
    return [verdict for verdict in judge(rows) if verdict.met is False]
