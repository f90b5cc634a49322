"""What a server tells of its searches: in /metrics, in the waterfall of an answer, and to the doctor."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path

import pytest
from prometheus_client.parser import text_string_to_metric_families

from serving import Served, eventually, serving
from tidewire.cli import document_checks
from tidewire.server.ingest_settings import SourceSettings
from tidewire.server.settings import Retrieval, Server, Settings
from upstream import Upstream, says

GROUNDED = Retrieval(models=["far/m"], deadline_ms=15_000.0)
ANSWER = ("High water comes twice a day [1]. So there [7].",)


async def figures(tidewire: Served) -> dict[str, float]:
    """By name and label values, in the order of the labels' names."""
    _, _, body = await tidewire.ask("GET", "/metrics")
    return {
        " ".join((sample.name, *(value for _, value in sorted(sample.labels.items())))): sample.value
        for family in text_string_to_metric_families(body.decode())
        for sample in family.samples
    }


async def test_an_answer_from_documents_shows_in_the_figures_and_in_its_waterfall(tmp_path: Path) -> None:
    async with (
        Upstream(says(*ANSWER)) as upstream,
        serving(tmp_path, hosts={"far": upstream.url}, retrieval=GROUNDED) as tidewire,
    ):
        where = "/v1/documents/tides.md?visible=lexical"
        await tidewire.ask("PUT", where, b"# Tides\n\nHigh water comes twice a day.", content_type="text/markdown")
        await tidewire.ask("DELETE", "/v1/documents/none.md")
        _, _, body = await tidewire.ask("POST", "/v1/streams", {"model": "far/m", "input": "How often is high water?"})
        lines = [json.loads(line[5:]) for line in body.decode().splitlines() if line.startswith("data:")]
        spans = {span["name"] for span in lines[-1]["spans"]}
        assert {"retrieval", "retrieval.lexical", "retrieval.fuse", "retrieval.fetch", "retrieval.rank"} <= spans

        await tidewire.ask("POST", "/v1/search", {"query": "zebra"})
        await eventually(lambda: tidewire.house.library.index.ready == "full")
        found = await figures(tidewire)
        told = {
            "tidewire_searches_total some words": 1,
            "tidewire_searches_total none words": 1,
            "tidewire_search_seconds_count all": 2,
            "tidewire_served_age_seconds_count indexed": 1,
            "tidewire_expired_served_total": 0,
            "tidewire_groundings_total given": 1,
            "tidewire_passages_given_total": 1,
            "tidewire_citations_total given": 1,
            "tidewire_citations_total unknown": 1,
            "tidewire_visible_seconds_count lexical": 1,
            "tidewire_index_ready": 1,
            "tidewire_index_chunks": 1,
            "tidewire_index_behind_changes": 0,
            "tidewire_documents_total added ": 1,
        }
        assert {name: found.get(name) for name in told} == told


async def test_the_doctor_is_told_by_a_running_server_which_sources_fail(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tidewire.retrieval.sources.supervisor.FIRST", 3600.0)
    sources = {"gone": SourceSettings(path=str(tmp_path / "gone"))}
    async with serving(tmp_path / "data", sources=sources) as tidewire:
        asked = Settings(sources=sources, server=Server(port=tidewire.port))
        states: dict[str, dict[str, object]] = {}
        while not states.get("gone", {}).get("error"):
            states = await asyncio.to_thread(document_checks._states, asked)
        [line] = await asyncio.to_thread(lambda: list(document_checks.sources(asked)))
        assert (line.level, line.said.startswith("failed 1 times since its last pass")) == ("warn", True)
        assert line.todo
