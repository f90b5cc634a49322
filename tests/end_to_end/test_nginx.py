"""deploy/nginx.conf in front of a server: TLS and HTTP/2, and still every token when it comes, every cut and every resume."""

from __future__ import annotations

import asyncio
import contextlib
import json
import re
import shlex
import shutil
import socket
import ssl
import subprocess
from pathlib import Path

import httpx
import pytest
import pytest_asyncio
from websockets.asyncio.client import connect

from serving import eventually, serving
from upstream import Step, Upstream

pytest.importorskip("h2", reason="h2 is not installed: HTTP/2 cannot be spoken")
pytestmark = [
    pytest.mark.asyncio(loop_scope="module"),
    pytest.mark.skipif(shutil.which("nginx") is None, reason="nginx is not installed"),
    pytest.mark.skipif(shutil.which("openssl") is None, reason="openssl is not installed: no certificate can be made"),
]

CONFIG = Path(__file__).parents[2] / "deploy" / "nginx.conf"
ASK = {"model": "host/m", "input": "Hello", "on_disconnect": "grace:30"}


class Front:
    def __init__(self, url: str, authority: Path, tidewire, step: Step) -> None:
        self.url = url
        self._authority = authority
        self.tidewire = tidewire
        self.step = step

    @property
    def tls(self) -> ssl.SSLContext:
        """Each its own: a client of HTTP/2 writes into it what it speaks."""
        return ssl.create_default_context(cafile=str(self._authority))

    def client(self) -> httpx.AsyncClient:
        return httpx.AsyncClient(base_url=self.url, verify=self.tls, http2=True, timeout=10, trust_env=False)


@pytest_asyncio.fixture(loop_scope="module", scope="module")
async def scene(tmp_path_factory):
    folder = tmp_path_factory.mktemp("nginx")
    certificate(folder)
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    step = Step()
    async with Upstream(step) as host, serving(folder / "data", hosts={"host": host.url}) as tidewire:
        config = folder / "nginx.conf"
        config.write_text(adapted(CONFIG.read_text(), folder, port, tidewire.port))
        command = ["nginx", "-p", str(folder), "-e", str(folder / "error.log"), "-c", str(config), "-g", "daemon off;"]
        process = subprocess.Popen(command, stderr=subprocess.DEVNULL)
        try:
            await eventually(lambda: process.poll() is not None or answers(port))
            assert process.poll() is None, (folder / "error.log").read_text()
            yield Front(f"https://localhost:{port}", folder / "tidewire.crt", tidewire, step)
        finally:
            process.terminate()
            await asyncio.get_running_loop().run_in_executor(None, process.wait)


@pytest.fixture
def front(scene):
    scene.step.go = asyncio.Semaphore(0)
    scene.step.calls.clear()
    return scene


def certificate(folder: Path) -> None:
    subprocess.run(
        shlex.split(
            "openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 2 -subj /CN=localhost "
            "-addext subjectAltName=DNS:localhost -keyout tidewire.key -out tidewire.crt"
        ),
        cwd=folder,
        check=True,
        capture_output=True,
    )


def adapted(config: str, folder: Path, port: int, backend: int) -> str:
    """The file as it ships, with this test's folder and ports; each replacement must be there to replace."""
    for old, new in {
        "pid /run/nginx.pid": f"pid {folder}/nginx.pid",
        "worker_processes auto": "worker_processes 1",
        "worker_connections 16384": "worker_connections 512",
        "/var/log/nginx/error.log": f"{folder}/error.log",
        "127.0.0.1:8400": f"127.0.0.1:{backend}",
        "listen 443": f"listen 127.0.0.1:{port}",
        "server_name tidewire.example": "server_name localhost",
        "/etc/nginx/": f"{folder}/",
    }.items():
        assert old in config, old
        config = config.replace(old, new)
    paths = "".join(
        f"{name}_temp_path {folder}/{name};" for name in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
    )
    return re.sub(r"http \{", "http { " + paths, config, count=1)


def answers(port: int) -> bool:
    with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 0.2):
        return True
    return False


async def read_until(chunks, mark: str) -> str:
    seen = ""
    async with asyncio.timeout(30):
        while mark not in seen:
            seen += await anext(chunks)
    return seen


