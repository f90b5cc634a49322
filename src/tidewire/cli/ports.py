"""Which ports of this machine are free."""

from __future__ import annotations

import socket


def free(host: str, port: int) -> bool:
    """Whether the server could listen there."""
    with _trial(host) as trial:
        try:
            trial.bind((host, port))
            trial.listen(1)
        except OSError:
            return False
    return True


def free_port(host: str) -> int:
    """One that nobody listens on now."""
    with _trial(host) as trial:
        trial.bind((host, 0))
        port: int = trial.getsockname()[1]
    return port


def _trial(host: str) -> socket.socket:
    trial = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET)
    trial.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # as the server does: a port in TIME_WAIT is free
    return trial
