"""AWS's own `bedrock-runtime` client, unmodified, on Converse and ConverseStream. The words come from the simulated provider."""

from __future__ import annotations

import asyncio
import contextlib
import shutil
import subprocess

import boto3
import httpx
import pytest
from botocore.config import Config
from botocore.exceptions import ClientError, EventStreamError

from serving import serving
from tidewire.server.settings import Server

FAST = "sim: tokens=30 ttft_ms=0 interval_ms=0"
SLOW = "sim: tokens=2000 ttft_ms=0 interval_ms=5"
TOOL = {"toolSpec": {"name": "look_up", "description": "Looks", "inputSchema": {"json": {"type": "object"}}}}


@pytest.fixture(autouse=True)
def environment(monkeypatch):
    for name in ("AWS_PROFILE", "AWS_SESSION_TOKEN", "AWS_BEARER_TOKEN_BEDROCK"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "AKIAIOSFODNN7EXAMPLE")  # it signs; nobody here reads the signature
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "none")


def made(url: str, verify=None):
    config = Config(retries={"total_max_attempts": 1}, proxies={}, read_timeout=20)
    return boto3.session.Session().client(
        "bedrock-runtime", region_name="us-east-1", endpoint_url=url, config=config, verify=verify
    )


@pytest.fixture
async def client(server_url):
    client = await asyncio.to_thread(made, server_url)
    yield client
    client.close()


def asking(said: str = FAST, **more) -> dict:
    return {"modelId": "simulated", "messages": [{"role": "user", "content": [{"text": said}]}]} | more


async def whole(client, said: str = FAST, **more) -> dict:
    return await asyncio.to_thread(lambda: client.converse(**asking(said, **more)))


async def streamed(client, said: str = FAST, **more) -> list[tuple[str, dict]]:
    """The events by name, in order."""

    def read():
        with contextlib.closing(client.converse_stream(**asking(said, **more))["stream"]) as stream:
            return [item for event in stream for item in event.items()]

    return await asyncio.to_thread(read)


def deltas(events, index: int = 0) -> list[dict]:
    return [e["delta"] for name, e in events if name == "contentBlockDelta" and e["contentBlockIndex"] == index]


async def test_an_answer_comes_whole(client):
    answer = await whole(client)
    [content] = answer["output"]["message"]["content"]
    assert content["text"].startswith("A river")
    assert len(content["text"].split()) == 30
    assert answer["stopReason"] == "end_turn"
    usage = answer["usage"]
    assert usage["outputTokens"] == 30
    assert usage["totalTokens"] == usage["inputTokens"] + 30
    assert answer["metrics"]["latencyMs"] >= 0
    assert answer["ResponseMetadata"]["RequestId"]


async def test_an_answer_is_streamed_and_says_the_same(client):
    answer, events = await whole(client), await streamed(client)
    text = "".join(d["text"] for d in deltas(events))
    assert [{"text": text}] == answer["output"]["message"]["content"]
    names = [name for name, _ in events]
    assert names == [
        "messageStart",
        *["contentBlockDelta"] * len(deltas(events)),
        "contentBlockStop",
        "messageStop",
        "metadata",
    ]
    assert events[-2][1] == {"stopReason": "end_turn"}
    assert events[-1][1]["usage"]["outputTokens"] == 30


async def test_a_tool_is_called_and_answered(client):
    said = "sim: tokens=3 tool=look_up,look_up ttft_ms=0 interval_ms=0"
    config = {"tools": [TOOL], "toolChoice": {"auto": {}}}
    answer, events = await whole(client, said, toolConfig=config), await streamed(client, said, toolConfig=config)
    text, *calls = answer["output"]["message"]["content"]
    assert text["text"].startswith("A river")
    assert [c["toolUse"]["name"] for c in calls] == ["look_up", "look_up"]
    assert calls[0]["toolUse"]["input"] == {"place": "Paris", "unit": "celsius"}
    assert answer["stopReason"] == "tool_use"
    starts = [e["start"]["toolUse"] for name, e in events if name == "contentBlockStart"]
    assert [s["name"] for s in starts] == ["look_up", "look_up"]
    assert "".join(d["toolUse"]["input"] for d in deltas(events, 1)) == '{"place": "Paris", "unit": "celsius"}'
    results = [
        {"toolResult": {"toolUseId": c["toolUse"]["toolUseId"], "content": [{"json": {"n": 42}}], "status": "success"}}
        for c in calls
    ]
    messages = [
        {"role": "user", "content": [{"text": said}]},
        answer["output"]["message"],
        {"role": "user", "content": [*results, {"text": FAST}]},
    ]
    again = await whole(client, messages=messages, toolConfig=config)
    assert again["output"]["message"]["content"][0]["text"].startswith("A river")


async def test_thoughts_stand_before_the_text_and_are_handed_back(client):
    said = "sim: tokens=3 thinking=4 ttft_ms=0 interval_ms=0"
    answer, events = await whole(client, said), await streamed(client, said)
    thought, text = answer["output"]["message"]["content"]
    assert thought["reasoningContent"]["reasoningText"]["text"].startswith("First the question")
    assert (
        "".join(d["reasoningContent"]["text"] for d in deltas(events))
        == (thought["reasoningContent"]["reasoningText"]["text"])
    )
    assert "".join(d["text"] for d in deltas(events, 1)) == text["text"]
    messages = [
        {"role": "user", "content": [{"text": said}]},
        answer["output"]["message"],
        {"role": "user", "content": [{"text": FAST}]},
    ]
    assert (await whole(client, messages=messages))["stopReason"] == "end_turn"


