"""Hosts that rerank, scripted after their API references: what each is asked, what it answers, and what else may come."""

from __future__ import annotations

import asyncio
import json
import math

import cohere
import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tidewire.core.errors import UpstreamError
from tidewire.retrieval.reranking import hosted
from tidewire.retrieval.reranking.hosted import CHARACTERS, QUESTION, Hosted
from tidewire.retrieval.reranking.hosts import HOSTS, scores
from upstream import Upstream, refuses, silent, unaccepted

TEXTS = ["Carson City is in Nevada.", "Washington, D.C. is the capital.", "Capitalisation is grammar."]
SOON = 0.0  # whoever asks keeps the time
SCORES = [0.07867, 0.9990564, 0.000123]
ANSWERS = {
    "cohere": b'{"id":"07734bd2-2473-4f07-94e1-0d9f0e6843cf","results":[{"index":1,"relevance_score":0.9990564},'
    b'{"index":0,"relevance_score":0.07867},{"index":2,"relevance_score":0.000123}],'
    b'"meta":{"api_version":{"version":"2","is_experimental":false},"billed_units":{"search_units":1}}}',
    "jina": b'{"model":"jina-reranker-v3","object":"list","usage":{"total_tokens":38},"results":['
    b'{"index":1,"relevance_score":0.9990564},{"index":0,"relevance_score":0.07867},{"index":2,"relevance_score":0.000123}]}',
    "voyage": b'{"object":"list","data":[{"relevance_score":0.9990564,"index":1},{"relevance_score":0.07867,"index":0},'
    b'{"relevance_score":0.000123,"index":2}],"model":"rerank-2.5","usage":{"total_tokens":26}}',
    "vllm": b'{"id":"rerank-6b5a","model":"BAAI/bge-reranker-base","usage":{"prompt_tokens":56,"total_tokens":56},"results":['
    b'{"index":1,"document":{"text":"Washington, D.C. is the capital.","multi_modal":null},"relevance_score":0.9990564},'
    b'{"index":0,"document":{"text":"Carson City is in Nevada.","multi_modal":null},"relevance_score":0.07867},'
    b'{"index":2,"document":{"text":"Capitalisation is grammar.","multi_modal":null},"relevance_score":0.000123}]}',
    "tei": b'[{"index":1,"score":0.9990564},{"index":0,"score":0.07867},{"index":2,"score":0.000123}]',
}
ASKED = {
    "cohere": {"model": "m", "query": "capital?", "documents": TEXTS},
    "jina": {"model": "m", "query": "capital?", "documents": TEXTS, "return_documents": False},
    "voyage": {"model": "m", "query": "capital?", "documents": TEXTS, "return_documents": False, "truncation": True},
    "vllm": {"model": "m", "query": "capital?", "documents": TEXTS, "truncate_prompt_tokens": -1},
    "tei": {"query": "capital?", "texts": TEXTS, "raw_scores": False, "return_text": False, "truncate": True},
}


def answers(body, **headers):
    async def script(call):
        call.head(200, length=len(body), content_type="application/json", **headers)
        call.raw(body)

    return script


def reranker(kind, url, model="m", key="sk-secret"):
    return Hosted(kind, HOSTS[kind], model=model, base_url=url, key=key)


async def fault(*scripts, url="", kind="jina"):
    """What a question to a host with this script ends with."""
    async with Upstream(*scripts) as host:
        asked = reranker(kind, url or host.url)
        with pytest.raises(UpstreamError) as caught:
            await asked.scores("the question", ["one", "two"], SOON)
        await asked.close()
    return caught.value


@pytest.mark.parametrize("kind", HOSTS)
async def test_each_host_is_asked_and_read_as_its_reference_says(kind):
    async with Upstream(answers(ANSWERS[kind])) as host:
        asked = reranker(kind, host.url)
        assert await asked.scores("capital?", TEXTS, SOON) == SCORES
        await asked.close()
        (call,) = host.calls
        assert (call.method, call.path) == ("POST", HOSTS[kind].path)
        assert call.json == ASKED[kind]
        assert call.headers["authorization"] == "Bearer sk-secret"
        assert asked.name == f"{kind}/m"


async def test_cohere_is_asked_and_read_as_its_own_package_does():
    async with Upstream(answers(ANSWERS["cohere"])) as host, httpx.AsyncClient() as http:
        package = cohere.AsyncClientV2(api_key="sk-secret", base_url=host.url, httpx_client=http)
        read = await package.rerank(model="m", query="capital?", documents=TEXTS)
        asked = reranker("cohere", host.url)
        got = await asked.scores("capital?", TEXTS, SOON)
        await asked.close()
        theirs, ours = ((call.method, call.path, call.json, call.headers["authorization"]) for call in host.calls)
        assert theirs == ours
        assert {row.index: row.relevance_score for row in read.results} == dict(enumerate(got))


@pytest.mark.parametrize("kind", ["vllm", "tei"])
async def test_a_host_of_ones_own_needs_neither_a_key_nor_a_model(kind):
    async with Upstream(answers(ANSWERS[kind])) as host:
        asked = reranker(kind, f"{host.url}/v1/", model="", key="")
        assert await asked.scores("capital?", TEXTS, SOON) == SCORES
        await asked.close()
        assert host.calls[0].path == "/v1/rerank"
        assert "authorization" not in host.calls[0].headers
        assert "model" not in host.calls[0].json
        assert asked.name == kind


