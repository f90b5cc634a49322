"""Everything that benchmarks/README.md promises, measured: `make bench`.

    python benchmarks/run.py [--rounds 3] [--only relay] [--scenario S2-500,S3] [--peer tidewire,nginx] [--no-gate] [--write]

Rounds are interleaved: each scenario is run with one peer after the other before the next one, each time with a gateway that was
started afresh. Exits 1 when a bar is missed, 2 when nothing could be measured. --write records the results in
benchmarks/results and makes the tables of benchmarks/README.md from them; without it they go to build/benchmarks. --page
makes the tables again and measures nothing.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from relay import page, tables
from relay.gateways import PEERS, gateway
from relay.machine import ROOT, Cores, facts
from relay.scenarios import DIRECT, SCENARIOS, Row, measure
from relay.tools import BUILD, Tools, Unavailable, Upstream, build, upstream

PROGRAMS = ("cancel", "backpressure", "dialects")  # what else is measured, by programs of its own


def arguments() -> argparse.Namespace:
    given = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    given.add_argument("--rounds", type=int, default=int(os.environ.get("ROUNDS") or 3))
    given.add_argument("--only", type=names(("relay", *PROGRAMS)), default=["relay", *PROGRAMS], metavar="PART,...")
    given.add_argument("--scenario", type=names(tuple(SCENARIOS)), default=list(SCENARIOS), metavar="NAME,...")
    given.add_argument("--peer", type=names(PEERS), default=list(PEERS), metavar="NAME,...")
    given.add_argument("--no-gate", action="store_true", help="exit 0 also when a bar is missed")
    given.add_argument("--no-rt", action="store_true", help="no real-time priority, even where it is permitted")
    given.add_argument("--write", action="store_true", help="record the results, and make the page's tables from them")
    given.add_argument("--page", action="store_true", help="only make the page's tables again")
    return given.parse_args()


def names(known: tuple[str, ...]) -> Callable[[str], list[str]]:
    def parse(text: str) -> list[str]:
        chosen = text.split(",")
        unknown = [name for name in chosen if name not in known]
        if unknown:
            raise argparse.ArgumentTypeError(f"{unknown[0]!r} is none of {', '.join(known)}")
        return chosen

    return parse


def relay(args: argparse.Namespace, tools: Tools, cores: Cores) -> list[Row]:
    rows: list[Row] = []
    with upstream(tools, cores) as host:
        for turn in range(1, args.rounds + 1):
            for scenario in args.scenario:
                for peer in args.peer:
                    if peer == "direct" and scenario not in DIRECT:
                        continue
                    row = {"round": turn} | one(scenario, peer, tools, cores, host)
                    rows.append(row)
                    print(line(row), file=sys.stderr, flush=True)
    return rows


def one(scenario: str, peer: str, tools: Tools, cores: Cores, host: Upstream) -> Row:
    try:
        host.drained()
        with gateway(peer, tools, cores, host) as running:
            return measure(scenario, running, tools, cores, host)
    except (Unavailable, RuntimeError) as error:  # the others are still worth measuring
        return {"peer": peer, "scenario": scenario, "error": str(error)}


def line(row: Row) -> str:
    head = f"round {row['round']}  {row['scenario']:<10} {row['peer']:<18}"
    if "error" in row:
        return f"{head} {row['error']}"
    shown = ("req_per_s", "tokens_per_s", "ttft_p50", "delay_p99", "us_per_token", "lost", "refused", "other_cpu_share")
    return head + "  ".join(f"{name} {tables.number(row[name])}" for name in shown if row.get(name) is not None)


def program(name: str, context: dict[str, Any], folder: Path) -> bool:
    """Run it, show what it prints as it comes, and keep that."""
    print(f"\n== {name}", flush=True)
    began = time.monotonic()
    said = []
    command = [sys.executable, str(ROOT / "benchmarks" / f"{name}.py")]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True) as process:
        assert process.stdout is not None
        for text in process.stdout:
            print(text, end="", flush=True)
            said.append(text)
    seconds = round(time.monotonic() - began, 1)
    result = {"context": context, "seconds": seconds, "exit": process.returncode, "text": "".join(said)}
    page.save(folder / f"{name}.json", result)
    return process.returncode == 0


def main() -> int:
    args = arguments()
    if args.page:
        page.write()
        return 0
    cores = Cores.find(realtime=not args.no_rt)
    context = facts(cores)
    folder = page.RESULTS if args.write else BUILD / "results"
    wrong: list[str] = []
    if "relay" in args.only:
        try:
            tools = build()
        except Unavailable as lacking:
            print(lacking, file=sys.stderr)
            return 2
        print(f"{context['cpu']}; {context['scheduling']}", file=sys.stderr)
        rows = relay(args, tools, cores)
        context_of_rounds = context | {"rounds": args.rounds}
        page.save_rows(folder / "relay.jsonl", context_of_rounds, rows)
        print(tables.report(context_of_rounds, rows))
        wrong += [f"{verdict.bar.scenario}: {verdict.bar.says}" for verdict in tables.missed(rows)]
    wrong += [f"{name}: see above" for name in PROGRAMS if name in args.only and not program(name, context, folder)]
    if args.write:
        page.write()
    print(f"\nResults are in {folder.relative_to(ROOT)}.")
    print("missed:\n" + "\n".join(f"  {text}" for text in wrong) if wrong else "All bars that were measured are met.")
    return 1 if wrong and not args.no_gate else 0


if __name__ == "__main__":
    with contextlib.suppress(KeyboardInterrupt):
        sys.exit(main())
    sys.exit(130)