async def test_images_documents_and_a_system_are_taken(client):
    content = [
        {"image": {"format": "png", "source": {"bytes": b"\x89PNG"}}},
        {"document": {"format": "pdf", "name": "Report", "source": {"bytes": b"%PDF"}}},
        {"text": FAST},
    ]
    answer = await whole(client, messages=[{"role": "user", "content": content}], system=[{"text": "Be brief."}])
    assert answer["stopReason"] == "end_turn"


async def test_limits_and_stop_strings_are_kept(client):
    limited = await whole(client, inferenceConfig={"maxTokens": 5})
    [content] = limited["output"]["message"]["content"]
    assert (limited["stopReason"], len(content["text"].split())) == ("max_tokens", 5)
    stopped = await streamed(client, inferenceConfig={"stopSequences": ["yet"]})
    assert "".join(d["text"] for d in deltas(stopped)).strip() == "A river does not hurry, and"
    assert stopped[-2][1]["stopReason"] == "stop_sequence"


@pytest.mark.parametrize(
    ("error", "code", "status"),
    [
        ("overloaded", "ThrottlingException", 429),
        ("unavailable", "ModelErrorException", 502),
        ("timeout", "ModelTimeoutException", 504),
        ("defect", "InternalServerException", 500),
    ],
)
@pytest.mark.parametrize("ask", [whole, streamed])
async def test_an_error_before_the_first_word_is_raised_by_its_name(client, ask, error, code, status):
    with pytest.raises(ClientError) as caught:
        await ask(client, f"sim: error={error} ttft_ms=0")
    assert caught.value.response["Error"]["Code"] == code
    assert caught.value.response["Error"]["Message"]
    assert caught.value.response["ResponseMetadata"]["HTTPStatusCode"] == status


async def test_the_names_of_errors_are_those_of_the_clients_own_exceptions(client):
    with pytest.raises(client.exceptions.ThrottlingException):
        await whole(client, "sim: error=overloaded ttft_ms=0")
    with pytest.raises(client.exceptions.ResourceNotFoundException, match="none"):
        await whole(client, modelId="none/at-all")
    with pytest.raises(client.exceptions.ValidationException, match="messages is empty"):
        await whole(client, messages=[])


async def test_an_error_after_the_first_word_is_raised_from_the_stream(client):
    seen: list[str] = []

    def read():
        said = "sim: tokens=9 fail_after=3 error=cut ttft_ms=0 interval_ms=1"
        with contextlib.closing(client.converse_stream(**asking(said))["stream"]) as stream:
            for event in stream:
                seen.extend([event["contentBlockDelta"]["delta"]["text"]] if "contentBlockDelta" in event else [])

    with pytest.raises(EventStreamError, match="closed the connection") as caught:
        await asyncio.to_thread(read)
    assert caught.value.response["Error"]["Code"] == "modelStreamErrorException"
    assert len("".join(seen).split()) == 3


async def test_a_stream_that_is_closed_stops_the_answer(client, server_url):
    def read_a_word():
        answer = client.converse_stream(**asking(SLOW))
        for event in answer["stream"]:
            if "contentBlockDelta" in event:
                break
        answer["stream"].close()
        return answer["ResponseMetadata"]["RequestId"]

    stream = await asyncio.to_thread(read_a_word)
    async with httpx.AsyncClient(base_url=server_url) as http, asyncio.timeout(30):
        while (await http.get(f"/v1/streams/{stream}")).json().get("ended") is None:
            await asyncio.sleep(0.005)
        document = (await http.get(f"/v1/streams/{stream}/events?as=json")).json()
    assert (document["status"], document["reason"]) == ("cancelled", "disconnect")


async def test_over_tls_the_servers_key_goes_as_a_bearer_token(tmp_path, monkeypatch):
    if shutil.which("openssl") is None:
        pytest.skip("needs the openssl command to make a certificate")
    pem, crt = tmp_path / "key.pem", tmp_path / "cert.pem"
    words = "req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 2 -subj /CN=localhost -addext"
    command = ["openssl", *words.split(), "subjectAltName=IP:127.0.0.1", "-keyout", pem, "-out", crt]
    await asyncio.to_thread(subprocess.run, command, check=True, capture_output=True)
    monkeypatch.setenv("AWS_BEARER_TOKEN_BEDROCK", "the-key")
    server = Server(api_key="the-key", tls_cert=str(crt), tls_key=str(pem))
    async with serving(tmp_path / "data", server=server) as tidewire:
        client = await asyncio.to_thread(made, f"https://127.0.0.1:{tidewire.port}", str(crt))
        assert (await whole(client))["stopReason"] == "end_turn"
        assert (await streamed(client))[-2][1] == {"stopReason": "end_turn"}
        client.close()


async def test_without_tls_the_servers_key_goes_in_a_header_of_its_own(tmp_path):
    async with serving(tmp_path, server=Server(api_key="the-key")) as tidewire:
        client = await asyncio.to_thread(made, tidewire.url)
        with pytest.raises(client.exceptions.AccessDeniedException, match="Bearer"):
            await whole(client)
        client.meta.events.register(
            "before-send.bedrock-runtime", lambda request, **_: request.headers.update({"x-api-key": "the-key"})
        )
        assert (await whole(client))["stopReason"] == "end_turn"
        client.close()
