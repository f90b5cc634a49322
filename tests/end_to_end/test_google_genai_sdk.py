"""The official `google-genai` client, unmodified. The words come from the simulated provider."""

from __future__ import annotations

import pytest
from google import genai
from google.genai import errors, types

from serving import eventually, serving
from tidewire.server.settings import Server, Streams

FAST = "sim: tokens=30 ttft_ms=0 interval_ms=0"
SLOW = "sim: tokens=2000 ttft_ms=0 interval_ms=5"
DECLARED = types.Tool(
    function_declarations=[types.FunctionDeclaration(name="look_up", parameters_json_schema={"type": "object"})]
)


def made(url: str, key: str = "none", version: str = "v1beta") -> genai.Client:
    options = types.HttpOptions(base_url=url, api_version=version, async_client_args={"trust_env": False})
    return genai.Client(api_key=key, http_options=options)


@pytest.fixture(params=["v1", "v1beta"])
async def models(server_url, request):
    client = made(server_url, version=request.param)
    yield client.aio.models
    await client.aio.aclose()
    client.close()


async def streamed(models, said=FAST, **config) -> list[types.GenerateContentResponse]:
    asked = types.GenerateContentConfig(**config)
    return [c async for c in await models.generate_content_stream(model="simulated", contents=said, config=asked)]


def parts(responses) -> list[types.Part]:
    return [
        part
        for response in responses
        for candidate in response.candidates or []
        if candidate.content
        for part in candidate.content.parts or []
    ]


async def test_an_answer_comes_whole(models):
    answer = await models.generate_content(model="simulated", contents=FAST)
    assert answer.text.startswith("A river")
    assert len(answer.text.split()) == 30
    [candidate] = answer.candidates
    assert candidate.finish_reason == types.FinishReason.STOP
    assert answer.usage_metadata.candidates_token_count == 30
    assert answer.usage_metadata.total_token_count == answer.usage_metadata.prompt_token_count + 30


async def test_an_answer_is_streamed_and_says_the_same(models):
    whole = await models.generate_content(model="simulated", contents=FAST)
    responses = await streamed(models)
    assert "".join(part.text or "" for part in parts(responses)) == whole.text
    assert len(responses) > 10
    finishes = [c.finish_reason for r in responses for c in r.candidates if c.finish_reason]
    assert finishes == [types.FinishReason.STOP]
    assert responses[-1].usage_metadata.candidates_token_count == 30
    assert len({r.response_id for r in responses}) == 1


async def test_thoughts_are_parts_of_their_own(models):
    said = "sim: tokens=3 thinking=4 ttft_ms=0 interval_ms=0"
    responses = await streamed(models, said, thinking_config=types.ThinkingConfig(include_thoughts=True))
    thought = "".join(part.text for part in parts(responses) if part.thought)
    assert thought.startswith("First the question")
    assert responses[-1].usage_metadata.thoughts_token_count == 4


async def test_a_function_is_called_and_answered(models):
    said = "sim: tokens=2 tool=look_up,look_up ttft_ms=0 interval_ms=0"
    responses = await streamed(models, said, tools=[DECLARED])
    calls = [part.function_call for part in parts(responses) if part.function_call]
    assert [(c.name, c.args) for c in calls] == [("look_up", {"place": "Paris", "unit": "celsius"})] * 2
    assert calls[0].id != calls[1].id
    history = [
        types.Content(role="user", parts=[types.Part(text=FAST)]),
        types.Content(role="model", parts=[part for part in parts(responses) if part.function_call]),
        types.Content(
            role="user",
            parts=[
                types.Part(function_response=types.FunctionResponse(id=c.id, name=c.name, response={"output": "42"}))
                for c in calls
            ],
        ),
    ]
    answer = await models.generate_content(
        model="simulated", contents=history, config=types.GenerateContentConfig(tools=[DECLARED])
    )
    assert answer.text


async def test_a_chat_keeps_its_history(server_url):
    client = made(server_url)
    chat = client.aio.chats.create(model="simulated")
    async for _ in await chat.send_message_stream(FAST):
        pass
    assert (await chat.send_message(FAST)).text.startswith("A river")
    assert {content.role for content in chat.get_history()} == {"user", "model"}
    await client.aio.aclose()
    client.close()


async def test_limits_and_stop_sequences_are_kept(models):
    limited = await streamed(models, max_output_tokens=5)
    assert limited[-1].candidates[0].finish_reason == types.FinishReason.MAX_TOKENS
    stopped = await models.generate_content(
        model="simulated", contents=FAST, config=types.GenerateContentConfig(stop_sequences=["yet"])
    )
    assert stopped.text.strip() == "A river does not hurry, and"


