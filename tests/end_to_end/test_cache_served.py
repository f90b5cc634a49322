"""The cache behind a whole server, asked by the official clients."""

from __future__ import annotations

import asyncio
import contextlib
import json

import anthropic
import openai
import pytest

from serving import eventually, serving
from tidewire.server.cache_settings import Cache
from upstream import Upstream

PIECES = ["A river ", "runs."]


class Paused:
    """A host that speaks Chat Completions, word by word when it is let."""

    def __init__(self):
        self.go = asyncio.Event()

    async def __call__(self, call):
        call.head(200)
        call.chunk(chunk({"role": "assistant", "content": PIECES[0]}))
        await self.go.wait()
        call.chunk(chunk({"content": PIECES[1]}))
        call.chunk(chunk({}, "stop"))
        call.chunk(b'data: {"choices":[],"usage":{"prompt_tokens":4,"completion_tokens":2,"total_tokens":6}}\n\n')
        call.chunk(b"data: [DONE]\n\n")
        call.end()


def chunk(delta, finish=None):
    body = {"id": "c", "object": "chat.completion.chunk", "created": 1, "model": "m",
            "choices": [{"index": 0, "delta": delta, "finish_reason": finish}]}  # fmt: skip
    return b"data: " + json.dumps(body).encode() + b"\n\n"


@contextlib.asynccontextmanager
async def cached(folder, **given):
    script = Paused()
    async with (
        Upstream(script) as host,
        serving(folder, hosts={"far": host.url}, cache=Cache(**given)) as tidewire,
        openai.AsyncOpenAI(base_url=f"{tidewire.url}/v1", api_key="none", max_retries=0) as client,
    ):
        yield tidewire, host, script, client


def ask(client, **more):
    said = {"messages": [{"role": "user", "content": "What runs?"}], "temperature": 0, "stream": True}
    return client.chat.completions.create(model="far/m", **said | more)


async def text(stream):
    return "".join([c.choices[0].delta.content or "" async for c in stream if c.choices])


async def test_two_at_once_ask_once_a_third_not_at_all_and_the_first_may_leave(tmp_path):
    async with cached(tmp_path, answers="deterministic", coalesce=True) as (tidewire, host, script, client):
        first = await ask(client)
        await anext(aiter(first))
        second = asyncio.ensure_future(text(await ask(client)))
        await eventually(lambda: tidewire.house.desk.open_streams == 2)
        await first.close()
        await eventually(lambda: tidewire.house.desk.open_streams == 1)
        script.go.set()
        assert await second == "A river runs."
        assert len(host.calls) == 1
        await eventually(lambda: tidewire.house.desk.open_streams == 0)
        assert await text(await ask(client, user="ann")) == "A river runs."
        whole = await ask(client, stream=False)
        assert whole.choices[0].message.content == "A river runs."
        assert whole.usage.total_tokens == 6
        assert len(host.calls) == 1
        await text(await ask(client, extra_headers={"cache-control": "no-cache"}))
        assert len(host.calls) == 2
        _, _, metrics = await tidewire.ask("GET", "/metrics")
        assert b'tidewire_cache_hits_total{tier="exact"} 2.0' in metrics
        assert b"tidewire_cache_bytes" in metrics


async def test_the_last_to_leave_closes_the_connection_to_the_host(tmp_path):
    async with cached(tmp_path, coalesce=True) as (tidewire, host, _, client):
        streams = [await ask(client) for _ in range(3)]
        await eventually(lambda: tidewire.house.desk.open_streams == 3)
        for stream in streams:
            await anext(aiter(stream))
        for stream in streams[:2]:
            await stream.close()
        await eventually(lambda: tidewire.house.desk.open_streams == 1)
        assert not host.calls[0].gone.is_set()
        await streams[2].close()
        await asyncio.wait_for(host.calls[0].gone.wait(), 30)
        assert len(host.calls) == 1


async def test_an_answer_given_in_one_dialect_is_given_again_in_another(tmp_path):
    async with cached(tmp_path, answers="all") as (tidewire, host, script, client):
        script.go.set()
        said = {"messages": [{"role": "user", "content": "What runs?"}], "max_tokens": 50}
        fresh = await text(await ask(client, temperature=openai.NOT_GIVEN, **said))
        async with anthropic.AsyncAnthropic(base_url=tidewire.url, api_key="none", max_retries=0) as other:
            message = await other.messages.create(model="far/m", **said)
        assert message.content[0].text == fresh == "A river runs."
        assert message.usage.output_tokens == 2
        body = {"model": "far/m", "input": "What runs?", "max_tokens": 50}
        _, headers, _ = await tidewire.ask("POST", "/v1/streams?as=text", body)
        _, _, native = await tidewire.ask("GET", f"/v1/streams/{headers['x-tidewire-stream']}/events?as=ndjson")
        events = [json.loads(line) for line in native.splitlines() if line]
        assert [e["text"] for e in events if e["type"] == "delta"] == PIECES
        assert [e["provider"] for e in events if e["type"] == "attempt"] == ["cache"]
        assert events[-1]["reused"] == "cache"
        assert len(host.calls) == 1


@pytest.mark.parametrize("store", ["memory", "disk"])
async def test_a_restart_keeps_what_is_on_disk_and_a_tenant_may_forget_it(tmp_path, store):
    script = Paused()
    script.go.set()
    body = {"model": "far/m", "input": "What runs?", "cache": "max-age=600"}
    given = Cache(answers="asked", store=store)
    async with Upstream(script) as host:
        async with serving(tmp_path, hosts={"far": host.url}):
            pass  # makes the index: documents that change make answers out of date
        for _ in range(2):
            async with serving(tmp_path, hosts={"far": host.url}, cache=given) as tidewire:
                for _ in range(2):
                    _, _, answer = await tidewire.ask("POST", "/v1/streams?as=text", body)
                    assert answer == b"A river runs.\n"
        assert len(host.calls) == (1 if store == "disk" else 2)
        async with serving(tmp_path, hosts={"far": host.url}, cache=given) as tidewire:
            await tidewire.ask("POST", "/v1/streams?as=text", body)
            _, _, counted = await tidewire.ask("GET", "/v1/cache")
            assert json.loads(counted)["answers"] == 1
            _, _, gone = await tidewire.ask("DELETE", "/v1/cache")
            assert json.loads(gone) == {"deleted": 1}
            _, _, counted = await tidewire.ask("GET", "/v1/cache")
            assert json.loads(counted) == {"answers": 0, "bytes": 0}


async def test_without_settings_nothing_is_kept_or_shared(tmp_path):
    async with cached(tmp_path) as (_, host, script, client):
        script.go.set()
        await asyncio.gather(*[text(await ask(client)) for _ in range(2)])
        await text(await ask(client, extra_headers={"cache-control": "max-age=600"}))
        assert len(host.calls) == 3
