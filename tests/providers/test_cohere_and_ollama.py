"""Cohere and Ollama as hosts over real sockets: the same events whichever way an answer is framed, and what their refusals become."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import pytest
from plain_chat import Cup, question

from decoding import decoded
from tidewire.core.errors import UpstreamError
from tidewire.core.events import Attempt, Delta, Event, Finish, PartStarted, Progress, Timing
from tidewire.dialects.openai_models import read_models
from tidewire.providers import local_hosts
from tidewire.providers.local_hosts import discover
from tidewire.server.assemble import house
from tidewire.server.hosts import hosted, keys, spoken
from tidewire.server.settings import Log, Models, Provider, Settings
from upstream import Call, Script, Upstream, refuses

COHERE = (
    "".join(
        f"event: {event['type']}\ndata: {json.dumps(event, ensure_ascii=False)}\n\n"
        for event in (
            {"type": "message-start", "id": "m", "delta": {"message": {"role": "assistant", "content": []}}},
            {"type": "content-start", "index": 0, "delta": {"message": {"content": {"type": "text", "text": ""}}}},
            {"type": "content-delta", "index": 0, "delta": {"message": {"content": {"text": "Grüße 👋"}}}},
            {"type": "content-end", "index": 0},
            {"type": "message-end", "delta": {"finish_reason": "COMPLETE", "usage": {"tokens": {"input_tokens": 3}}}},
        )
    ).encode()
    + b"data: [DONE]\n\n"
)
OLLAMA = "".join(
    json.dumps({"model": "m"} | line, ensure_ascii=False) + "\n"
    for line in (
        {"message": {"role": "assistant", "content": "", "thinking": "hm"}, "done": False},
        {"message": {"role": "assistant", "content": "Grüße 👋"}, "done": False},
        {
            "message": {"role": "assistant", "content": ""},
            "done": True,
            "done_reason": "stop",
            "eval_duration": 2_000_000,
        },
    )
).encode()
WIRES = {"cohere": (COHERE, "text/event-stream"), "ollama": (OLLAMA, "application/x-ndjson")}


def framed(wire: bytes, media: str, size: int, way: str) -> Script:
    """way: chunked, with a content-length, or until the host closes."""

    async def script(call: Call) -> None:
        call.head(200, content_type=media, chunked=way == "chunked", length=len(wire) if way == "length" else None)
        for at in range(0, len(wire), size):
            call.chunk(wire[at : at + size])
            await asyncio.sleep(0)
        if way == "close":
            call.close()
        else:
            call.end()

    return script


def host(kind: str, url: str, **settings: Any) -> Any:
    return hosted(kind, "far", Provider(kind=kind, base_url=url, retries=0, **settings))


def told(events: list[Event]) -> list[Event]:
    """What the decoder said; the driver's own events stand apart."""
    out = [e for e in events if not isinstance(e, Attempt | Progress)]
    return [e for e in out if not isinstance(e, Timing) or e.span.source == "reported"]


@pytest.mark.parametrize("way", ["chunked", "length", "close"])
@pytest.mark.parametrize("size", [1, 7, 10_000])
@pytest.mark.parametrize("kind", WIRES)
async def test_an_answer_is_the_same_however_it_is_framed(kind: str, size: int, way: str) -> None:
    wire, media = WIRES[kind]
    cup = Cup()
    async with Upstream(framed(wire, media, size, way)) as up:
        provider = host(kind, up.url)
        await provider.answer(question(model="far/m"), cup)
        speaker = provider._speaker
        await provider.close()
    assert told(cup.events) == decoded(speaker, wire)[0]
    assert "".join(e.text for e in cup.events if isinstance(e, Delta)).endswith("Grüße 👋")
    assert isinstance(cup.events[-1], Finish)
    call = up.calls[0]
    assert (call.method, call.path, call.json["model"]) == (
        "POST",
        {"cohere": "/v2/chat", "ollama": "/api/chat"}[kind],
        "m",
    )


@pytest.mark.parametrize(("kind", "body"), [("cohere", {"message": "slow down"}), ("ollama", {"error": "slow down"})])
async def test_a_refusal_is_told_in_the_hosts_words(kind: str, body: dict[str, str]) -> None:
    async with Upstream(refuses(429, body)) as up:
        provider = host(kind, up.url)
        with pytest.raises(UpstreamError, match="slow down") as caught:
            await provider.answer(question(), Cup())
        await provider.close()
    assert (caught.value.kind, caught.value.status) == ("upstream_rate_limited", 429)


