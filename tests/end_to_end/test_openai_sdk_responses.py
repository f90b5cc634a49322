"""The official `openai` client, unmodified, against a running server. The words come from the simulated provider."""

from __future__ import annotations

import asyncio

import openai
import pytest

FAST = "sim: tokens=30 ttft_ms=0 interval_ms=0"
SLOW = "sim: tokens=2000 ttft_ms=0 interval_ms=5"
ENDS = ("response.completed", "response.incomplete", "response.failed")


@pytest.fixture
async def client(server_url):
    async with openai.AsyncOpenAI(base_url=f"{server_url}/v1", api_key="none", max_retries=0) as client:
        yield client


async def create(client, said=FAST, **more):
    return await client.responses.create(model="simulated", input=said, **more)


async def settled(client, response_id):
    """The response once it no longer runs."""
    while (response := await client.responses.retrieve(response_id)).status in ("queued", "in_progress"):
        await asyncio.sleep(0.005)
    return response


async def test_an_answer_comes_whole(client):
    response = await create(client, instructions="Be brief.", metadata={"k": "v"})
    assert response.status == "completed"
    assert response.output_text.startswith("A river")
    assert response.id.startswith("resp_")
    assert (response.instructions, response.metadata) == ("Be brief.", {"k": "v"})
    assert response.usage is not None
    assert response.usage.output_tokens == 30


async def test_an_answer_is_streamed_event_by_event(client):
    events = [event async for event in await create(client, stream=True)]
    assert [e.sequence_number for e in events] == list(range(len(events)))
    assert (events[0].type, events[-1].type) == ("response.created", "response.completed")
    text = "".join(e.delta for e in events if e.type == "response.output_text.delta")
    assert text == events[-1].response.output_text


async def test_the_streaming_helper_accumulates_the_answer(client):
    async with client.responses.stream(model="simulated", input=FAST) as stream:
        final = await stream.get_final_response()
    assert final.status == "completed"
    assert final.output_text == (await client.responses.retrieve(final.id)).output_text


async def test_thinking_and_tools_are_streamed(client):
    tool = {"type": "function", "name": "look_up", "parameters": {"type": "object"}, "strict": False}
    said = "sim: tokens=3 thinking=4 tool=look_up ttft_ms=0 interval_ms=0"
    events = [e async for e in await create(client, said, stream=True, tools=[tool])]
    final = events[-1].response
    assert [item.type for item in final.output] == ["reasoning", "message", "function_call"]
    assert final.output[2].name == "look_up"
    assert "response.reasoning_text.delta" in [e.type for e in events]
    assert (
        "".join(e.delta for e in events if e.type == "response.function_call_arguments.delta")
        == final.output[2].arguments
    )


async def test_a_background_response_is_queued_runs_on_and_is_retrieved(client):
    response = await create(client, background=True)
    assert response.status == "queued"
    assert response.background
    done = await settled(client, response.id)
    assert done.status == "completed"
    assert done.output_text.startswith("A river")


async def test_a_background_stream_resumes_behind_the_event_seen_last(client):
    seen = []
    stream = await create(client, "sim: tokens=60 ttft_ms=0 interval_ms=2", stream=True, background=True)
    async for event in stream:
        seen.append(event)
        if len(seen) == 12:
            break
    await stream.close()
    response_id = seen[0].response.id
    resumed = await client.responses.retrieve(response_id, stream=True, starting_after=seen[-1].sequence_number)
    seen += [event async for event in resumed]
    assert [e.sequence_number for e in seen] == list(range(len(seen)))
    assert seen[-1].type == "response.completed"
    again = [e async for e in await client.responses.retrieve(response_id, stream=True)]
    assert [e.to_dict() for e in again] == [e.to_dict() for e in seen]


async def test_starting_after_zero_leaves_out_the_first_event_only(client):
    response = await create(client)
    events = [e async for e in await client.responses.retrieve(response.id, stream=True, starting_after=0)]
    assert events[0].sequence_number == 1


async def test_a_cursor_past_the_end_is_refused(client):
    response = await create(client)
    events = [e async for e in await client.responses.retrieve(response.id, stream=True)]
    last = events[-1].sequence_number
    assert [e async for e in await client.responses.retrieve(response.id, stream=True, starting_after=last)] == []
    for cursor in (last + 1, -1):
        with pytest.raises(openai.BadRequestError) as caught:
            await client.responses.retrieve(response.id, stream=True, starting_after=cursor)
        assert caught.value.param == "starting_after"


async def test_cancel_ends_the_stream_of_whoever_reads_it(client):
    stream = await create(client, SLOW, stream=True, background=True)
    events = []
    async for event in stream:
        events.append(event)
        if event.type == "response.output_text.delta" and len(events) < 12:
            cancelled = await client.responses.cancel(events[0].response.id)
            assert cancelled.status == "cancelled"
    assert events[-1].type == "response.incomplete"
    assert events[-1].response.status == "cancelled"
    again = await client.responses.cancel(events[0].response.id)
    assert again.status == "cancelled"


async def test_leaving_a_stream_that_is_not_in_the_background_cancels_it(client):
    stream = await create(client, SLOW, stream=True)
    first = await anext(aiter(stream))
    await stream.close()
    assert (await settled(client, first.response.id)).status == "cancelled"


async def test_deleted_is_gone(client):
    response = await create(client)
    await client.responses.delete(response.id)
    with pytest.raises(openai.APIStatusError) as caught:
        await client.responses.retrieve(response.id)
    assert caught.value.status_code in (404, 410)


async def test_input_items_are_listed_over_pages(client):
    said = [{"role": "user", "content": f"word {i}"} for i in range(4)]
    response = await create(client, [*said, {"role": "user", "content": FAST}])
    page = await client.responses.input_items.list(response.id, limit=2, order="asc")
    items = [item async for item in page]
    assert [item.content[0].text for item in items] == [*(m["content"] for m in said), FAST]


async def test_a_host_that_fails_before_a_word_is_an_http_error(client):
    with pytest.raises(openai.APIStatusError) as caught:
        await create(client, "sim: error=overloaded ttft_ms=0")
    assert caught.value.status_code in (429, 502, 503)
    assert caught.value.message


async def test_a_host_that_fails_in_mid_stream_raises_what_the_client_knows(client):
    stream = await create(client, "sim: tokens=9 ttft_ms=0 interval_ms=1 error=cut fail_after=3", stream=True)
    events = []

    async def read():
        async for event in stream:
            events.append(event)

    with pytest.raises(openai.APIError, match="closed the connection"):
        await read()
    kept = await client.responses.retrieve(events[0].response.id)
    assert kept.status == "failed"
    assert kept.error is not None
    assert kept.error.message
    assert kept.output_text.startswith("A river")


async def test_what_is_not_understood_is_refused_with_its_name(client):
    with pytest.raises(openai.BadRequestError) as caught:
        await create(client, previous_response_id="resp_x")
    assert caught.value.param == "previous_response_id"
    with pytest.raises(openai.NotFoundError):
        await client.responses.retrieve("resp_never")


async def test_a_response_is_the_same_after_the_server_was_started_anew(serve):
    told = []
    for _ in range(2):
        async with serve() as address, openai.AsyncOpenAI(base_url=f"{address}/v1", api_key="none") as client:
            response_id = told[0][0]["response"]["id"] if told else (await create(client, background=True)).id
            await settled(client, response_id)
            told.append([e.to_dict() async for e in await client.responses.retrieve(response_id, stream=True)])
            assert (await client.responses.input_items.list(response_id)).data
    assert told[0] == told[1]
    assert told[1][-1]["type"] == "response.completed"