async def test_long_texts_are_cut_and_half_characters_replaced():
    async with Upstream(answers(b'{"results":[{"index":0,"relevance_score":1}]}')) as host:
        asked = reranker("jina", host.url)
        assert await asked.scores("q" * 9000, ["\ud800" + "t" * 9000], SOON) == [1.0]
        await asked.close()
        (text,) = host.calls[0].json["documents"]
        assert (len(host.calls[0].json["query"]), len(text), text[:2]) == (QUESTION, CHARACTERS, "?t")


@pytest.mark.parametrize(
    ("status", "code"),
    [
        (302, "upstream_refused"),
        (400, "upstream_refused"),
        (401, "upstream_auth"),
        (404, "upstream_model_or_path_unknown"),
        (413, "upstream_refused"),
        (429, "upstream_rate_limited"),
        (503, "upstream_unavailable"),
    ],
)
async def test_a_refusal_names_its_status_and_quotes_nothing(status, code):
    said = await fault(refuses(status, {"detail": "the key sk-secret, the question"}, retry_after="7"))
    assert (said.kind, said.upstream_status, said.retry_after) == (code, status, 7.0)
    assert f"answered {status}" in said.message
    assert "secret" not in said.message
    assert "question" not in said.message


async def test_what_stands_before_a_hosts_name_is_never_shown():
    async with Upstream(refuses(500)) as host:
        said = await fault(refuses(500), url=host.url.replace("http://", "http://me:sk-hidden@"))
    assert "sk-hidden" not in said.message
    assert said.upstream_status == 500


async def test_a_broken_connection_is_one_error_whatever_broke():
    async def cut(call):
        call.head(200, length=100)
        call.raw(b'{"results"')
        call.cut()

    async def garbled(call):
        call.head(200, length=4, content_encoding="gzip")
        call.raw(b"gzip")

    for script in (cut, garbled):
        assert (await fault(script)).kind == "upstream_unreachable"
    assert (await fault(silent, url="http://127.0.0.1:1")).kind == "upstream_unreachable"


async def test_an_answer_without_end_is_not_read_to_its_end(monkeypatch):
    monkeypatch.setattr(hosted, "ANSWER", 5000)

    async def floods(call):
        call.head(200)
        while not call.gone.is_set():
            call.chunk(b" " * 1000)
            await asyncio.sleep(0.001)

    assert (await fault(floods)).kind == "upstream_too_large"


async def test_a_question_that_is_let_go_of_lets_go_of_its_host():
    async with Upstream(silent) as host:
        asked = reranker("cohere", host.url)
        task = asyncio.create_task(asked.scores("q", ["a", "b"], SOON))
        await host.asked()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        await asyncio.wait_for(host.calls[0].gone.wait(), 30)
        await asked.close()
    async with unaccepted() as url:
        asked = reranker("cohere", url)
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(asked.scores("q", ["a", "b"], SOON), 0.05)
        await asked.close()


@pytest.mark.parametrize(
    "answer",
    [
        b"",
        b"<html>",
        b"{}",
        b"[]",
        b'{"results": null}',
        b'{"results": []}',
        b'{"results": [{"index": 0, "relevance_score": 1}]}',
        b'{"results": [{"index": 0, "relevance_score": 1}, {"index": 0, "relevance_score": 1}]}',
        b'{"results": [{"index": 0, "relevance_score": 1}, {"index": 2, "relevance_score": 1}]}',
        b'{"results": [{"index": -1, "relevance_score": 1}, {"index": 0, "relevance_score": 1}]}',
        b'{"results": [{"index": 1, "relevance_score": 1}, {"index": 2, "relevance_score": 1}]}',
        b'{"results": [{"index": 0, "relevance_score": 1}, {"index": 1, "relevance_score": 1}, {"index": 1, "relevance_score": 2}]}',
        b'{"results": [{"index": 0, "relevance_score": 1}, {"index": 1, "relevance_score": null}]}',
        b'{"results": [{"index": 0, "relevance_score": 1}, {"index": 1, "relevance_score": "1"}]}',
        b'{"results": [{"index": 0, "relevance_score": 1}, {"index": 1, "relevance_score": NaN}]}',
        b'{"results": [{"index": 0, "relevance_score": 1}, {"index": 1, "relevance_score": Infinity}]}',
        b'{"results": [{"index": 0, "relevance_score": 1}, {"index": 1.5, "relevance_score": 1}]}',
        b'{"results": [{"index": 0, "relevance_score": 1}, {"index": true, "relevance_score": 1}]}',
        b'{"results": [{"index": 0, "relevance_score": 1}, {"index": 99999999999999999999999, "relevance_score": 1}]}',
        b"\xff\xfe",
        b'{"results": ' + b"[" * 100_000,
    ],
)
def test_an_answer_that_is_not_one_score_for_each_text_is_an_error_of_the_host(answer):
    with pytest.raises(UpstreamError) as caught:
        scores(HOSTS["cohere"], answer, 2)
    assert caught.value.kind == "upstream_bad_answer"


@given(st.permutations(range(6)), st.lists(st.floats(allow_nan=False, allow_infinity=False), min_size=6, max_size=6))
def test_scores_come_in_the_order_of_the_texts_however_a_host_ranks_them(order, values):
    rows = [{"index": n, "score": values[n]} for n in order]
    assert scores(HOSTS["tei"], json.dumps(rows).encode(), 6) == values


@given(st.binary(max_size=200))
def test_no_bytes_are_anything_but_scores_or_one_error(answer):
    for host in HOSTS.values():
        try:
            got = scores(host, answer, 2)
        except UpstreamError:
            continue
        assert len(got) == 2
        assert not any(map(math.isnan, got))
