"""Embeddings through the server, asked by the official `openai` client, unmodified; the host is scripted."""

from __future__ import annotations

import base64
import json
import struct

import openai
import pytest

from serving import eventually, serving
from tidewire.server.settings import Provider
from upstream import Call, Upstream, refuses, silent


async def embeds(call: Call) -> None:
    """A vector of its length for each input, in the encoding asked for."""
    asked = call.json
    rows = []
    for index, given in enumerate(asked["input"]):
        vector = [float(len(given)), 0.5]
        packed = base64.b64encode(struct.pack("<2f", *vector)).decode()
        rows.append(
            {
                "object": "embedding",
                "index": index,
                "embedding": packed if asked.get("encoding_format") == "base64" else vector,
            }
        )
    tokens = sum(map(len, asked["input"]))
    usage = {"prompt_tokens": tokens, "total_tokens": tokens}
    body = json.dumps({"object": "list", "data": rows, "model": asked["model"], "usage": usage}).encode()
    call.head(length=len(body), content_type="application/json")
    call.raw(body)


def client(served, **more) -> openai.AsyncOpenAI:
    return openai.AsyncOpenAI(base_url=f"{served.url}/v1", api_key="none", max_retries=0, **more)


@pytest.mark.parametrize("kind", ["compatible", "mistral"])
async def test_vectors_come_from_the_host_that_has_the_model(tmp_path, kind):
    async with Upstream(embeds) as far:
        given = {"far": Provider(kind=kind, base_url=f"{far.url}/v1", models=["vectors"])}
        async with serving(tmp_path, providers=given) as served, client(served) as sdk:
            answer = await sdk.embeddings.create(model="far/vectors", input=["ab", "cde"], dimensions=2)
            tokens = await sdk.embeddings.create(model="vectors", input=[[1, 2, 3, 4]], encoding_format="float")
    assert [e.embedding for e in answer.data] == [[2.0, 0.5], [3.0, 0.5]]
    assert (answer.usage.prompt_tokens, answer.model) == (5, "far/vectors")
    assert tokens.data[0].embedding == [4.0, 0.5]
    first, second = far.calls
    assert (first.path, first.method) == ("/v1/embeddings", "POST")
    assert first.json == {"model": "vectors", "input": ["ab", "cde"], "dimensions": 2} | (
        {} if kind == "mistral" else {"encoding_format": "base64"}
    )
    assert second.json["input"] == [[1, 2, 3, 4]]


async def test_a_provider_that_cannot_embed_says_so(tmp_path):
    async with serving(tmp_path) as served, client(served) as sdk:
        with pytest.raises(openai.BadRequestError) as caught:
            await sdk.embeddings.create(model="simulated", input="a")
        assert (caught.value.param, caught.value.code) == ("model", "unsupported_value")
        with pytest.raises(openai.NotFoundError):
            await sdk.embeddings.create(model="none", input="a")
        with pytest.raises(openai.BadRequestError) as caught:
            await sdk.embeddings.create(model="simulated", input=[])
        assert caught.value.param == "input"


@pytest.mark.parametrize(
    ("status", "kind"), [(429, openai.RateLimitError), (401, openai.APIStatusError), (500, openai.InternalServerError)]
)
async def test_a_refusal_of_the_host_is_an_error_in_openais_shape(tmp_path, status, kind):
    async with Upstream(refuses(status, {"error": {"message": "not today"}})) as far:
        given = {"far": Provider(base_url=f"{far.url}/v1", models=["m"], retries=0)}
        async with serving(tmp_path, providers=given) as served, client(served) as sdk:
            with pytest.raises(kind, match="not today") as caught:
                await sdk.embeddings.create(model="far/m", input="a")
    assert caught.value.body["code"].startswith("upstream_")


async def test_a_busy_host_is_asked_again(tmp_path):
    async with Upstream(refuses(503), embeds) as far:
        given = {"far": Provider(base_url=f"{far.url}/v1", models=["m"], retries=1)}
        async with serving(tmp_path, providers=given) as served, client(served) as sdk:
            answer = await sdk.embeddings.create(model="far/m", input="abc")
    assert answer.data[0].embedding == [3.0, 0.5]
    assert len(far.calls) == 2


@pytest.mark.parametrize("body", [b"{}", b"<html>", b'{"data":[{"embedding":[1]},{"embedding":[2]}]}'])
async def test_an_answer_that_holds_no_vectors_is_a_502(tmp_path, body):
    async def odd(call: Call) -> None:
        call.head(length=len(body), content_type="application/json")
        call.raw(body)

    async with Upstream(odd) as far:
        given = {"far": Provider(base_url=f"{far.url}/v1", models=["m"], retries=0)}
        async with serving(tmp_path, providers=given) as served, client(served) as sdk:
            with pytest.raises(openai.InternalServerError) as caught:
                await sdk.embeddings.create(model="far/m", input="a")
    assert (caught.value.status_code, caught.value.body["code"]) == (502, "upstream_bad_answer")


async def test_a_client_that_leaves_takes_its_question_along(tmp_path):
    async with Upstream(silent) as far:
        given = {"far": Provider(base_url=f"{far.url}/v1", models=["m"], retries=0)}
        async with serving(tmp_path, providers=given) as served:
            peer = await served.peer()
            peer.post("/v1/embeddings", {"model": "far/m", "input": "a"})
            await far.asked()
            await peer.close()
            await far.calls[0].gone.wait()
            [provider] = [p for p in served.house.catalogue.providers if p.name == "far"]
            await eventually(lambda: provider.host.in_use == 0)
