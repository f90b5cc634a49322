"""The machine that is measured on: its facts, its cores, and whether it lets us run ahead of its other work."""

from __future__ import annotations

import contextlib
import datetime as dt
import importlib.metadata
import os
import platform
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil

ROOT = Path(__file__).parents[2]


@dataclass(frozen=True)
class Cores:
    """The tools (host and load) have one core, the gateway has another. realtime: they run ahead of all other work."""

    tools: int
    gateway: int
    realtime: bool

    @classmethod
    def find(cls, *, realtime: bool = True) -> Cores:
        allowed = sorted(os.sched_getaffinity(0))
        return cls(allowed[0], allowed[min(1, len(allowed) - 1)], realtime and _may_be_realtime())

    def for_tool(self, pid: int) -> None:
        """Both tools at one priority: the host finishes the tokens that are due, then the client reads, which halves the switches."""
        os.sched_setaffinity(pid, {self.tools})
        if self.realtime:
            os.sched_setscheduler(pid, os.SCHED_FIFO, os.sched_param(1))

    def for_gateway(self, pid: int) -> None:
        for process in tree(pid):
            with contextlib.suppress(psutil.NoSuchProcess, ProcessLookupError):
                for thread in process.threads():
                    os.sched_setaffinity(thread.id, {self.gateway})
                    if self.realtime:
                        os.sched_setscheduler(thread.id, os.SCHED_RR, os.sched_param(1))

    def __str__(self) -> str:
        if self.tools == self.gateway:
            where = "one core for all"
        else:
            where = f"tools on core {self.tools}, gateway on core {self.gateway}"
        how = "SCHED_FIFO and SCHED_RR" if self.realtime else "no real-time priority (not asked for, or not permitted)"
        return f"{where}; {how}"


def _may_be_realtime() -> bool:
    try:
        os.sched_setscheduler(0, os.SCHED_FIFO, os.sched_param(1))
        os.sched_setscheduler(0, os.SCHED_OTHER, os.sched_param(0))
    except OSError:
        return False
    return True


def tree(pid: int) -> list[psutil.Process]:
    try:
        process = psutil.Process(pid)
        return [process, *process.children(recursive=True)]
    except psutil.NoSuchProcess:
        return []


def busy() -> float:
    """CPU seconds that the whole machine has spent."""
    t = psutil.cpu_times()
    return float(t.user + t.nice + t.system + t.irq + t.softirq + t.steal)


def facts(cores: Cores) -> dict[str, Any]:
    return {
        "date": dt.datetime.now(dt.UTC).strftime("%Y-%m-%d %H:%M UTC"),
        "commit": commit(),
        "cpu": _cpu(),
        "cores": len(os.sched_getaffinity(0)),
        "memory_gb": round(psutil.virtual_memory().total / 2**30, 1),
        "kernel": platform.release(),
        "python": platform.python_version(),
        "uvloop": importlib.metadata.version("uvloop"),
        "nginx": nginx_version(),
        "scheduling": str(cores),
    }


def commit() -> str:
    git = shutil.which("git")
    if git is None or not (ROOT / ".git").exists():
        return "unknown"

    def ask(*args: str) -> str:
        return subprocess.run([git, "-C", str(ROOT), *args], capture_output=True, text=True, check=False).stdout.strip()

    return ask("rev-parse", "--short", "HEAD") + (" and changes" if ask("status", "--porcelain", "--", "src") else "")


def nginx() -> str | None:
    """Its path; Debian has it where the search path of most users does not look."""
    return shutil.which("nginx", path=f"{os.environ.get('PATH', os.defpath)}:/usr/sbin:/usr/local/sbin")


def nginx_version() -> str:
    found = nginx()
    if found is None:
        return "not installed"
    said = subprocess.run([found, "-v"], capture_output=True, text=True, check=False).stderr
    return said.strip().rpartition("/")[2]


def _cpu() -> str:
    for line in Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines():
        if line.startswith("model name"):
            return line.partition(":")[2].strip()
    return platform.machine()
