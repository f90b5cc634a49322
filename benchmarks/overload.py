"""What is left of a server that is asked three times what it can do.

    python benchmarks/overload.py [--seconds 5] [--no-rt] [--no-gate]

Arrivals at growing rates, whatever the server does (an open loop), until fewer streams a second are
completed than before; then three times the rate of the best. Streams have 50 tokens, 10 ms apart, the first after 20 ms. A row
says: arrivals a second, streams completed a second, refused, lost, p95 of the first token of accepted streams, p95 and p99 of
refusals, in milliseconds from the planned arrival. Exits 1 when a bar is missed: at three times, 90 % of the peak's streams, at most
double its p95, and refusals (p95) in under 20 ms.
"""

from __future__ import annotations

import argparse
import sys
from typing import Any

from relay.gateways import Gateway, gateway
from relay.machine import Cores
from relay.tools import Tools, Unavailable, build, load, upstream

RATES = (200, 300, 400, 500, 600, 800)  # arrivals a second
STREAM = "--tokens 50 --interval-us 10000 --ttft-us 20000"
LASTS = 0.52  # seconds, of a stream: what is completed later than the last arrival and this came too late to be good
GOODPUT, SLOWER, SHED_MS = 0.9, 2.0, 20.0

Row = dict[str, Any]


def measured(running: Gateway, tools: Tools, cores: Cores, rate: int, seconds: int) -> Row:
    arguments = f"{STREAM} --rate {rate} -c 8000 --duration {seconds} --max-s {seconds + 10}"
    got = load(tools, cores, running.url, arguments)
    return {
        "rate": rate,
        "good": got["completed"] / max(seconds, got["wall_s"] - LASTS),
        "refused": got["refused_ms"]["n"],
        "lost": got["failed"] - got["refused_ms"]["n"] + got["truncated"] + got["unfinished"] + got["wrong_order"],
        "ttft": got["ttft_ms"]["p95"],
        "shed": got["refused_ms"]["p95"],
        "shed_p99": got["refused_ms"]["p99"],
        "tools": got["client_cpu_share"],
    }


def shown(row: Row) -> None:
    print(
        f"{row['rate']:6} /s  good {row['good']:7.1f} /s  refused {row['refused']:6}  lost {row['lost']:5}  "
        f"ttft p95 {row['ttft']:8.1f}  shed p95 {row['shed']:7.1f} p99 {row['shed_p99']:7.1f}  load tool {row['tools']:.0%}",
        flush=True,
    )


def one(tools: Tools, cores: Cores, seconds: int) -> bool:
    """Whether every bar was met."""
    peak: Row | None = None
    with upstream(tools, cores) as host:
        for rate in RATES:
            with gateway("tidewire", tools, cores, host) as running:
                row = measured(running, tools, cores, rate, seconds)
            shown(row)
            if peak is not None and row["good"] < peak["good"]:
                break
            peak = row
        assert peak is not None
        with gateway("tidewire", tools, cores, host) as running:
            over = measured(running, tools, cores, 3 * peak["rate"], seconds)
        shown(over)
    share, slower = over["good"] / peak["good"], over["ttft"] / peak["ttft"]
    print(f"at three times the peak's rate: {share:.0%} of its streams, p95 of the first token x {slower:.1f}")
    return share >= GOODPUT and slower <= SLOWER and over["shed"] < SHED_MS and not over["lost"]


def main() -> int:
    given = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    given.add_argument("--seconds", type=int, default=5)
    given.add_argument("--no-rt", action="store_true", help="no real-time priority, even where it is permitted")
    given.add_argument("--no-gate", action="store_true", help="exit 0 also when a bar is missed")
    args = given.parse_args()
    try:
        tools = build()
    except Unavailable as missing:
        print(missing, file=sys.stderr)
        return 2
    cores = Cores.find(realtime=not args.no_rt)
    print(cores)
    met = one(tools, cores, args.seconds)
    return 0 if met or args.no_gate else 1


if __name__ == "__main__":
    sys.exit(main())
