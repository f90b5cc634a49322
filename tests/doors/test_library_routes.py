"""What is indexed and indexing again, over HTTP: on the routes of a whole house, asked by two tenants."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest

from tidewire.core.errors import Unauthorized
from tidewire.retrieval.ports import Shelf
from tidewire.retrieval.stores.sqlite import SqliteStore
from tidewire.server.assemble import house
from tidewire.server.embedding_settings import Embedding
from tidewire.server.ingest_settings import SourceSettings
from tidewire.server.routes import router
from tidewire.server.settings import Log, Models, Settings

KEYS = {"Bearer a": "acme", "Bearer b": "bolt"}


class ByKey:
    """A key for each tenant."""

    def __init__(self, *given: object) -> None: ...

    def check(self, headers: Any, query_key: str | None = None) -> str:
        tenant = KEYS.get(headers.get("authorization", ""))
        if tenant is None:
            raise Unauthorized("no such key")
        return tenant


class Tenants:
    def __init__(self, transport: httpx.ASGITransport) -> None:
        self.acme, self.bolt, self.stranger = (
            httpx.AsyncClient(transport=transport, base_url="http://tidewire", headers={"authorization": key})
            for key in (*KEYS, "")
        )


@pytest.fixture
async def asked(tmp_path, monkeypatch) -> AsyncIterator[Tenants]:
    """Two tenants of a house; acme has a folder of three files, of which one cannot be read."""
    monkeypatch.setattr("tidewire.server.routes.Access", ByKey)
    monkeypatch.setenv("HOOK", "s3cret")
    monkeypatch.setattr("tidewire.retrieval.sources.supervisor.FIRST", 3600.0)  # "gone" fails once
    docs = tmp_path / "docs"
    docs.mkdir()
    (docs / "tides.md").write_text("# Tides\n\nHigh water comes twice a day.")
    (docs / "moon.md").write_text("# Moon\n\nThe moon draws the water.")
    (docs / "data.bin").write_bytes(b"\0")
    settings = Settings(
        data=str(tmp_path / "data"),
        log=Log(durability="memory"),
        models=Models(discover=False),
        embedding=Embedding(kind="none"),
        sources={
            "docs": SourceSettings(path=str(docs), namespace="acme", every_s=3600),
            "gone": SourceSettings(path=str(tmp_path / "nowhere"), namespace="acme"),
            "crm": SourceSettings(kind="webhook", key_env="HOOK", namespace="bolt"),
        },
    )
    async with house(settings, own_port=0) as built:
        app, _ = router(built)
        tenants = Tenants(httpx.ASGITransport(app=app))
        async with asyncio.timeout(20):
            while (state := built.documents.sources("acme"))[0]["last"] is None or not state[1]["error"]:
                await asyncio.sleep(0.005)
        yield tenants


async def look(client: httpx.AsyncClient) -> dict[str, Any]:
    answer = await client.get("/v1/library")
    assert answer.status_code == 200
    found: dict[str, Any] = answer.json()
    return found


async def ended(client: httpx.AsyncClient) -> dict[str, Any]:
    async with asyncio.timeout(20):
        while (job := (await client.get("/v1/reindex")).json()["job"])["status"] == "running":
            await asyncio.sleep(0.005)
    found: dict[str, Any] = job
    return found


async def test_what_is_indexed_is_told_by_source_and_age_and_what_was_not_taken_with_what_to_do(asked: Tenants) -> None:
    await asked.acme.put("/v1/documents/note?published=2020-01-01", content=b"An old note.")
    refused = await asked.acme.put("/v1/documents/scan", content=b"\0")
    assert refused.status_code == 400
    async with asyncio.timeout(30):
        while (found := await look(asked.acme))["sources"][0]["status"] != "waiting":
            await asyncio.sleep(0.005)  # a folder that begins to be watched is read once more
    assert (found["documents"], found["chunks"], found["pending"], found["encoder"]) == (3, 3, 0, None)
    assert [(one["source"], one["documents"]) for one in found["shelves"]] == [("", 1), ("docs", 2)]
    assert [count for _, count in found["ages"]] == [2, 2, 2, 2, 3]
    docs, gone = found["sources"]
    assert (docs["name"], docs["kind"], docs["status"], docs["report"]["left_out"]) == ("docs", "folder", "waiting", 1)
    assert docs["next"] > docs["last"]
    assert (gone["status"], gone["remedy"]) == ("failing", "Create the folder, or correct its path in the settings.")
    put, brought = found["troubles"]
    assert (put["source"], put["document"], put["why"]) == ("", "scan", "not read: binary")
    assert (brought["source"], brought["document"]) == ("docs", "data.bin")
    assert brought["remedy"].startswith("It is no text")
    await asked.acme.put("/v1/documents/scan", content=b"What it says.")
    assert [one["document"] for one in (await look(asked.acme))["troubles"]] == ["data.bin"]


async def test_a_tenant_sees_and_indexes_nothing_of_another(asked: Tenants) -> None:
    await asked.acme.put("/v1/documents/note", content=b"A secret.")
    await asked.acme.put("/v1/documents/scan", content=b"\0")
    note = (await asked.acme.get("/v1/documents/note")).json()["id"]
    found = await look(asked.bolt)
    assert (found["documents"], found["shelves"], found["troubles"]) == (0, [], [])
    assert [one["name"] for one in found["sources"]] == ["crm"]
    assert (await asked.bolt.get("/v1/passages", params={"document": note})).status_code == 404
    for wanted in ({"documents": [note]}, {"documents": ["note"]}, {"source": "docs"}):
        answer = await asked.bolt.post("/v1/reindex", json=wanted)
        assert answer.status_code == 404, wanted
    await asked.bolt.post("/v1/reindex", json={"everything": True})
    await ended(asked.bolt)
    assert (await asked.acme.get("/v1/documents/note")).json()["version"] == 1
    assert (await asked.acme.get("/v1/reindex")).json()["job"] is None


@pytest.mark.parametrize("path", ["/v1/library", "/v1/passages?document=x", "/v1/reindex"])
async def test_without_a_key_nobody_looks(asked: Tenants, path: str) -> None:
    assert (await asked.stranger.get(path)).status_code == 401


async def test_the_passages_of_a_document_come_a_page_at_a_time(asked: Tenants) -> None:
    text = "\n\n".join(f"# Part {n}\n\n{'water ' * 160}" for n in range(3))
    done = (
        await asked.acme.put("/v1/documents/long", content=text.encode(), headers={"content-type": "text/markdown"})
    ).json()
    stored = (await asked.acme.get("/v1/documents/long")).json()
    long, text = stored["id"], stored["text"]
    first = (await asked.acme.get("/v1/passages", params={"document": long, "limit": 2})).json()
    rest = (await asked.acme.get("/v1/passages", params={"document": long, "after": first["after"]})).json()
    assert len(first["passages"]) == 2
    assert rest["after"] is None
    every = first["passages"] + rest["passages"]
    assert len(every) == done["chunks"]
    assert all(text[one["start"] :].startswith(one["text"]) for one in every)
    assert every[0]["heading"] == "Part 0"


async def test_a_document_is_cut_again_from_its_text_and_a_source_read_again(asked: Tenants) -> None:
    await asked.acme.put("/v1/documents/note?published=2020-01-01", content=b"A note.")
    begun = await asked.acme.post("/v1/reindex", json={"documents": ["note"]})
    assert (begun.status_code, begun.json()["what"], begun.json()["total"]) == (202, "note", 1)
    job = await ended(asked.acme)
    assert (job["status"], job["done"], job["failed"]) == ("done", 1, [])
    note = (await asked.acme.get("/v1/documents/note")).json()
    assert (note["version"], note["text"], note["published"]) == (2, "A note.", 1577836800.0)

    await asked.acme.post("/v1/reindex", json={"source": "docs"})
    job = await ended(asked.acme)
    assert (job["status"], job["done"], job["failed"]) == ("done", 2, [["data.bin", "not read: binary"]])
    listed = (await asked.acme.get("/v1/documents?source=docs")).json()["documents"]
    assert {one["version"] for one in listed} == {2}

    await asked.acme.post("/v1/reindex", json={"everything": True})
    job = await ended(asked.acme)
    assert (job["what"], job["status"]) == ("everything", "done")
    assert job["failed"][-1][0] == "gone", "a source that cannot be read stops no other"
    every = (await asked.acme.get("/v1/documents")).json()["documents"]
    assert {one["version"] for one in every} == {3}


async def test_one_job_at_a_time_and_it_can_be_stopped(asked: Tenants) -> None:
    lines = b"".join(b'{"location": "%d", "text": "Text %d."}\n' % (n, n) for n in range(200))
    await asked.acme.post("/v1/documents", content=lines)
    await asked.acme.post("/v1/reindex", json={"source": ""})
    second = await asked.acme.post("/v1/reindex", json={"everything": True})
    assert (second.status_code, second.json()["error"]["code"]) == (409, "conflict")
    assert (await asked.acme.delete("/v1/reindex")).json()["status"] == "cancelled"
    assert (await asked.acme.delete("/v1/reindex")).status_code == 404
    assert len((await asked.acme.get("/v1/documents?source=&limit=1000")).json()["documents"]) == 200


@pytest.mark.parametrize("body", [b"{}", b'{"everything": true, "source": "docs"}', b'{"all": true}', b"[]"])
async def test_a_job_is_for_one_thing(asked: Tenants, body: bytes) -> None:
    assert (await asked.acme.post("/v1/reindex", content=body)).status_code == 400


async def test_pages_that_look_at_once_have_the_documents_counted_once(
    asked: Tenants, monkeypatch: pytest.MonkeyPatch
) -> None:
    counted: list[str] = []
    count = SqliteStore.shelves

    async def counting(self: SqliteStore, namespace: str, now: float) -> list[Shelf]:
        counted.append(namespace)
        return await count(self, namespace, now)

    monkeypatch.setattr(SqliteStore, "shelves", counting)
    monkeypatch.setattr("tidewire.server.overview.SHARE", 1e-6)  # what was counted holds until all have looked
    looks = await asyncio.gather(*(look(asked.acme) for _ in range(5)), look(asked.bolt))
    assert [one["documents"] for one in looks] == [2] * 5 + [0]
    assert sorted(counted) == ["acme", "bolt"]
