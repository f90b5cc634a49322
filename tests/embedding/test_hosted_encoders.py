"""Hosts that embed, scripted after their API references."""

from __future__ import annotations

import asyncio
import base64
import json
import struct

import pytest

from tidewire.core.errors import TimedOut, UpstreamError
from tidewire.embedding.hosted import Hosted
from tidewire.embedding.hosts import HOSTS, vectors
from tidewire.telemetry.encoders import EncoderMetrics
from upstream import Upstream, refuses, silent


def packed(*numbers):
    return base64.b64encode(struct.pack(f"<{len(numbers)}f", *numbers)).decode()


def openai_like(count):
    rows = [{"object": "embedding", "index": n, "embedding": packed(3.0, 4.0 + n)} for n in range(count)]
    return {"object": "list", "data": rows[::-1], "model": "m", "usage": {"prompt_tokens": 5, "total_tokens": 5}}


def cohere_like(count):
    return {
        "id": "5c0b",
        "texts": ["…"] * count,
        "embeddings": {"float": [[3.0, 4.0 + n] for n in range(count)]},
        "meta": {"api_version": {"version": "2"}, "billed_units": {"input_tokens": 2}},
    }


def jina_like(count):
    rows = [{"object": "embedding", "index": n, "embedding": [3.0, 4.0 + n]} for n in range(count)]
    return {"model": "m", "object": "list", "usage": {"total_tokens": 6}, "data": rows}


def answers(document):
    async def script(call):
        asked = call.json.get("input") or call.json.get("texts")
        body = json.dumps(document(len(asked))).encode()
        call.head(200, length=len(body), content_type="application/json")
        call.raw(body)

    return script


LIKE = {"openai": openai_like, "voyage": openai_like, "cohere": cohere_like, "jina": jina_like}
ASKED = {
    "openai": ({"encoding_format": "base64", "dimensions": 2},) * 2,
    "cohere": tuple(
        {"input_type": kind, "embedding_types": ["float"], "truncate": "END", "output_dimension": 2}
        for kind in ("search_query", "search_document")
    ),
    "voyage": tuple(
        {"input_type": kind, "truncation": True, "encoding_format": "base64", "output_dimension": 2}
        for kind in ("query", "document")
    ),
    "jina": tuple(
        {"task": task, "embedding_type": "float", "normalized": True, "truncate": True, "dimensions": 2}
        for task in ("retrieval.query", "retrieval.passage")
    ),
}


def encoder(kind, url, **more):
    given = {
        "model": "m",
        "key": "sk-secret",
        "dimensions": 0,
        "waiting": 5000,
        "requests": 2,
        "timeout": 5.0,
        "retries": 2,
    }
    return Hosted(kind, HOSTS[kind], EncoderMetrics(), base_url=url, **given | more)


@pytest.mark.parametrize("kind", HOSTS)
async def test_each_host_is_asked_and_read_as_its_reference_says(kind):
    async with Upstream(answers(LIKE[kind])) as host:
        asked = encoder(kind, host.url, dimensions=2)
        for query, expected in zip((True, False), ASKED[kind], strict=True):
            first, second = await asked.encode(["one", "two"], query=query)
            assert struct.unpack("<2f", first) == pytest.approx((0.6, 0.8))
            assert struct.unpack("<2f", second) == pytest.approx((3 / 34**0.5, 5 / 34**0.5))
            call = host.calls[-1]
            texts = "texts" if kind == "cohere" else "input"
            assert call.json == {"model": "m", texts: ["one", "two"]} | expected
            assert call.path == HOSTS[kind].path
            assert call.headers["authorization"] == "Bearer sk-secret"
        assert asked.name == f"{kind}/m@2"
        await asked.close()


async def test_many_texts_go_in_requests_within_the_hosts_bounds():
    async with Upstream(answers(cohere_like)) as host:
        asked = encoder("cohere", host.url)
        got = await asked.encode([f"text {n}" for n in range(200)])
        assert len(got) == 200
        assert [len(call.json["texts"]) for call in host.calls] == [96, 96, 8]
        assert asked.dimensions == 2
        await asked.close()


async def test_a_busy_host_is_asked_again_and_a_refusal_is_not():
    again = refuses(429, {"message": "slow down"}, retry_after="0")
    async with Upstream(again, refuses(503), answers(jina_like)) as host:
        asked = encoder("jina", host.url)
        assert len(await asked.encode(["a"])) == 1
        assert len(host.calls) == 3
        await asked.close()
    for status, code in ((401, "upstream_auth"), (404, "upstream_model_or_path_unknown"), (400, "upstream_refused")):
        async with Upstream(refuses(status, {"detail": "the key sk-secret is wrong"})) as host:
            asked = encoder("jina", host.url)
            with pytest.raises(UpstreamError) as caught:
                await asked.encode(["a"])
            assert caught.value.kind == code
            assert "sk-secret" not in caught.value.message
            assert len(host.calls) == 1
            await asked.close()


async def test_a_silent_host_costs_a_query_its_deadline_and_no_connection():
    async with Upstream(silent) as host:
        asked = encoder("openai", host.url)
        with pytest.raises(TimedOut):
            await asked.encode(["a"], query=True, deadline=asyncio.get_running_loop().time() + 0.5)
        await asyncio.wait_for(host.calls[0].gone.wait(), 30)
        await asked.close()


async def test_a_host_that_is_not_there_is_said_to_be_unreachable():
    asked = encoder("openai", "http://anna:hidden@127.0.0.1:1/v1?key=hidden", retries=0)
    with pytest.raises(UpstreamError) as caught:
        await asked.encode(["a"])
    assert caught.value.kind == "upstream_unreachable"
    assert caught.value.message == "no answer from http://127.0.0.1:1/v1: ConnectError"  # and not who logs in there
    await asked.close()


async def test_vectors_that_change_their_length_are_refused():
    def three(count):
        return {"data": [{"index": n, "embedding": [1.0, 2.0, 3.0]} for n in range(count)]}

    async with Upstream(answers(jina_like), answers(three)) as host:
        asked = encoder("jina", host.url, retries=0)
        await asked.encode(["a"])
        with pytest.raises(UpstreamError, match="3 numbers, and 2 were expected"):
            await asked.encode(["a"])
        await asked.close()


@pytest.mark.parametrize(
    "answer",
    [
        b"<html>",
        b"{}",
        b'{"data": []}',
        b'{"data": [{"index": 1, "embedding": [1.0]}]}',
        b'{"data": [{"index": 0, "embedding": [1.0]}, {"index": 0, "embedding": [1.0]}]}',
        b'{"data": [{"index": 0, "embedding": []}]}',
        b'{"data": [{"index": 0, "embedding": [0.0, 0.0]}]}',
        b'{"data": [{"index": 0, "embedding": [1e999]}]}',
        b'{"data": [{"index": 0, "embedding": "###"}]}',
        b'{"data": [{"index": 0, "embedding": "AAA="}]}',
        b'{"data": [{"index": 0, "embedding": "AADAfw=="}]}',
        b'{"data": null}',
        b'{"data": [{"index": 0, "embedding": ["x"]}]}',
        b"\xff\xfe",
        b"[" * 100_000,
    ],
)
def test_an_answer_without_good_vectors_is_an_error_of_the_host(answer):
    with pytest.raises(UpstreamError) as caught:
        vectors(HOSTS["openai"], answer, 1)
    assert caught.value.kind == "upstream_bad_answer"