@pytest.mark.parametrize(
    ("path", "body", "accept"),
    [
        ("/v1/streams", ASK, "text/event-stream"),
        ("/v1/streams", ASK, "application/x-ndjson"),
        ("/v1/streams", ASK, "text/plain"),
        (
            "/v1/chat/completions",
            {"model": "host/m", "stream": True, "messages": [{"role": "user", "content": "x"}]},
            "*/*",
        ),
        ("/v1/responses", {"model": "host/m", "stream": True, "input": "x"}, "*/*"),
    ],
)
async def test_a_word_arrives_before_the_host_may_say_the_next(front, path, body, accept):
    front.step.go.release()  # chat and plain text have no first byte before the first word
    async with front.client() as client, client.stream("POST", path, json=body, headers={"accept": accept}) as answer:
        assert answer.http_version == "HTTP/2"
        assert answer.status_code == 200
        chunks = answer.aiter_text()
        for n in (1, 2, 3):
            assert f"word{n + 1}" not in await read_until(chunks, f"word{n}")
            front.step.go.release()
        async for _ in chunks:
            pass


async def test_a_client_that_leaves_is_seen_by_the_host(front):
    async with front.client() as client:
        body = ASK | {"on_disconnect": "cancel"}
        answer = await client.send(client.build_request("POST", "/v1/streams", json=body), stream=True)
        front.step.go.release()
        await read_until(answer.aiter_text(), "word1")
    await asyncio.wait_for(front.step.calls[0].gone.wait(), 30)
    await answer.aclose()


async def test_a_client_comes_back_where_it_was(front):
    async with front.client() as client:
        async with client.stream("POST", "/v1/streams", json=ASK) as answer:
            front.step.go.release()
            seen = await read_until(answer.aiter_text(), "word1")
            stream = answer.headers["x-tidewire-stream"]
        last = re.findall(r"^id: (\d+)$", seen, re.MULTILINE)[-1]
        for _ in range(3):
            front.step.go.release()
        rest = (await client.get(f"/v1/streams/{stream}/events", headers={"last-event-id": last})).text
        ids = [int(i) for i in re.findall(r"^id: (\d+)$", rest, re.MULTILINE)]
        assert ids == list(range(int(last) + 1, ids[-1] + 1))
        assert "word1" not in rest
        assert '"status":"completed"' in rest
        done = await client.get(f"/v1/streams/{stream}/events", headers={"last-event-id": str(ids[-1])})
        assert done.status_code == 204


async def test_many_streams_share_one_connection(front):
    async with front.client() as client, contextlib.AsyncExitStack() as stack:
        before = len(front.step.calls)
        answers = [await stack.enter_async_context(client.stream("POST", "/v1/streams", json=ASK)) for _ in range(20)]
        ports = {a.extensions["network_stream"].get_extra_info("client_addr") for a in answers}
        assert len(ports) == 1
        await eventually(lambda: len(front.step.calls) == before + 20)
        for _ in range(80):
            front.step.go.release()
        for answer in answers:
            text = "".join([chunk async for chunk in answer.aiter_text()])
            assert all(f"word{n} " in text for n in (1, 2, 3))
            assert '"status":"completed"' in text


async def test_a_websocket_passes(front):
    url = front.url.replace("https", "wss") + "/v1/ws"
    async with connect(url, ssl=front.tls, compression=None, proxy=None) as socket:
        await socket.send(json.dumps({"do": "start", "id": "a", "request": ASK}))
        for n in (1, 2, 3):
            front.step.go.release()
            while f"word{n} " not in (frame := await asyncio.wait_for(socket.recv(), 30)):
                assert f"word{n + 1} " not in frame
        front.step.go.release()
        while '"done":true' not in await asyncio.wait_for(socket.recv(), 30):
            pass


async def test_the_rest_passes_too(front):
    async with front.client() as client:
        assert (await client.get("/healthz")).json() == {"status": "ok"}
        assert (await client.get("/readyz")).status_code == 200
        assert (await client.get("/")).status_code == 200
        error = await client.post("/v1/streams", content=b"{")
        assert error.status_code == 400
        assert error.json()["error"]["code"] == "invalid_json"
