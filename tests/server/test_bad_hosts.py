"""Every kind of host that a configuration may name, when it misbehaves: an error with a name, that says which host it was, what it
answered and what to do, and shows no secret.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import shutil
import ssl
import subprocess
from unittest import mock

import pytest

from matrix.cases import CASES, Reply
from matrix.discovery import hosts
from tidewire.core.errors import TidewireError, UpstreamError
from tidewire.core.events import Delta, Event, Finish
from tidewire.core.ports import ModelInfo
from tidewire.core.request import Message, Request, Text
from tidewire.providers.hosted import Hosted
from tidewire.server.hosts import HOSTS, hosted
from tidewire.server.settings import Provider
from upstream import Call, Script, Upstream, refuses

KEY = "s3cret-0123456789abcdef"
MATRIX = {host.KIND: host for host in hosts().values()}
WHOLE = CASES["text"].text
UNMARKED = {"triton"}  # where the end of the body is the end of the answer
WRITTEN = [kind for kind in HOSTS if kind in MATRIX]
QUESTION = Request(model="far/m", messages=[Message("user", [Text("Hello?")])])


class Kept:
    """A sink that is never full."""

    full = False

    def __init__(self) -> None:
        self.events: list[Event] = []

    def feed(self, events) -> None:
        self.events += events

    async def room(self) -> None: ...

    @property
    def text(self) -> str:
        return "".join(e.text for e in self.events if isinstance(e, Delta))


def provider(kind: str, url: str, **more) -> Hosted:
    """The provider for a row of HOSTS, at this address and with KEY for a key."""
    host = MATRIX.get(kind)
    settings = {"project": "p", "api_key_env": "FAR_KEY"} | (getattr(host, "SETTINGS", {}) if host else {})
    env = getattr(host, "ENV", {}) | {settings["api_key_env"]: KEY}
    given = Provider(**{"kind": kind, "base_url": f"{url}{host.BASE if host else ''}", "retries": 0} | settings | more)
    with mock.patch.dict(os.environ, env):
        return hosted(kind, "far", given)


async def failed(kind: str, url: str, sink: Kept | None = None, **more) -> TidewireError:
    far = provider(kind, url, **more)
    with pytest.raises(TidewireError) as caught:
        await far.answer(QUESTION, sink or Kept())
    await far.close()
    assert KEY not in caught.value.message
    return caught.value


HTML = b"<html><head><title>Sign in</title></head><body>Welcome</body></html>"
NAMED: dict[str, tuple[Script, str, tuple[str, ...]]] = {
    "a wrong key": (
        refuses(401, {"error": {"message": f"Incorrect API key provided: {KEY}"}}),
        "upstream_auth",
        ("answered 401", "Incorrect API key provided: ***", "check the host's API key"),
    ),
    "a model it does not have": (
        refuses(404, {"error": {"message": "there is no model m"}}),
        "upstream_model_or_path_unknown",
        ("answered 404", "there is no model m", "check the model's name"),
    ),
    "a page": (
        refuses(200, HTML, content_type="text/html"),
        "upstream_not_a_stream",
        ("answered 200 with text/html", "Sign in", "check that base_url names a model API"),
    ),
    "gzip": (
        refuses(200, b"\x1f\x8b\x08\x00", content_encoding="gzip"),
        "upstream_encoded",
        ("gzip", "turn compression off"),
    ),
    "a redirect": (
        refuses(308, b"", location=f"https://u:{KEY}@elsewhere.example/v2?key={KEY}"),
        "upstream_redirect",
        ("answered 308", "https://elsewhere.example/v2;", "set base_url"),
    ),
}


@pytest.mark.parametrize("case", NAMED)
@pytest.mark.parametrize("kind", HOSTS)
async def test_a_host_that_refuses_is_named_and_what_to_do_is_said(kind, case):
    script, code, words = NAMED[case]
    async with Upstream(script) as up:
        error = await failed(kind, up.url)
        assert error.message.startswith(f"127.0.0.1:{up.port} ")
    assert error.kind == code
    for said in words:
        assert said in error.message


@pytest.mark.parametrize("kind", HOSTS)
async def test_a_host_whose_tls_fails_is_named(kind):
    async def plain(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(1)
        writer.write(b"HTTP/1.1 400 Bad Request\r\nconnection: close\r\n\r\n")
        writer.close()

    async with await asyncio.start_server(plain, "127.0.0.1", 0) as server:
        port = server.sockets[0].getsockname()[1]
        error = await failed(kind, f"https://127.0.0.1:{port}")
    assert error.kind == "upstream_tls"
    assert f"127.0.0.1:{port}" in error.message
    assert "is base_url's scheme right?" in error.message


@pytest.mark.parametrize("kind", HOSTS)
async def test_a_host_that_nobody_has_signed_for_is_named(kind, certificate):
    async with Upstream(refuses(200), tls=certificate) as up:
        error = await failed(kind, up.url)
    assert error.kind == "upstream_certificate"
    assert f"127.0.0.1:{up.port}" in error.message
    assert "ca_file" in error.message


@pytest.fixture(scope="module")
def certificate(tmp_path_factory):
    """The server's side of TLS, under a certificate that it has signed itself."""
    if shutil.which("openssl") is None:
        pytest.skip("needs the openssl command to make a certificate")
    pem = tmp_path_factory.mktemp("tls") / "host.pem"
    words = "req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 2 -subj /CN=127.0.0.1"
    subprocess.run(["openssl", *words.split(), "-keyout", pem, "-out", f"{pem}.crt"], check=True, capture_output=True)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(f"{pem}.crt", pem)
    return context


