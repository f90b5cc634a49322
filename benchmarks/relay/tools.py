"""The two tools in C: building them, a running mock host, and one load."""

from __future__ import annotations

import contextlib
import json
import shlex
import shutil
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from relay.machine import ROOT, Cores

SOURCES = Path(__file__).parent
FLAGS = ("-std=c11", "-O2", "-Wall", "-Wextra", "-Wno-format-truncation")
BUILD = ROOT / "build" / "benchmarks"


class Unavailable(Exception):
    """What this machine lacks, in a sentence."""


@dataclass(frozen=True)
class Tools:
    load: Path
    upstream: Path


def build(folder: Path = BUILD) -> Tools:
    """Compiles what is not built or out of date. Raises Unavailable."""
    if sys.platform != "linux":
        raise Unavailable(f"the load tools use epoll and run on Linux only; this is {sys.platform}")
    compiler = next((found for name in ("cc", "gcc", "clang") if (found := shutil.which(name))), None)
    if compiler is None:
        raise Unavailable(
            "a C compiler is needed for the load tools, and cc, gcc and clang are not here: apt install gcc libc6-dev"
        )
    folder.mkdir(parents=True, exist_ok=True)
    for name in ("sse_load", "sse_upstream"):
        source, binary = SOURCES / f"{name}.c", folder / name
        if binary.exists() and binary.stat().st_mtime >= source.stat().st_mtime:
            continue
        done = subprocess.run(
            [compiler, *FLAGS, "-o", str(binary), str(source)], capture_output=True, text=True, check=False
        )
        if done.returncode:
            raise Unavailable(
                f"{source.name} does not compile (Linux 5.11 and glibc 2.35 or newer are needed):\n{done.stderr}"
            )
    return Tools(folder / "sse_load", folder / "sse_upstream")


class Upstream:
    """A mock host on a port of its own. Times and numbers are in its tokens; see sse_upstream.c."""

    def __init__(self, process: subprocess.Popen[str], port: int) -> None:
        self._process = process
        self.port = port

    def get(self, path: str) -> Any:
        with urllib.request.urlopen(f"http://127.0.0.1:{self.port}{path}", timeout=5) as answer:
            return json.load(answer)

    def drained(self, seconds: float = 6.0) -> bool:
        """Whether nothing runs on it any more, within that time."""
        end = time.monotonic() + seconds
        while self.get("/stats")["active"]:
            if time.monotonic() > end:
                return False
            time.sleep(0.1)
        return True


@contextlib.contextmanager
def upstream(tools: Tools, cores: Cores) -> Iterator[Upstream]:
    process = subprocess.Popen(
        [tools.upstream, "--port", "0"], stdout=subprocess.PIPE, stdin=subprocess.DEVNULL, text=True
    )
    try:
        cores.for_tool(process.pid)
        assert process.stdout is not None
        yield Upstream(process, int(process.stdout.readline()))
    finally:
        process.terminate()
        process.wait(5)
        assert process.stdout is not None
        process.stdout.close()


def load(
    tools: Tools, cores: Cores, url: str, arguments: str, started: Callable[[], None] | None = None, model: str = "mock"
) -> dict[str, Any]:
    """What sse_load measured. started: called as soon as it runs."""
    command = [str(tools.load), "--url", url, "--model", model, *shlex.split(arguments)]
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, stdin=subprocess.DEVNULL, text=True
    ) as process:
        try:
            cores.for_tool(process.pid)
            if started is not None:
                started()
            out, err = process.communicate()
        except BaseException:
            process.kill()
            raise
    if process.returncode:
        raise RuntimeError(f"sse_load ended with {process.returncode}: {err}")
    measured: dict[str, Any] = json.loads(out)
    return measured