@pytest.mark.parametrize("kind", WIRES)
async def test_a_document_where_a_stream_belongs_is_an_error(kind: str) -> None:
    async with Upstream(refuses(200, {"error": "out of order"})) as up:
        provider = host(kind, up.url)
        with pytest.raises(UpstreamError, match="out of order"):
            await provider.answer(question(), Cup())
        await provider.close()


async def test_the_key_goes_with_every_request_and_stays_out_of_errors(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CO_API_KEY", "secret-key-of-mine")
    async with Upstream(refuses(401, {"message": "invalid key secret-key-of-mine"})) as up:
        provider = host("cohere", up.url)
        with pytest.raises(UpstreamError) as caught:
            await provider.answer(question(), Cup())
        await provider.close()
    assert up.calls[0].headers["authorization"] == "Bearer secret-key-of-mine"
    assert "secret" not in caught.value.message


@pytest.mark.parametrize(
    ("kind", "body", "path"),
    [
        ("cohere", {"models": [{"name": "command-a"}]}, "/v1/models?endpoint=chat&page_size=1000"),
        ("ollama", {"models": [{"name": "command-a", "model": "command-a"}]}, "/api/tags"),
    ],
)
async def test_the_models_of_a_host_are_listed(kind: str, body: dict[str, Any], path: str) -> None:
    async with Upstream(refuses(200, body)) as up:
        provider = host(kind, up.url)
        assert [m.id for m in await provider.models()] == ["far/command-a"]
        await provider.close()
    assert up.calls[0].path == path


# An Ollama on this machine, found without being configured


def both(tags: Any, models: Any) -> Script:
    """A server that answers at Ollama's own path and at OpenAI's; None: 404."""

    async def script(call: Call) -> None:
        body = {"/api/tags": tags, "/v1/models": models}[call.path]
        await refuses(404 if body is None else 200, body or {})(call)

    return script


TAGS = {"models": [{"name": "llama3:latest", "model": "llama3:latest"}]}
LISTED = {"data": [{"id": "llama3:latest"}]}


@pytest.mark.parametrize(
    ("tags", "models", "kind", "path"),
    [
        (TAGS, LISTED, "ollama", ""),
        (TAGS, None, "ollama", ""),
        (None, LISTED, "compatible", "/v1"),  # another server on Ollama's port
        ({"models": []}, LISTED, "compatible", "/v1"),
        (LISTED, LISTED, "compatible", "/v1"),
    ],
)
async def test_an_ollama_on_its_port_is_asked_in_its_own_protocol(tags: Any, models: Any, kind: str, path: str) -> None:
    async with Upstream(both(tags, models)) as up:
        [found] = await discover({}, read_models, keys(), spoken(), ports={"ollama": up.port})
    assert (found.name, found.kind, found.base_url, found.models) == (
        "ollama",
        kind,
        f"{up.url}{path}",
        ["llama3:latest"],
    )
    assert found.why == f"found on port {up.port}, where Ollama listens"
    assert sorted(call.path for call in up.calls) == ["/api/tags", "/v1/models"]


@pytest.mark.parametrize(("tags", "models"), [(None, None), ({"models": []}, {"data": []}), ([], [])])
async def test_what_lists_nothing_is_not_offered(tags: Any, models: Any) -> None:
    async with Upstream(both(tags, models)) as up:
        assert await discover({}, read_models, {}, spoken(), ports={"ollama": up.port}) == []


async def test_a_found_ollama_answers_with_its_thoughts_and_its_times(
    tmp_path: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def script(call: Call) -> None:
        if call.method == "GET":
            await both(TAGS, LISTED)(call)
        else:
            await framed(OLLAMA, "application/x-ndjson", 64, "chunked")(call)

    async with Upstream(script) as up:
        monkeypatch.setitem(local_hosts.PORTS, "ollama", up.port)
        for other in ("vllm", "llamacpp", "lmstudio"):
            monkeypatch.delitem(local_hosts.PORTS, other)
        for variable, _ in keys().values():
            monkeypatch.delenv(variable, raising=False)
        settings = Settings(data=str(tmp_path), log=Log(durability="memory"), models=Models(discover=True))
        async with house(settings, own_port=1) as parts:
            assert "ollama/llama3:latest" in [m.id for m in await parts.desk.models()]
            provider, model = await parts.catalogue.find("ollama/llama3:latest")
            cup = Cup()
            await provider.answer(question(model=model), cup)
    assert [e.kind for e in cup.events if isinstance(e, PartStarted)] == ["thinking", "text"]
    assert ("decode", 2.0) in [(e.span.name, e.span.ms) for e in cup.events if isinstance(e, Timing)]
