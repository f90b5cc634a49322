"""Documents of a whole server: put over HTTP, pushed by webhook, brought by a watched folder, counted, and over their time."""

from __future__ import annotations

import asyncio
import json
import time
from pathlib import Path
from typing import Any

import pytest

from serving import Served, serving
from tidewire.retrieval.sources.signed import sign
from tidewire.server.ingest_settings import SourceSettings


async def listed(tidewire: Served, **asked: str) -> dict[str, Any]:
    query = "&".join(f"{name}={value}" for name, value in asked.items())
    status, _, body = await tidewire.ask("GET", f"/v1/documents?{query}")
    assert status == 200
    return {one["uri"]: one for one in json.loads(body)["documents"]}


async def test_documents_come_in_by_three_ways_and_go(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOOK", "s3cret")
    docs = tmp_path / "docs"
    docs.mkdir()
    (docs / "tides.md").write_text("# Tides\n\nHigh water comes twice a day.")
    (docs / "data.bin").write_bytes(b"\0")
    sources = {
        "docs": SourceSettings(path=str(docs)),
        "crm": SourceSettings(kind="webhook", key_env="HOOK"),
        "gone": SourceSettings(path=str(tmp_path / "nowhere")),
    }
    async with serving(tmp_path / "data", sources=sources) as tidewire:
        status, _, body = await tidewire.ask(
            "PUT", "/v1/documents/put/one", b"# One\n\nBy hand.", content_type="text/markdown"
        )
        assert (status, json.loads(body)["status"]) == (201, "added")
        pushed = json.dumps({"documents": [{"location": "crm/7", "text": "Customer seven."}]}).encode()
        now = int(time.time())
        signature = {
            "webhook_id": "m1",
            "webhook_timestamp": str(now),
            "webhook_signature": sign(b"s3cret", "m1", now, pushed),
        }
        status, _, body = await tidewire.ask("POST", "/v1/sources/crm/webhook", pushed, **signature)
        assert (status, json.loads(body)["failed"]) == (200, 0)
        async with asyncio.timeout(30):
            while len(await listed(tidewire)) < 3:
                await asyncio.sleep(0.01)
        found = await listed(tidewire)
        assert {uri: one.get("source", "") for uri, one in found.items()} == {
            "tides.md": "docs",
            "put/one": "",
            "crm/7": "crm",
        }
        assert list(await listed(tidewire, source="docs")) == ["tides.md"]
        assert list(await listed(tidewire, like="customer")) == []
        assert list(await listed(tidewire, like="crm")) == ["crm/7"]

        rested = {"crm": "waiting", "docs": "waiting", "gone": "failing"}
        states: dict[str, dict[str, Any]] = {}
        async with asyncio.timeout(30):
            while {name: one["status"] for name, one in states.items()} != rested:
                answer = json.loads((await tidewire.ask("GET", "/v1/sources"))[2])
                states = {one["name"]: one for one in answer["sources"]}
        assert states["crm"]["report"]["indexed"] == 1
        assert states["docs"]["report"]["skipped"] == [["data.bin", "not read: binary"]]
        assert "there is no file or folder" in states["gone"]["error"]

        (docs / "tides.md").rename(docs / "moved.md")
        async with asyncio.timeout(30):
            while "moved.md" not in (found := await listed(tidewire)) or "tides.md" in found:
                await asyncio.sleep(0.01)
        status, _, body = await tidewire.ask("DELETE", "/v1/documents/crm/7")
        assert (status, json.loads(body)["status"]) == (200, "removed")
        assert (await tidewire.ask("GET", "/v1/documents/crm/7"))[0] == 404

        metrics = (await tidewire.ask("GET", "/metrics"))[2].decode()
        assert 'tidewire_documents_total{result="added",source="crm"} 1.0' in metrics
        assert 'tidewire_documents_total{result="skipped",source="docs"}' in metrics
        assert 'tidewire_ingest_seconds_count{stage="read"}' in metrics
    async with serving(tmp_path / "data") as again:  # what was acknowledged is there after a restart
        assert sorted(await listed(again)) == ["moved.md", "put/one"]


async def test_a_document_is_gone_when_its_time_is_over(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tidewire.server.intake.SWEEP_EVERY", 0.05)
    async with serving(tmp_path / "data") as tidewire:
        for lives in (0.5, 5.0, 30.0):  # seconds; it is refused where a busy machine takes longer to store it
            soon = time.time() + lives
            status, _, _ = await tidewire.ask("PUT", "/v1/documents/short", {"text": "Brief.", "expires": soon})
            if status == 201:
                break
        assert status == 201
        async with asyncio.timeout(30):
            while "short" in await listed(tidewire):
                await asyncio.sleep(0.02)
        assert time.time() >= soon
        assert (await tidewire.ask("GET", "/v1/documents/short"))[0] == 404
