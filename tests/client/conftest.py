"""A server of scripted bytes: one raw HTTP answer a request, in order, then the connection is closed."""

from __future__ import annotations

import socketserver
import threading
from collections.abc import Iterator

import pytest


class Script:
    def __init__(self) -> None:
        self.answers: list[bytes] = []
        self.requests: list[tuple[str, dict[str, str], bytes]] = []
        self.url = ""


@pytest.fixture
def script() -> Iterator[Script]:
    told = Script()

    class Handler(socketserver.StreamRequestHandler):
        def handle(self) -> None:
            line = self.rfile.readline().decode().strip()
            headers = {}
            while (text := self.rfile.readline().decode().strip()) != "":
                name, _, value = text.partition(":")
                headers[name.lower()] = value.strip()
            body = self.rfile.read(int(headers.get("content-length", 0)))
            told.requests.append((line, headers, body))
            if told.answers:
                self.wfile.write(told.answers.pop(0))

    class Server(socketserver.ThreadingTCPServer):
        daemon_threads = True
        allow_reuse_address = True

    with Server(("127.0.0.1", 0), Handler) as server:
        told.url = f"http://127.0.0.1:{server.server_address[1]}"
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
        thread.start()
        yield told
        server.shutdown()
        thread.join()
