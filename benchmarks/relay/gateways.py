"""What is measured: Tidewire with its log in memory or on disk, nginx as the yardstick, and no gateway at all."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import socket
import string
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import psutil
from relay.machine import Cores, nginx, tree
from relay.tools import SOURCES, Tools, Unavailable, Upstream, load

CHAT = "/v1/chat/completions"
WARM_UP = "-c 20 -n 200 --tokens 50 --duration 10 --max-s 15"
TIDEWIRE = {"tidewire": "memory", "tidewire process": "process"}  # log.durability
PEERS = (*TIDEWIRE, "nginx", "direct")


class Gateway:
    """One that runs. pid: None for none at all. idle_rss: bytes, after its first answer."""

    def __init__(self, name: str, url: str, pid: int | None) -> None:
        self.name = name
        self.url = url
        self.pid = pid
        self.idle_rss = usage(pid)[1] if pid else 0
        self.startup_s = 0.0


def usage(pid: int) -> tuple[float, int]:
    """CPU seconds and resident bytes of the process and its children; what these share is counted once."""
    cpu, rss = 0.0, 0
    for process in tree(pid):
        with contextlib.suppress(psutil.NoSuchProcess), process.oneshot():
            times, memory = process.cpu_times(), process.memory_info()
            cpu += times.user + times.system
            rss += memory.rss - (memory.shared if process.pid != pid else 0)
    return cpu, rss


def sockets(pid: int) -> int:
    return sum(len(process.net_connections(kind="tcp")) for process in tree(pid))


@contextlib.contextmanager
def gateway(name: str, tools: Tools, cores: Cores, host: Upstream) -> Iterator[Gateway]:
    """Started afresh and warm. Raises Unavailable, or RuntimeError with the end of its log."""
    if name == "direct":
        yield Gateway(name, f"http://127.0.0.1:{host.port}{CHAT}", None)
        return
    with tempfile.TemporaryDirectory(prefix="tidewire-bench-") as given:
        folder = Path(given)
        folder.chmod(0o755)  # nginx started as root has workers that are not
        begin = time.monotonic()
        with (folder / "log").open("w", encoding="utf-8") as log:
            command, port = _nginx(folder, host) if name == "nginx" else _tidewire(folder, host, name)
            environ = {k: v for k, v in os.environ.items() if not k.startswith("TIDEWIRE_")}
            process = subprocess.Popen(
                command, cwd=folder, env=environ, stdin=subprocess.DEVNULL, stdout=log, stderr=log
            )
        try:
            os.sched_setaffinity(process.pid, {cores.gateway})
            url = f"http://127.0.0.1:{port or _announced(process, folder / 'log')}{CHAT}"
            _ready(process, folder / "log", tools, cores, url)
            running = Gateway(name, url, process.pid)
            running.startup_s = time.monotonic() - begin
            load(tools, cores, url, WARM_UP)
            cores.for_gateway(process.pid)
            yield running
        finally:
            _stop(process)


def _nginx(folder: Path, host: Upstream) -> tuple[list[str], int]:
    found = nginx()
    if found is None:
        raise Unavailable("nginx is not installed, so there is nothing to compare with: apt install nginx-light")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = int(free.getsockname()[1])
    text = string.Template((SOURCES / "nginx.conf").read_text(encoding="utf-8"))
    (folder / "nginx.conf").write_text(text.substitute(listen=port, upstream=host.port), encoding="utf-8")
    return [found, "-p", f"{folder}/", "-c", str(folder / "nginx.conf"), "-e", "stderr"], port


def _tidewire(folder: Path, host: Upstream, name: str) -> tuple[list[str], int]:
    text = string.Template((SOURCES / "tidewire.toml").read_text(encoding="utf-8"))
    config = folder / "tidewire.toml"
    config.write_text(text.substitute(durability=TIDEWIRE[name], upstream=host.port), encoding="utf-8")
    command = [sys.executable, "-m", "tidewire.cli", "serve", "--config", str(config), "--data", str(folder / "data")]
    return command, 0


def _announced(process: subprocess.Popen[bytes], log: Path) -> int:
    """The port that Tidewire took, from its log."""
    for _ in range(600):
        for line in log.read_text(encoding="utf-8").splitlines():
            if line.startswith("{") and line.endswith("}") and "address" in (said := json.loads(line)):
                return int(said["address"].rpartition(":")[2])
        _alive(process, log)
        time.sleep(0.05)
    raise RuntimeError(f"tidewire did not say where it listens:\n{_tail(log)}")


def _ready(process: subprocess.Popen[bytes], log: Path, tools: Tools, cores: Cores, url: str) -> None:
    """Returns when one whole stream came through."""
    for _ in range(300):
        _alive(process, log)
        if load(tools, cores, url, "-c 1 -n 1 --tokens 3 --duration 2 --max-s 5")["completed"] == 1:
            return
        time.sleep(0.1)
    raise RuntimeError(f"the gateway never answered:\n{_tail(log)}")


def _alive(process: subprocess.Popen[bytes], log: Path) -> None:
    if process.poll() is not None:
        raise RuntimeError(f"the gateway ended with {process.returncode}:\n{_tail(log)}")


def _tail(log: Path) -> str:
    return "\n".join(log.read_text(encoding="utf-8", errors="replace").splitlines()[-20:])


def _stop(process: subprocess.Popen[bytes]) -> None:
    for sign, seconds in ((signal.SIGTERM, 6), (signal.SIGKILL, 5)):
        ours = tree(process.pid)
        for one in ours:
            with contextlib.suppress(psutil.NoSuchProcess):
                one.send_signal(sign)
        _, alive = psutil.wait_procs(ours, timeout=seconds)
        process.poll()
        if not alive:
            break
    process.wait(5)
