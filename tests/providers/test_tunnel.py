"""TLS to a host, straight and through an HTTP proxy, on asyncio's loop and on uvloop."""

from __future__ import annotations

import asyncio
import contextlib
import shutil
import ssl
import subprocess
from collections.abc import AsyncIterator
from pathlib import Path

import psutil
import pytest
import uvloop
from plain_chat import ChatDecoder, Cup, ask, local, refused

from upstream import (
    Upstream,
    says,
    silent,
    stall_after_a_token,
    stall_after_headers,
    unaccepted,
)


@pytest.fixture(scope="session")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A PEM file with the key and certificate of 127.0.0.1, which nobody has signed."""
    if shutil.which("openssl") is None:
        pytest.skip("needs the openssl command to make a certificate")
    pem = tmp_path_factory.mktemp("tls") / "host.pem"
    words = "req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 2 -subj /CN=127.0.0.1"
    subprocess.run(
        ["openssl", *words.split(), "-addext", "subjectAltName=IP:127.0.0.1", "-keyout", pem, "-out", f"{pem}.crt"],
        check=True,
        capture_output=True,
    )
    pem.write_bytes(pem.read_bytes() + Path(f"{pem}.crt").read_bytes())
    return pem


def server_side(certificate: Path) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate)
    return context


async def test_tls_trusts_the_authority_that_is_named(certificate: Path) -> None:
    cup = Cup()
    async with Upstream(says("secret", "ly"), tls=server_side(certificate)) as up:
        for options in ({"ca_file": str(certificate)}, {"verify": False}):
            host = local(up.url, **options)
            await ask(host, cup)
            await ask(host, cup)
            await host.close()
        assert up.connections == 2
        error = await refused(local(up.url))
    assert cup.text == "secretly" * 4
    assert error.kind == "upstream_certificate"
    assert not error.retryable
    assert "ca_file" in error.message


async def test_cancelling_a_tls_stream_closes_it(certificate: Path) -> None:
    cup = Cup()
    async with Upstream(stall_after_a_token, tls=server_side(certificate)) as up:
        task = asyncio.create_task(ask(local(up.url, verify=False), cup))
        await cup.got.wait()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        await up.calls[0].gone.wait()


async def test_tls_to_a_host_without_it_is_said_so() -> None:
    async def plain(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(1)
        writer.write(b"HTTP/1.1 400 Bad Request\r\n\r\n")
        writer.close()

    async with await asyncio.start_server(plain, "127.0.0.1", 0) as server:
        port = server.sockets[0].getsockname()[1]
        error = await refused(local(f"https://127.0.0.1:{port}"))
    assert error.kind == "upstream_tls"
    assert "scheme" in error.message


@contextlib.asynccontextmanager
async def proxy(*, refuse: bool = False) -> AsyncIterator[tuple[str, list[str]]]:
    """A CONNECT proxy: its URL, and the heads of the requests that it was sent."""
    heads: list[str] = []

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = (await reader.readuntil(b"\r\n\r\n")).decode()
        heads.append(head)
        if refuse:
            writer.write(b"HTTP/1.1 407 Proxy Authentication Required\r\n\r\n")
            writer.close()
            return
        name, port = head.split(" ")[1].split(":")
        there, to = await asyncio.open_connection(name, int(port))
        writer.write(b"HTTP/1.1 200 Connection established\r\n\r\n")

        async def pipe(source: asyncio.StreamReader, sink: asyncio.StreamWriter) -> None:
            with contextlib.suppress(ConnectionError):
                while data := await source.read(65536):
                    sink.write(data)
            sink.close()

        await asyncio.gather(pipe(reader, to), pipe(there, writer))

    async with await asyncio.start_server(serve, "127.0.0.1", 0) as server:
        yield f"http://me:pass@127.0.0.1:{server.sockets[0].getsockname()[1]}", heads


async def test_a_proxy_is_asked_for_a_tunnel_to_a_tls_host(certificate: Path) -> None:
    cup = Cup()
    async with Upstream(says("through"), tls=server_side(certificate)) as up, proxy() as (url, heads):
        host = local(up.url, ca_file=str(certificate), proxy=url)
        await ask(host, cup)
        await ask(host, cup)
        await host.close()
        await up.until(lambda: not up.open)
    assert cup.text == "throughthrough"
    assert len(heads) == 1
    assert heads[0].startswith(f"CONNECT 127.0.0.1:{up.port} HTTP/1.1\r\n")
    assert "Proxy-Authorization: Basic bWU6cGFzcw==" in heads[0]


async def test_a_proxy_that_refuses_is_named_without_its_password() -> None:
    async with proxy(refuse=True) as (url, _):
        error = await refused(local("https://models.example", proxy=url))
    assert error.kind == "upstream_proxy"
    assert "407" in error.message
    assert "pass" not in error.message


async def test_cancelling_while_the_proxy_thinks_closes_the_connection() -> None:
    async with Upstream(silent) as deaf:
        task = asyncio.create_task(ask(local("https://models.example", proxy=deaf.url), Cup()))
        await deaf.asked()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        await deaf.calls[0].gone.wait()


async def test_plain_http_through_a_proxy_names_the_whole_url() -> None:
    cup = Cup()
    async with Upstream(says("x")) as relay:
        host = local("http://models.example/v1", proxy=relay.url.replace("//", "//a:b@"))
        await host.stream("POST", "/chat", b"{}", ChatDecoder(), cup)
        await host.close()
    assert relay.calls[0].path == "http://models.example/v1/chat"
    assert relay.calls[0].headers["host"] == "models.example"
    assert relay.calls[0].headers["proxy-authorization"] == "Basic YTpi"


# uvloop, which the server runs on


def test_it_all_holds_on_uvloop(certificate: Path) -> None:
    async def main() -> None:
        async with Upstream(says("a", "b"), tls=server_side(certificate)) as up, proxy() as (url, _):
            for options in ({}, {"proxy": url}):
                cup = Cup()
                host = local(up.url, ca_file=str(certificate), **options)
                await ask(host, cup)
                assert cup.text == "ab"
                await host.close()
            await up.until(lambda: not up.open)
        for script in (silent, stall_after_headers, stall_after_a_token):
            async with Upstream(script) as up:
                host = local(up.url)
                task = asyncio.create_task(ask(host, Cup()))
                await up.asked()
                await asyncio.sleep(0.002)
                task.cancel()
                await asyncio.gather(task, return_exceptions=True)
                await up.calls[0].gone.wait()
        async with unaccepted() as url:
            before = psutil.Process().num_fds()
            task = asyncio.create_task(ask(local(url), Cup()))
            await asyncio.sleep(0.002)
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
            await asyncio.sleep(0)
            assert psutil.Process().num_fds() == before

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(main())
