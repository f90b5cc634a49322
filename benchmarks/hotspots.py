"""Where the time of one token goes, by module: `make profile`.

    python benchmarks/hotspots.py [--seconds 5] [--in-process] [--write]

With py-spy and the load tools: a running server under S2-500 (500 streams, 50 tokens/s each) is sampled from outside, and each
sample counts for the line of Python that ran, or that had called C (the socket's system calls count for who wrote). Without them, or
with --in-process: cProfile of the pipeline without sockets, whose own cost weighs on small functions, so that only the order is to be
believed. The output says which it was.
"""

from __future__ import annotations

import argparse
import asyncio
import collections
import cProfile
import pstats
import shutil
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Mapping
from pathlib import Path

import pipeline
from relay import page
from relay.gateways import gateway
from relay.machine import Cores, facts
from relay.scenarios import SCENARIOS, Row, measure
from relay.tools import Unavailable, build, upstream

SCENARIO = "S2-500"
RATE = 400  # samples a second
BEGIN = 2.8  # seconds after the row's start: all streams run (1.2 s of rest, 1.5 s of ramp)
SHOWN = 15
LOOP = "the event loop itself, in C: waking, reading, timers"

Shares = Mapping[tuple[str, str], float]  # (module, function): samples or seconds


def sampled(seconds: float, cores: Cores) -> str:
    """Raises Unavailable where it cannot be done here."""
    spy = shutil.which("py-spy", path=str(Path(sys.executable).parent)) or shutil.which("py-spy")
    if spy is None:
        raise Unavailable("py-spy is not installed (pip install py-spy)")
    tools = build()
    with tempfile.TemporaryDirectory() as folder, upstream(tools, cores) as host:
        out = Path(folder) / "stacks"
        with gateway("tidewire", tools, cores, host) as running:
            command = [spy, "record", "--pid", str(running.pid), "--format", "raw", "--output", str(out)]
            command += ["--full-filenames", "--rate", str(RATE), "--duration", f"{seconds:g}", "--nonblocking"]
            spying = Spying(command)
            spying.start()
            row = measure(SCENARIO, running, tools, cores, host)
            spying.join()
        if spying.failed or not out.exists():
            raise Unavailable(f"py-spy could not look into the server: {spying.failed or 'it saw nothing'}")
        stacks = out.read_text(encoding="utf-8")
    return f"{SCENARIOS[SCENARIO].says}, sampled by py-spy\n\n" + told(leaves(stacks), row["us_per_token"], _about(row))


def _about(row: Row) -> str:
    return f"{row['us_per_token']:.1f} us of CPU a token, {row['cpu_share']:.0%} of a core; start and end of streams are in it"


class Spying(threading.Thread):
    """Samples when the streams run."""

    def __init__(self, command: list[str]) -> None:
        super().__init__(daemon=True)
        self._command = command
        self.failed = ""

    def run(self) -> None:
        time.sleep(BEGIN)
        done = subprocess.run(self._command, capture_output=True, text=True, check=False)
        if done.returncode:
            self.failed = (done.stderr.strip().splitlines() or ["no reason given"])[-1]


def leaves(stacks: str) -> Shares:
    """py-spy's stacks, "function (file:line);function (file:line) samples", by their innermost frame."""
    counted: collections.Counter[tuple[str, str]] = collections.Counter()
    for line in stacks.splitlines():
        frames, _, samples = line.rpartition(" ")
        function, _, where = frames.rpartition(";")[2].partition(" (")
        counted[module(where.rpartition(":")[0] or where.rstrip(")")), function] += int(samples)
    return counted


def module(path: str) -> str:
    """Short, and the same on every machine: tidewire/doors/pump.py, uvloop, the standard library's asyncio/events.py."""
    for mark in ("/src/tidewire/", "/site-packages/"):
        if mark in path:
            rest = path.rpartition(mark)[2]
            return f"tidewire/{rest}" if "tidewire" in mark else rest
    if path.endswith("/asyncio/runners.py"):
        return LOOP  # the innermost frame of Python when no callback of ours runs
    if "/lib/python" in path:
        return path.rpartition("/lib/python")[2].partition("/")[2]
    return path.rpartition("/")[2] or "built in"


def profiled(tokens: int) -> str:
    profile = cProfile.Profile()
    profile.enable()
    asyncio.run(pipeline.whole(1, tokens))
    profile.disable()
    counted: collections.Counter[tuple[str, str]] = collections.Counter()
    stats = pstats.Stats(profile).stats  # type: ignore[attr-defined]
    for (path, _, function), (_, _, own, _, _) in stats.items():
        counted[module(path) if path != "~" else "built in", function] += own
    seconds = sum(counted.values())
    return "One stream in process, without sockets, under cProfile\n\n" + told(
        counted, seconds * 1e6 / tokens, "the profiler's own cost is in it"
    )


def told(counted: Shares, us_per_token: float, about: str) -> str:
    whole = sum(counted.values()) or 1
    modules: collections.Counter[str] = collections.Counter()
    for (name, _), share in counted.items():
        modules[name] += share  # type: ignore[assignment]
    functions = {f"{name}: {function}": share for (name, function), share in counted.items()}
    lines = [about, ""]
    for title, shares in (("module", modules), ("function", functions)):
        lines.append(f"{title:<72}{'share':>8}{'us a token':>12}")
        ranked = sorted(shares.items(), key=lambda item: -item[1])[:SHOWN]
        lines += [f"{name:<72}{share / whole:>8.1%}{share / whole * us_per_token:>12.2f}" for name, share in ranked]
        lines.append("")
    return "\n".join(lines)


def main() -> None:
    given = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    given.add_argument("--seconds", type=float, default=5.0)
    given.add_argument("--tokens", type=int, default=60_000, help="in process")
    given.add_argument("--in-process", action="store_true")
    given.add_argument("--no-rt", action="store_true", help="no real-time priority, even where it is permitted")
    given.add_argument("--write", action="store_true", help="record the result, and put it into benchmarks/README.md")
    args = given.parse_args()
    cores = Cores.find(realtime=not args.no_rt)
    try:
        text = profiled(args.tokens) if args.in_process else sampled(args.seconds, cores)
    except Unavailable as lacking:
        print(f"{lacking}; in process instead\n", file=sys.stderr)
        text = profiled(args.tokens)
    print(text)
    if args.write:
        page.save(page.RESULTS / "hotspots.json", {"context": facts(cores), "text": text})
        page.write()


if __name__ == "__main__":
    main()
