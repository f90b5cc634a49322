"""The official `ollama` client, unmodified, with its host set to <server>/ollama. The words come from the simulated provider."""

from __future__ import annotations

import asyncio

import httpx
import ollama
import pytest

from serving import serving
from tidewire.server.settings import Streams

FAST = "sim: tokens=30 ttft_ms=0 interval_ms=0"
SLOW = "sim: tokens=2000 ttft_ms=0 interval_ms=5"
TOOL = {"type": "function", "function": {"name": "look_up", "parameters": {"type": "object", "properties": {}}}}


@pytest.fixture
async def client(server_url):
    client = ollama.AsyncClient(host=f"{server_url}/ollama")
    yield client
    await client._client.aclose()


def asking(said: str = FAST, **more) -> dict:
    return {"model": "simulated", "messages": [{"role": "user", "content": said}]} | more


async def streamed(client, said: str = FAST, **more) -> list[ollama.ChatResponse]:
    return [part async for part in await client.chat(**asking(said, stream=True, **more))]


def text_of(parts) -> str:
    return "".join(part.message.content for part in parts)


async def test_an_answer_comes_whole(client):
    answer = await client.chat(**asking())
    assert answer.message.content.startswith("A river")
    assert len(answer.message.content.split()) == 30
    assert (answer.done, answer.done_reason, answer.eval_count, answer.model) == (True, "stop", 30, "simulated")
    assert answer.total_duration >= 0


async def test_an_answer_is_streamed_and_says_the_same(client):
    whole = await client.chat(**asking())
    parts = await streamed(client)
    assert text_of(parts) == whole.message.content
    assert [part.done for part in parts] == [False] * (len(parts) - 1) + [True]
    assert (parts[-1].done_reason, parts[-1].eval_count) == ("stop", 30)


async def test_a_prompt_is_answered_too(client):
    whole = await client.generate(model="simulated", prompt=FAST, system="Be brief.")
    assert whole.response.startswith("A river")
    parts = [part async for part in await client.generate(model="simulated", prompt=FAST, stream=True)]
    assert "".join(part.response for part in parts) == whole.response
    assert (whole.done_reason, parts[-1].done, parts[-1].eval_count) == ("stop", True, 30)


async def test_the_plain_client_reads_it_too(server_url):
    def read() -> str:
        client = ollama.Client(host=f"{server_url}/ollama")
        assert client.chat(**asking()).done
        assert client.list().models
        text = text_of(client.chat(**asking(stream=True)))
        client._client.close()
        return text

    assert (await asyncio.to_thread(read)).startswith("A river")


async def test_tools_are_called_and_their_results_come_back(client):
    said = "sim: tokens=4 tool=look_up,look_up ttft_ms=0 interval_ms=0"
    whole = await client.chat(**asking(said, tools=[TOOL]))
    calls = [(call.function.name, call.function.arguments) for call in whole.message.tool_calls]
    assert calls == [("look_up", {"place": "Paris", "unit": "celsius"})] * 2
    parts = await streamed(client, said, tools=[TOOL])
    assert [c.function.name for part in parts for c in part.message.tool_calls or ()] == ["look_up", "look_up"]
    results = [{"role": "tool", "content": "sunny", "tool_name": "look_up"}] * 2
    again = await client.chat(model="simulated", messages=[*asking(said)["messages"], whole.message, *results])
    assert again.done


async def test_thoughts_have_a_field_of_their_own(client):
    said = "sim: tokens=3 thinking=4 ttft_ms=0 interval_ms=0"
    parts = await streamed(client, said, think=True)
    thought = "".join(part.message.thinking or "" for part in parts)
    assert thought.startswith("First the question")
    whole = await client.chat(**asking(said, think="high"))
    assert (whole.message.thinking, whole.message.content) == (thought, text_of(parts))


async def test_limits_and_stop_strings_are_kept(client):
    limited = await client.chat(**asking(options={"num_predict": 5}))
    assert (limited.done_reason, len(limited.message.content.split())) == ("length", 5)
    stopped = await client.chat(**asking(options={"stop": ["yet"]}))
    assert (stopped.done_reason, stopped.message.content.strip()) == ("stop", "A river does not hurry, and")


