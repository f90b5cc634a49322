"""AG-UI over HTTP: what the official client does not ask for."""

from __future__ import annotations

import json

import pytest

from serving import Served, eventually, serving
from tidewire.server.settings import Streams

SHORT = "sim: tokens=3 ttft_ms=0 interval_ms=0"
LONG = "sim: tokens=5000 ttft_ms=0 interval_ms=5"


@pytest.fixture
async def tidewire(tmp_path):
    async with serving(tmp_path, streams=Streams()) as served:
        yield served


def asked(said: str, run: str = "run-1", **more) -> dict:
    return {"threadId": "t1", "runId": run, "messages": [{"id": "u1", "role": "user", "content": said}]} | more


def told(body: bytes) -> list[dict]:
    return [json.loads(line[6:]) for line in body.decode().split("\n") if line.startswith("data: ")]


async def test_a_client_that_takes_only_json_gets_the_whole_run(tidewire: Served):
    status, headers, body = await tidewire.ask("POST", "/agui", asked(SHORT), accept="application/json")
    assert (status, headers["content-type"]) == (200, "application/json")
    run = json.loads(body)
    assert (run["runId"], run["outcome"]) == ("run-1", {"type": "success"})
    assert run["messages"][0]["content"].startswith("A river")


async def test_a_whole_run_that_fails_is_a_status_with_the_event(tidewire: Served):
    sent = asked("sim: error=overloaded ttft_ms=0")
    status, _, body = await tidewire.ask("POST", "/agui", sent, accept="application/json")
    assert status == 429
    assert json.loads(body)["code"] == "upstream_rate_limited"


async def test_a_second_run_under_the_same_id_is_a_conflict(tidewire: Served):
    await tidewire.ask("POST", "/agui", asked(SHORT))
    status, _, body = await tidewire.ask("POST", "/agui", asked(SHORT))
    assert (status, json.loads(body)["code"]) == (409, "conflict")


async def test_a_run_whose_id_is_none_of_ours_is_followed_by_the_streams_own(tidewire: Served):
    _, headers, body = await tidewire.ask("POST", "/agui", asked(SHORT, "run 1/ü"))
    assert told(body)[0]["runId"] == "run 1/ü"
    _, _, again = await tidewire.ask("GET", f"/agui/{headers['x-tidewire-stream']}")
    assert again == body


async def test_a_stream_of_another_protocol_is_told_as_a_run(tidewire: Served):
    await tidewire.ask("POST", "/v1/streams", {"model": "simulated", "input": SHORT, "stream": "s1", "chat": "c1"})
    _, _, body = await tidewire.ask("GET", "/agui/s1")
    first, *_, last = told(body)
    assert (first["threadId"], first["runId"]) == ("c1", "s1")
    assert last["type"] == "RUN_FINISHED"


async def test_a_run_is_one_stream_for_every_protocol(tidewire: Served):
    peer = await tidewire.peer()
    peer.post("/agui", asked(LONG))
    assert (await peer.head())[0] == 200
    await peer.until(b"TEXT_MESSAGE_CONTENT")
    status, _, body = await tidewire.ask("POST", "/v1/streams/run-1/cancel")
    assert (status, json.loads(body)["cancelled"]) == (200, True)
    assert told(await peer.body())[-1]["outcome"] == {"type": "cancelled"}


async def test_a_run_goes_on_for_a_while_when_its_reader_leaves(tidewire: Served):
    peer = await tidewire.peer()
    peer.post("/agui", asked(LONG))
    await peer.head()
    await peer.until(b"TEXT_MESSAGE_CONTENT")
    peer.reset()
    await eventually(lambda: tidewire.readers == 0)
    back = await tidewire.peer()
    back.get("/agui/run-1?after=3")
    assert (await back.head())[0] == 200
    assert (await back.until(b"TEXT_MESSAGE_CONTENT")).startswith(b"id: 4\n")
    await tidewire.ask("POST", "/v1/streams/run-1/cancel")


@pytest.mark.parametrize(
    ("path", "status", "code"),
    [
        ("/agui/run-1?after=-1", 400, "invalid_request"),
        ("/agui/run-1?after=x", 400, "invalid_request"),
        ("/agui/run-1?after=99", 400, "cursor_ahead"),
        ("/agui/never", 404, "unknown_stream"),
    ],
)
async def test_a_return_that_cannot_be_is_refused_in_the_protocols_own_shape(
    tidewire: Served, path: str, status: int, code: str
):
    await tidewire.ask("POST", "/agui", asked(SHORT))
    got, _, body = await tidewire.ask("GET", path)
    said = json.loads(body)
    assert (got, said["type"], said["metadata"]["status"]) == (status, "RUN_ERROR", status)
    assert said["code"] in (code, "invalid_value")


async def test_another_method_is_refused_in_the_protocols_own_shape(tidewire: Served):
    status, _, body = await tidewire.ask("GET", "/agui")
    assert (status, json.loads(body)["code"]) == (405, "method_not_allowed")
