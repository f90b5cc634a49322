"""What the caches of answers and of results do behind a whole server as documents come and go."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from serving import Served, serving
from tidewire.server.cache_settings import Cache
from tidewire.server.settings import Retrieval
from upstream import Upstream, says

GROUNDED = Retrieval(models=["far/m"], deadline_ms=15_000.0)
QUESTION = "How often is high water?"
ANSWER = ("Twice a day [1].",)


async def put(tidewire: Served, name: str, text: str) -> None:
    path = f"/v1/documents/{name}?visible=lexical"
    status, _, _ = await tidewire.ask("PUT", path, text.encode(), content_type="text/markdown")
    assert status in (200, 201)


async def ask(tidewire: Served, model: str = "far/m", **more: str) -> bytes:
    asked: dict[str, Any] = {"model": model, "input": QUESTION, "cache": "max-age=600"} | more
    return (await tidewire.ask("POST", "/v1/streams", asked))[2]


@pytest.mark.parametrize("store", ["memory", "disk"])
async def test_an_answer_outlives_other_documents_and_a_restart_and_not_its_own(tmp_path: Path, store: Any) -> None:
    given = Cache(answers="asked", store=store)
    async with Upstream(*[says(*ANSWER)] * 5) as upstream:
        served = {"hosts": {"far": upstream.url}, "retrieval": GROUNDED, "cache": given}
        async with serving(tmp_path, **served) as tidewire:
            await put(tidewire, "tides.md", "# Tides\n\nHigh water comes twice a day.")
            await ask(tidewire)
            await put(tidewire, "birds.md", "# Birds\n\nA heron waits in the shallows.")
            assert b'"reused":"cache"' in await ask(tidewire)
            assert len(upstream.calls) == 1, "a document that it was not made of changes nothing"
        async with serving(tmp_path, **served) as tidewire:
            assert await tidewire.house.library.index.filled(30)
            body = await ask(tidewire)
            assert (b'"reused":"cache"' in body) == (store == "disk")
            assert b'"citation"' in body
            before = len(upstream.calls)
            await put(tidewire, "tides.md", "# Tides\n\nHigh water comes every 12 hours.")
            body = await ask(tidewire)
            assert b"every 12 hours" in body
            assert len(upstream.calls) == before + 1
            assert (await tidewire.ask("GET", "/v1/cache"))[2].startswith(b'{"answers":2')
            await tidewire.ask("DELETE", "/v1/documents/tides.md")
            assert (await tidewire.ask("GET", "/v1/cache"))[2].startswith(b'{"answers":0'), "it is deleted here, too"
            body = await ask(tidewire)
            assert b"12 hours" not in body
            assert b"retrieval_nothing" in body
            assert len(upstream.calls) == before + 2


async def test_what_the_model_that_quotes_says_is_searched_for_each_time(tmp_path: Path) -> None:
    async with serving(tmp_path, cache=Cache(answers="all", coalesce=True)) as tidewire:
        for text in ("# Tides\n\nHigh water comes twice a day.", "# Tides\n\nHigh water comes every 12 hours."):
            await put(tidewire, "tides.md", text)
            for _ in range(2):
                body = await ask(tidewire, "extractive")
                assert text[9:].strip().encode() in body
                assert b'"reused"' not in body
        await tidewire.ask("DELETE", "/v1/documents/tides.md")
        assert b"12 hours" not in await ask(tidewire, "extractive")


async def test_a_search_is_found_again_until_its_documents_change(tmp_path: Path) -> None:
    async def search(tenant: Served, **more: Any) -> tuple[str, list[str]]:
        _, _, raw = await tenant.ask("POST", "/v1/search", {"query": "high water"} | more)
        body = json.loads(raw)
        return body["cache"], [p["title"] for p in body["passages"]]

    async with serving(tmp_path) as tidewire:
        await put(tidewire, "tides.md", "# Tides\n\nHigh water comes twice a day.")
        assert [await search(tidewire) for _ in range(2)] == [("miss", ["Tides"]), ("hit", ["Tides"])]
        assert (await search(tidewire, groups=["staff"]))[0] == "miss"
        await tidewire.ask("DELETE", "/v1/documents/tides.md")
        assert await search(tidewire) == ("miss", [])
    async with serving(tmp_path, retrieval=Retrieval(results_s=0.0)) as tidewire:
        assert [await search(tidewire) for _ in range(2)] == [("miss", [])] * 2


async def test_a_stream_that_came_from_the_cache_is_resumed_as_it_was(tmp_path: Path) -> None:
    cache = Cache(answers="asked", replay="paced", pace=100_000.0)
    async with (
        Upstream(says("Twice ", "a day [1]", " at most.")) as upstream,
        serving(tmp_path, hosts={"far": upstream.url}, retrieval=GROUNDED, cache=cache) as tidewire,
    ):
        await put(tidewire, "tides.md", "# Tides\n\nHigh water comes twice a day.")
        await ask(tidewire)
        whole = await ask(tidewire, stream="again")
        await tidewire.ask("DELETE", "/v1/documents/tides.md")
        assert b'"reused":"cache"' in whole
        assert b'"citation"' in whole
        for after in (3, 6, 8):
            _, _, rest = await tidewire.ask("GET", "/v1/streams/again/events", last_event_id=f"{after}")
            at = f"id: {after + 1}\n".encode()
            assert rest[rest.index(at) :] == whole[whole.index(at) :]
