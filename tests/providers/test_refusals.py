"""Answers of a host that are not what is expected: each is an error with a name and a next step."""

from __future__ import annotations

import asyncio
import socket
from typing import Any

import pytest
from plain_chat import ChatDecoder, Cup, ask, local, refused, virtually

from tidewire.core.errors import UpstreamError
from tidewire.providers.connection import MAX_HEADERS
from upstream import (
    Call,
    Upstream,
    chat,
    refuses,
    says,
    streams,
)

KEY = "sk-proj-abcdefghijklmnop"


INVALID = {"@type": "type.googleapis.com/google.rpc.ErrorInfo", "reason": "API_KEY_INVALID"}
LATER = {"@type": "type.googleapis.com/google.rpc.RetryInfo", "retryDelay": "17.5s"}


@pytest.mark.parametrize(
    ("status", "body", "headers", "code", "as_status", "retryable", "words"),
    [
        (400, {"error": {"message": "too many tokens"}}, {}, "upstream_refused", 400, False, "too many tokens"),
        (400, {"error": {"message": "API key not valid.", "details": [INVALID]}}, {}, "upstream_auth", 502, False, "check the host's API key"),
        (429, [{"error": {"message": "slow down", "details": [LATER]}}], {}, "upstream_rate_limited", 429, True, "in 17.5 s"),
        (429, {"error": {"message": "no", "details": [5, {"retryDelay": "soon"}, {"retryDelay": 3}]}}, {}, "upstream_rate_limited", 429, True, "later"),
        (401, {"error": {"message": f"bad key {KEY}"}}, {}, "upstream_auth", 502, False, "bad key ***"),
        (403, {"error": {"message": "no"}}, {}, "upstream_auth", 502, False, "check the host's API key"),
        (404, {"detail": "Not Found"}, {}, "upstream_model_or_path_unknown", 502, False, "Not Found"),
        (422, {"detail": [{"loc": ["body", "top_k"], "msg": "bad"}]}, {}, "upstream_refused", 400, False, "body.top_k: bad"),
        (429, {"error": "slow down"}, {"retry_after": "7"}, "upstream_rate_limited", 429, True, "in 7 s"),
        (429, {"error": {"code": "insufficient_quota"}}, {}, "upstream_quota", 429, False, "credit"),
        (500, b"", {}, "upstream_unavailable", 502, True, "answered 500"),
        (503, b"<html><title>Down</title>", {"content_type": "text/html"}, "upstream_unavailable", 502, True, '"Down"'),
        (307, b"", {"location": "https://u:p@else.where/x?k=1"}, "upstream_redirect", 502, False, "https://else.where/x;"),
        (200, b"<p>Log <b>in</b></p>", {"content_type": "text/html"}, "upstream_not_a_stream", 502, False, "Log in"),
        (200, {"choices": []}, {}, "upstream_not_a_stream", 502, False, "application/json"),
        (200, {"error": {"message": "broke"}}, {}, "upstream_error", 502, True, "broke"),
        (200, b"\x1f\x8b", {"content_encoding": "gzip"}, "upstream_encoded", 502, False, "gzip"),
    ],
)  # fmt: skip
async def test_a_refusal_is_a_named_error(
    status: int, body: Any, headers: dict[str, str], code: str, as_status: int, retryable: bool, words: str
) -> None:
    async with Upstream(refuses(status, body, **headers)) as up:
        error = await refused(local(up.url))
        await up.until(lambda: not up.open)
    assert isinstance(error, UpstreamError)
    assert (error.kind, error.status, error.retryable) == (code, as_status, retryable)
    assert error.upstream_status == status
    assert error.message.startswith(f"127.0.0.1:{up.port} ")
    assert words in error.message
    assert KEY not in error.message
    if "retry_after" in headers:
        assert error.retry_after == 7


async def test_a_long_refusal_is_cut_short_and_its_secrets_masked() -> None:
    async with Upstream(
        refuses(400, b"hunter2 is what you sent\x00\n" + b"x" * 200_000, content_type="text/plain")
    ) as up:
        error = await refused(local(up.url, secrets=["hunter2"]))
    assert "*** is what you sent x" in error.message
    assert len(error.message) < 300


def test_a_refusal_that_never_ends_is_judged_by_what_came() -> None:
    async def trickle(call: Call) -> None:
        call.head(503, content_type="text/plain")
        call.chunk(b"wait")
        await call.stall()

    async def main() -> None:
        async with Upstream(trickle) as up:
            error = await refused(local(up.url))
        assert error.kind == "upstream_unavailable"
        assert '"wait"' in error.message

    virtually(main())


async def closes_early(call: Call) -> None:
    call.head()
    call.chunk(chat("half"))
    await asyncio.sleep(0.005)
    call.cut()


async def ends_early(call: Call) -> None:
    call.head()
    call.chunk(chat("half"))
    call.end()


async def no_http(call: Call) -> None:
    call.raw(b"SSH-2.0-OpenSSH_9.2\r\n")


async def broken_chunks(call: Call) -> None:
    call.head()
    call.chunk(chat("half"))
    await asyncio.sleep(0.005)
    call.raw(b"zz\r\nnonsense")


async def endless_head(call: Call) -> None:
    call.raw(b"HTTP/1.1 200 OK\r\n" + b"x-pad: " + b"y" * MAX_HEADERS + b"\r\n\r\n")


async def upgrades(call: Call) -> None:
    call.raw(b"HTTP/1.1 101 Switching\r\nUpgrade: h2c\r\nConnection: upgrade\r\n\r\n")


@pytest.mark.parametrize(
    ("script", "code", "words", "text"),
    [
        (closes_early, "upstream_cut", "before its answer was complete", "half"),
        (ends_early, "upstream_unfinished", "without [DONE]", "half"),
        (broken_chunks, "upstream_not_http", "framing", "half"),
        (no_http, "upstream_not_http", "not HTTP/1.1", ""),
        (endless_head, "upstream_not_http", f"{MAX_HEADERS} bytes", ""),
        (upgrades, "upstream_not_http", "upgrade", ""),
        (streams(b'data: {"error":{"message":"out of memory"}}\n\n'), "upstream_error", "out of memory", ""),
    ],
)
async def test_a_broken_answer_is_a_named_error_after_what_came_of_it(
    script: Any, code: str, words: str, text: str
) -> None:
    cup = Cup()
    async with Upstream(script) as up:
        host = local(up.url)
        with pytest.raises(UpstreamError) as caught:
            await ask(host, cup)
        assert (host.in_use, host.kept) == (0, 0)
        await up.until(lambda: not up.open)
    assert caught.value.kind == code
    assert words in caught.value.message
    assert f"127.0.0.1:{up.port}" in caught.value.message
    assert cup.text == text


async def test_a_decoder_that_breaks_ends_its_own_call_only() -> None:
    class Broken(ChatDecoder):
        def feed(self, data: bytes) -> Any:
            raise KeyError("choices")

    async with Upstream(says("a")) as up:
        host = local(up.url)
        with pytest.raises(KeyError):
            await host.stream("POST", "/", b"", Broken(), Cup())
        cup = Cup()
        await ask(host, cup)
        await host.close()
    assert cup.text == "a"


async def test_nobody_listening_is_said_so() -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
        for name in ("127.0.0.1", "localhost"):
            error = await refused(local(f"http://{name}:{port}"))
            assert error.kind == "upstream_unreachable"
            assert f"{name}:{port}" in error.message
            assert "refused" in error.message
