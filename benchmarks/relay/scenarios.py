"""One scenario through one gateway: a row of figures. Milliseconds, microseconds, megabytes, as the names say."""

from __future__ import annotations

import threading
import time
from dataclasses import dataclass
from typing import Any

from relay.gateways import Gateway, sockets, usage
from relay.machine import Cores, busy
from relay.tools import Tools, Upstream, load

# 20000 us between tokens = 50 tokens/s a stream, as a fast hosted model writes
_LIVE = "--tokens 300 --interval-us 20000 -c {n} -n {n} --ramp-ms {ramp} --skip-ms {skip} --duration 30 --max-s 13"
_LEAVING = "--abort-frac 0.5 --dump-aborts --duration 30"


@dataclass(frozen=True)
class Scenario:
    """load: the arguments of sse_load. says: what is done, for the tables."""

    load: str
    says: str


SCENARIOS = {
    "S1-1": Scenario(
        "-c 1 --tokens 50 --ttft-us 5000 --duration 2 --max-s 6",
        "one stream of 50 tokens after the other, the first token after 5 ms",
    ),
    "S1-max": Scenario(
        "-c 20 --tokens 50 --duration 3 --max-s 8", "20 streams of 50 tokens at a time, as fast as they go"
    ),
    "S2-500": Scenario(_LIVE.format(n=500, ramp=1500, skip=2000), "500 streams of 300 tokens, 50 tokens/s each"),
    "S2-1000": Scenario(_LIVE.format(n=1000, ramp=3000, skip=3500), "1,000 streams of 300 tokens, 50 tokens/s each"),
    "S3": Scenario(
        "-c 16 --tokens 2000 --batch 4 --duration 3 --max-s 10",
        "16 streams of 2,000 tokens without a pause, 4 events a write",
    ),
    "S4-200": Scenario(
        f"--tokens 200 --interval-us 20000 -c 200 -n 200 --ramp-ms 1000 --abort-after 10 --max-s 15 {_LEAVING}",
        "half of 200 streams closed by the client after 10 tokens",
    ),
    "S4-prefill": Scenario(
        f"--tokens 20 --ttft-us 3000000 -c 50 -n 50 --ramp-ms 500 --abort-ms 300 --max-s 12 {_LEAVING}",
        "half of 50 streams closed 0.3 s after their start, 2.7 s before their first token",
    ),
}
DIRECT = ("S1-1", "S2-500")  # where the tools' own floor is of use

Row = dict[str, Any]


class Sampler:
    """The largest resident size of a process tree while something runs."""

    def __init__(self, pid: int | None) -> None:
        self._pid = pid
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self.peak = 0

    def start(self) -> None:
        if self._pid is not None:
            self._thread.start()

    def stop(self) -> None:
        self._over.set()
        if self._thread.is_alive():
            self._thread.join()

    def _run(self) -> None:
        assert self._pid is not None
        while not self._over.wait(0.25):
            self.peak = max(self.peak, usage(self._pid)[1])


def measure(name: str, gateway: Gateway, tools: Tools, cores: Cores, host: Upstream) -> Row:
    pid = gateway.pid
    time.sleep(1.2)  # what the warm-up left is put away
    host.get("/reset")
    cpu, rss = usage(pid) if pid else (0.0, 0)
    held = sockets(pid) if pid else 0
    machine, before = busy(), host.get("/stats")
    sampler = Sampler(pid)
    began = time.monotonic()
    try:
        got = load(tools, cores, gateway.url, SCENARIOS[name].load, sampler.start)
    finally:
        sampler.stop()
    wall = time.monotonic() - began
    cpu_after, rss_after = usage(pid) if pid else (0.0, 0)
    machine = busy() - machine
    cancelled = name.startswith("S4")
    if cancelled:
        time.sleep(1.5)  # for aborts that are seen late
    after = host.get("/stats")
    spent = cpu_after - cpu
    tools_spent = got["client_cpu_s"] + after["cpu_s"] - before["cpu_s"]
    row: Row = {"peer": gateway.name, "scenario": name} | _client(got)
    row |= {
        "upstream_cpu_share": round((after["cpu_s"] - before["cpu_s"]) / wall, 3),
        "other_cpu_share": round(max(0.0, machine - spent - tools_spent) / wall, 3),  # of one core
    }
    if pid:
        peak = max(rss, rss_after, sampler.peak)
        row |= {
            "cpu_share": round(spent / wall, 3),
            "us_per_token": round(spent * 1e6 / max(got["tokens"], 1), 2),
            "us_per_request": round(spent * 1e6 / max(got["completed"], 1), 1),
            "idle_mb": round(gateway.idle_rss / 2**20, 1),
            "warm_mb": round(rss / 2**20, 1),
            "peak_mb": round(peak / 2**20, 1),
            "kb_per_stream": round((peak - rss) / 1024 / max(got["max_open"], 1), 1),
            "startup_s": round(gateway.startup_s, 2),
        }
    if cancelled:
        row |= _aborts(got, host) | {
            "wasted_tokens": after["tokens_sent"] - got["tokens"],
            "active_after": after["active"],
            "sockets_before": held,
            "sockets_after": sockets(pid) if pid else 0,
        }
    return row


def _client(got: dict[str, Any]) -> Row:
    refused = got["refused_ms"]
    kept = (
        "requests",
        "completed",
        "failed",
        "truncated",
        "unfinished",
        "aborted",
        "wrong_order",
        "tokens",
        "tokens_wanted",
    )
    row: Row = {name: got[name] for name in (*kept, "retries", "first_error", "client_cpu_share")}
    row["refused"] = refused["n"]
    row["lost"] = got["failed"] - refused["n"] + got["truncated"] + got["unfinished"] + got["wrong_order"]
    row |= {name: round(got[name], 1) for name in ("req_per_s", "tokens_per_s")}
    for name in ("ttft", "delay", "itl", "e2e", "refused"):
        row |= {f"{name}_{q}": got[f"{name}_ms"][q] for q in ("p50", "p95", "p99", "max")}
    return row


def _aborts(got: dict[str, Any], host: Upstream) -> Row:
    """From each client's close to the moment at which the host saw its connection closed."""
    seen = {tag: ns for tag, ns, _ in host.get("/aborts")}
    took = sorted((seen[tag] - ns) / 1e6 for tag, ns in got["aborts"] if tag in seen)

    def at(share: float) -> float | None:
        return round(took[min(len(took) - 1, int(share * len(took)))], 3) if took else None

    return {
        "client_aborts": len(got["aborts"]),
        "host_aborts": len(took),
        "unseen": len(got["aborts"]) - len(took),
        "abort_p50": at(0.5),
        "abort_p99": at(0.99),
    }