@pytest.mark.parametrize(
    ("error", "status"), [("overloaded", 429), ("unavailable", 502), ("cut", 502), ("defect", 500)]
)
@pytest.mark.parametrize("stream", [False, True])
async def test_an_error_before_the_first_word_is_a_status(client, error, status, stream):
    said = f"sim: error={error} ttft_ms=0"
    with pytest.raises(ollama.ResponseError) as caught:
        await (streamed(client, said) if stream else client.chat(**asking(said)))
    assert caught.value.status_code == status
    assert caught.value.error


async def test_an_error_after_the_first_word_is_raised_from_the_stream(client):
    stream = await client.chat(**asking("sim: tokens=9 fail_after=3 error=cut ttft_ms=0 interval_ms=1", stream=True))
    seen = []

    async def read():
        async for part in stream:
            seen.append(part)

    with pytest.raises(ollama.ResponseError, match="closed the connection"):
        await read()
    assert len(text_of(seen).split()) == 3


@pytest.mark.parametrize(("more", "status"), [({"model": "none"}, 404), ({"messages": []}, 400)])
async def test_what_cannot_be_done_is_raised(client, more, status):
    with pytest.raises(ollama.ResponseError) as caught:
        await client.chat(**(asking() | more))
    assert caught.value.status_code == status
    assert next(iter(more)) in caught.value.error


async def test_a_stream_that_is_closed_stops_the_answer(client, server_url):
    stream = await client.chat(**asking(SLOW, stream=True))
    async for part in stream:
        if part.message.content:
            break
    await stream.aclose()
    async with httpx.AsyncClient(base_url=server_url) as http, asyncio.timeout(30):
        while (row := (await http.get("/v1/streams")).json()["streams"][0]).get("ended") is None:
            await asyncio.sleep(0.005)
        document = (await http.get(f"/v1/streams/{row['stream']}/events?as=json")).json()
    assert (document["status"], document["reason"]) == ("cancelled", "disconnect")


async def test_a_heartbeat_in_a_silence_is_a_line_that_adds_nothing(tmp_path, monkeypatch):
    monkeypatch.setattr("tidewire.server.app.TICK", 0.05)  # what is a second for heartbeats
    async with serving(tmp_path, streams=Streams(heartbeat_s=1)) as tidewire:
        client = ollama.AsyncClient(host=f"{tidewire.url}/ollama")
        said = "sim: tokens=3 ttft_ms=500 interval_ms=0"
        parts = await streamed(client, said)
        prompted = [part async for part in await client.generate(model="simulated", prompt=said, stream=True)]
        await client._client.aclose()
    for filled in (parts, prompted):
        assert (filled[0].model, filled[0].done) == (None, False)
    assert len(text_of(parts).split()) == len("".join(part.response for part in prompted).split()) == 3


async def test_models_are_listed_and_shown(client):
    listed = await client.list()
    [model] = [m for m in listed.models if m.model == "simulated"]
    assert model.modified_at.year == 1970
    shown = await client.show("simulated")
    assert (shown.capabilities, shown.modelinfo) == (["completion"], {})
    with pytest.raises(ollama.ResponseError) as caught:
        await client.show("none")
    assert caught.value.status_code == 404


@pytest.mark.parametrize("body", [b"", b"{", b"[]", b"{}", b'{"model":5}'])
async def test_what_is_shown_has_a_name(server_url, body):
    async with httpx.AsyncClient(base_url=server_url) as http:
        got = await http.post("/ollama/api/show", content=body)
    assert (got.status_code, list(got.json())) == (400, ["error"])


async def test_a_client_finds_that_somebody_is_there(server_url):
    async with httpx.AsyncClient(base_url=server_url) as http:
        for path in ("/ollama", "/ollama/"):
            assert (await http.head(path)).status_code == 200
            assert (await http.get(path)).text == "Tidewire is running\n"
        assert (await http.get("/ollama/api/version")).json()["version"]
        assert list((await http.get("/ollama/api/nothing")).json()) == ["error"]