@pytest.mark.parametrize(
    ("said", "kind", "code", "status"),
    [
        ("overloaded", errors.ClientError, 429, "RESOURCE_EXHAUSTED"),
        ("unavailable", errors.ServerError, 502, "UNAVAILABLE"),
        ("defect", errors.ServerError, 500, "INTERNAL"),
    ],
)
async def test_an_error_before_the_first_word_is_a_status(models, said, kind, code, status):
    question = f"sim: error={said} ttft_ms=0"
    with pytest.raises(kind) as caught:
        await models.generate_content(model="simulated", contents=question)
    assert (caught.value.code, caught.value.status) == (code, status)
    assert caught.value.message
    with pytest.raises(kind) as caught:
        await streamed(models, question)
    assert (caught.value.code, caught.value.status) == (code, status)


async def test_an_error_after_the_first_word_is_raised_from_the_stream(models):
    seen = []

    async def read():
        question = "sim: tokens=9 fail_after=3 error=cut ttft_ms=0 interval_ms=1"
        async for response in await models.generate_content_stream(model="simulated", contents=question):
            seen.append(response.text)

    with pytest.raises(errors.ServerError, match="closed the connection"):
        await read()
    assert len("".join(seen).split()) == 3


async def test_what_cannot_be_done_is_raised(models):
    with pytest.raises(errors.ClientError, match="there is no model") as caught:
        await models.generate_content(model="none", contents="hi")
    assert (caught.value.code, caught.value.status) == (404, "NOT_FOUND")
    config = types.GenerateContentConfig(max_output_tokens=0)
    with pytest.raises(errors.ClientError, match="maxOutputTokens is 0"):
        await models.generate_content(model="simulated", contents="hi", config=config)


async def test_tokens_are_counted_and_models_listed(models):
    assert (await models.count_tokens(model="simulated", contents="a" * 400)).total_tokens == 100
    assert "models/simulated" in {model.name async for model in await models.list()}
    assert "models/simulated" in {model.name async for model in await models.list(config={"page_size": 1})}
    assert (await models.get(model="simulated")).name == "models/simulated"


async def test_the_key_may_stand_in_a_header_or_in_the_address(tmp_path):
    async with serving(tmp_path, server=Server(api_key="k-1")) as tidewire:
        client = made(tidewire.url, "k-1")
        assert (await client.aio.models.generate_content(model="simulated", contents=FAST)).text
        await client.aio.aclose()
        client.close()
        body = {"contents": [{"parts": [{"text": FAST}]}]}
        path = "/v1beta/models/simulated:generateContent"
        statuses = [(await tidewire.ask("POST", path + key, body))[0] for key in ("?key=k-1", "?key=k-2", "")]
        assert statuses == [200, 401, 401]
        status, _, said = await tidewire.ask("POST", "/v1/streams?key=k-1", {"model": "simulated", "input": FAST})
        assert (status, b"API key" in said) == (401, True)  # nowhere else may a POST carry it there


async def test_a_stream_that_is_closed_stops_the_answer(tmp_path):
    async with serving(tmp_path) as tidewire:
        client = made(tidewire.url)
        stream = await client.aio.models.generate_content_stream(model="simulated", contents=SLOW)
        async for _ in stream:
            break
        assert len(tidewire.house.desk._runs) == 1
        await stream.aclose()
        await client.aio.aclose()
        client.close()
        await eventually(lambda: not tidewire.house.desk._runs)


async def test_a_long_silence_is_no_word_to_the_client(tmp_path, monkeypatch):
    monkeypatch.setattr("tidewire.server.app.TICK", 0.05)  # what is a second for heartbeats
    async with serving(tmp_path, streams=Streams(heartbeat_s=1.0)) as tidewire:
        client = made(tidewire.url)
        said = "sim: tokens=4 ttft_ms=500 interval_ms=0"
        answer = await client.aio.models.generate_content_stream(model="simulated", contents=said)
        texts = [response.text or "" async for response in answer]
        assert "".join(texts).startswith("A river")
        for alt in ("?alt=sse", ""):
            body = {"contents": [{"parts": [{"text": said}]}]}
            path = f"/v1beta/models/simulated:streamGenerateContent{alt}"
            _, headers, got = await tidewire.ask("POST", path, body)
            assert got.startswith(b"\r\n")
            assert headers["content-type"] == ("text/event-stream" if alt else "application/json")
        await client.aio.aclose()
        client.close()