def answers(reply: Reply, body: bytes) -> Script:
    async def script(call: Call) -> None:
        call.head(reply.status, **reply.headers)
        if body:
            call.chunk(body)
        call.end()

    return script


@pytest.mark.parametrize("kind", WRITTEN)
async def test_an_empty_stream_is_said_to_be_cut_short(kind):
    reply = MATRIX[kind].reply("text")
    async with Upstream(answers(reply, b"")) as up:
        error = await failed(kind, up.url)
    assert isinstance(error, UpstreamError)
    assert error.kind in ("upstream_cut", "upstream_unfinished")
    assert f"127.0.0.1:{up.port}" in error.message


@pytest.mark.parametrize("kind", WRITTEN)
async def test_a_stream_without_its_end_keeps_its_text_and_is_an_error(kind):
    reply = MATRIX[kind].reply("text")
    sink = Kept()
    async with Upstream(answers(reply, reply.body[: len(reply.body) * 6 // 10])) as up:
        error = await failed(kind, up.url, sink)
    assert error.kind in ("upstream_cut", "upstream_unfinished")
    assert f"127.0.0.1:{up.port}" in error.message
    assert sink.text
    assert WHOLE.startswith(sink.text)
    assert not any(isinstance(e, Finish) for e in sink.events)


@pytest.mark.parametrize("kind", [kind for kind in WRITTEN if kind not in UNMARKED])
async def test_bytes_after_the_end_do_not_count(kind):
    reply = MATRIX[kind].reply("text")
    sink = Kept()
    async with Upstream(answers(reply, reply.body + b"data: {]\n\n\x00\xff}" + reply.body)) as up:
        far = provider(kind, up.url)
        await far.answer(QUESTION, sink)
        await far.close()
    assert sink.text == WHOLE
    assert [type(e) for e in sink.events].count(Finish) == 1


@pytest.mark.parametrize("kind", HOSTS)
@pytest.mark.parametrize(
    "body", [b"", b"[]", b"<html>", b'{"data":5,"models":5}', b'{"data":' + b"[" * 100_000, b"\xff"]
)
def test_a_list_of_models_that_is_none_is_an_error_with_a_name(kind, body):
    host = MATRIX.get(kind)
    settings = {"project": "p"} | (getattr(host, "SETTINGS", {}) if host else {})
    speaker = HOSTS[kind].speaker(Provider(**{"kind": kind, "base_url": "http://127.0.0.1:1"} | settings))
    listed: list[ModelInfo] = []
    with contextlib.suppress(UpstreamError):
        listed = list(speaker.models(body))
    assert listed == []
