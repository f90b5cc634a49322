"""A server with a reranker: its order is what comes out, and where it gives none the answer says why."""

from __future__ import annotations

import json

from serving import serving
from tidewire.server.rerank_settings import Rerank
from upstream import Upstream, refuses, silent

DOCUMENTS = {"heron.md": "A heron waits in shallow water.", "owl.md": "An owl hunts at night, not in water."}


async def owls_first(call):
    rows = [{"index": n, "score": float("owl" in text)} for n, text in enumerate(call.json["texts"])]
    body = json.dumps(rows[::-1]).encode()
    call.head(200, length=len(body), content_type="application/json")
    call.raw(body)


async def search(served, query, **more):
    """Each time another question: what was found for one is kept for a while."""
    status, _, raw = await served.ask("POST", "/v1/search", {"query": query, "recency": "reference"} | more)
    assert status == 200
    return json.loads(raw)


async def test_its_order_counts_and_is_explained_until_it_fails(tmp_path):
    async with Upstream(owls_first, refuses(500), silent) as host:
        rerank = Rerank(kind="tei", base_url=host.url, model="bge", deadline_ms=10_000.0)
        async with serving(tmp_path, rerank=rerank) as served:
            for name, text in DOCUMENTS.items():
                status, _, _ = await served.ask("PUT", f"/v1/documents/{name}?visible=lexical", {"text": text})
                assert status == 201
            body = await search(served, "Where does a heron wait in water?")
            assert [p["uri"] for p in body["passages"]] == ["owl.md", "heron.md"]
            assert [p["parts"]["rerank"] for p in body["passages"]] == [1.0, 0.0]
            assert (body["reranker"], body["notices"]) == ("tei/bge", [])
            assert "rerank" in body["took_ms"]
            for why, query, more in (
                ("upstream_unavailable", "Does a heron wait in water?", {}),
                ("late", "Which heron waits in the water?", {"deadline_ms": 100}),
            ):
                body = await search(served, query, **more)
                assert [p["uri"] for p in body["passages"]] == ["heron.md", "owl.md"]
                assert [p["parts"]["rerank"] for p in body["passages"]] == [None, None]
                assert (body["reranker"], body["notices"]) == (None, [f"rerank:skipped:{why}"])
            _, _, metrics = await served.ask("GET", "/metrics")
            for result in ("done", "upstream_unavailable", "late"):
                assert f'tidewire_reranks_total{{reranker="tei/bge",result="{result}"}} 1.0'.encode() in metrics
