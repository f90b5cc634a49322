"""A scripted model host asks for tools; real MCP servers and a scripted HTTP service answer; the client reads one answer.

Over Chat Completions with the official client, and over the native protocol.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import openai
import pytest

from matrix.discovery import clients
from serving import Served, eventually, serving
from tidewire.server.tools_settings import Tools
from upstream import Call, Script, Upstream, chat, refuses, says, streams

CLIENTS = clients()
HERE = Path(__file__).parents[1] / "toolbox"
PETS = {
    "openapi": "3.1.0",
    "paths": {
        "/pets/{id}": {
            "parameters": [{"name": "id", "in": "path", "schema": {"type": "string"}}],
            "get": {"operationId": "getPet"},
            "delete": {"operationId": "dropPet"},
        }
    },
}


def calls(*wanted: tuple[str, dict[str, Any]]) -> Script:
    """An answer of a model host that calls these tools."""
    said = [
        {"index": n, "id": f"call_{n}", "type": "function", "function": {"name": name, "arguments": json.dumps(given)}}
        for n, (name, given) in enumerate(wanted)
    ]
    choice = {"index": 0, "delta": {"tool_calls": said}, "finish_reason": None}
    return streams(chat(choices=[choice]), chat(finish="tool_calls"), b"data: [DONE]\n\n")


def mcp(file: str, *more: str, **given: Any) -> Tools:
    return Tools(kind="mcp", command=[sys.executable, str(HERE / file), *more], **given)


def results(call: Call) -> list[str]:
    """What the model host was told that its calls came to."""
    return [message["content"] for message in call.json["messages"] if message["role"] == "tool"]


@contextlib.asynccontextmanager
async def asked(folder: Path, tools: dict[str, Tools], *scripts: Script) -> AsyncIterator[tuple[Served, Upstream]]:
    async with Upstream(*scripts) as host, serving(folder, hosts={"far": host.url}, tools=tools) as tidewire:
        yield tidewire, host


async def completed(tidewire: Served) -> Any:
    async with openai.AsyncOpenAI(base_url=f"{tidewire.url}/v1", api_key="none", max_retries=0) as client:
        messages: Any = [{"role": "user", "content": "Well?"}]
        return await client.chat.completions.create(model="far/m", messages=messages)


async def events(tidewire: Served) -> list[dict[str, Any]]:
    status, _, body = await tidewire.ask(
        "POST", "/v1/streams", {"model": "far/m", "input": "Well?"}, accept="application/x-ndjson"
    )
    assert status == 200, body
    return [json.loads(line) for line in body.splitlines() if line]


@pytest.mark.parametrize("revision", ["2025-11-25", "2026-07-28"])
async def test_a_model_calls_a_tool_of_an_mcp_process(tmp_path: Path, revision: str) -> None:
    pytest.importorskip("mcp")
    tools = {"sums": mcp("mcp_official.py", revision=revision)}
    wants = calls(("add", {"a": 2, "b": 3}), ("with_dots", {}))
    async with asked(tmp_path, tools, wants, says("It is", " 5.")) as (tidewire, host):
        answer = await completed(tidewire)
        assert answer.choices[0].message.content == "It is 5."
        assert answer.choices[0].finish_reason == "stop"
        assert "add" in {tool["function"]["name"] for tool in host.calls[0].json["tools"]}
        assert results(host.calls[1]) == ["5", "odd"]


async def test_the_native_protocol_shows_the_calls_and_what_they_came_to(tmp_path: Path) -> None:
    pytest.importorskip("mcp")
    wants = calls(("add", {"a": 2, "b": 3}), ("fails", {}))
    async with asked(tmp_path, {"sums": mcp("mcp_official.py")}, wants, says("Five.")) as (tidewire, host):
        seen = await events(tidewire)
        started = [event for event in seen if event["type"] == "part"]
        assert [event["kind"] for event in started].count("tool_result") == 2
        assert {event["name"]: event.get("failed", False) for event in started if event["kind"] == "tool_result"} == {
            "add": False,
            "fails": True,
        }
        assert seen[-1]["type"] == "closed"
        assert seen[-1]["status"] == "completed"
        assert results(host.calls[1])[0] == "5"


@pytest.mark.parametrize("dialect", CLIENTS)
async def test_a_client_of_every_dialect_reads_the_answer_and_is_asked_for_nothing(
    tmp_path: Path, dialect: str
) -> None:
    rex = refuses(200, b'{"name":"Rex"}', content_type="application/json")
    host = (calls(("getPet", {"id": "7"})), says("It is", " Rex."))
    async with pets(tmp_path, rex) as (tools, service), asked(tmp_path, tools, *host) as (tidewire, far):
        client = CLIENTS[dialect]
        question = client.question("text", "far/m")
        answer = client.read(*await tidewire.ask("POST", question.path, question.body, **question.headers))
        assert (answer.text, answer.finish, answer.error) == ("It is Rex.", "stop", None)
        shown = [("getPet", {"id": "7"})]  # with its result, where the dialect has words for that
        assert list(answer.calls) in ([], shown)
        assert len(service.calls) == 1
        assert results(far.calls[1]) == ['{"name":"Rex"}']


async def test_a_model_calls_a_tool_of_an_mcp_server_over_http(tmp_path: Path) -> None:
    pytest.importorskip("mcp")
    from toolbox.test_mcp_official import web

    async with web() as url:
        tools = {"far": Tools(kind="mcp", url=url)}
        async with asked(tmp_path, tools, calls(("add", {"a": 2, "b": 3})), says("Five.")) as (tidewire, host):
            assert (await completed(tidewire)).choices[0].message.content == "Five."
            assert results(host.calls[1]) == ["5"]


async def test_tools_of_two_servers_that_are_called_the_same_are_told_apart(tmp_path: Path) -> None:
    pytest.importorskip("mcp")
    tools = {"one": mcp("mcp_official.py"), "two": mcp("mcp_official.py")}
    wants = calls(("one_add", {"a": 1, "b": 1}), ("two_add", {"a": 2, "b": 2}))
    async with asked(tmp_path, tools, wants, says("Done.")) as (tidewire, host):
        await completed(tidewire)
        names = [tool["function"]["name"] for tool in host.calls[0].json["tools"]]
        assert len(names) == len(set(names)) == 20
        assert results(host.calls[1]) == ["2", "4"]


@pytest.mark.parametrize(
    ("fault", "said"), [("dies", "went away in the middle of the call"), ("nonsense", "gave no result")]
)
async def test_a_server_that_fails_a_call_is_told_to_the_model(tmp_path: Path, fault: str, said: str) -> None:
    pytest.importorskip("mcp")
    wants = calls(("go", {}))
    async with asked(tmp_path, {"bad": mcp("mcp_scripted.py", fault)}, wants, says("Sorry.")) as (tidewire, host):
        assert (await completed(tidewire)).choices[0].message.content == "Sorry."
        [result] = results(host.calls[1])
        assert said in result


async def test_a_server_that_never_answers_ends_with_the_deadline(tmp_path: Path) -> None:
    pytest.importorskip("mcp")
    tools = {"bad": mcp("mcp_scripted.py", "never", timeout_s=0.2)}
    async with asked(tmp_path, tools, calls(("go", {})), says("Sorry.")) as (tidewire, host):
        assert (await completed(tidewire)).choices[0].message.content == "Sorry."
        [result] = results(host.calls[1])
        assert "in time" in result or "within 0.2 s" in result


async def test_a_call_after_a_server_died_finds_it_started_again(tmp_path: Path) -> None:
    pytest.importorskip("mcp")
    wants = calls(("go", {}))
    async with asked(tmp_path, {"bad": mcp("mcp_scripted.py", "dies")}, wants, wants, says("Sorry.")) as (
        tidewire,
        host,
    ):
        assert (await completed(tidewire)).choices[0].message.content == "Sorry."
        assert all("went away in the middle of the call" in result for result in results(host.calls[2]))


async def test_a_server_that_is_not_there_brings_no_tool_and_stops_no_answer(tmp_path: Path) -> None:
    pytest.importorskip("mcp")
    async with asked(tmp_path, {"dead": mcp("mcp_scripted.py", "dies at once")}, says("Fine.")) as (tidewire, host):
        assert (await completed(tidewire)).choices[0].message.content == "Fine."
        assert "tools" not in host.calls[0].json


async def test_a_result_of_a_hundred_megabytes_is_told_with_its_size(tmp_path: Path) -> None:
    pytest.importorskip("mcp")
    wants = calls(("huge", {"size": 100_000_000}), ("huge", {"size": 300_000}))
    async with asked(tmp_path, {"sums": mcp("mcp_official.py")}, wants, says("Too much.")) as (tidewire, host):
        assert (await completed(tidewire)).choices[0].message.content == "Too much."
        message, text = results(host.calls[1])
        assert "8388608" in message
        assert "300000 bytes of text; 262144 are allowed" in text


async def test_a_picture_of_a_tool_reaches_the_model(tmp_path: Path) -> None:
    pytest.importorskip("mcp")
    async with asked(tmp_path, {"sums": mcp("mcp_official.py")}, calls(("picture", {})), says("A dot.")) as (
        tidewire,
        host,
    ):
        assert (await completed(tidewire)).choices[0].message.content == "A dot."
        *_, result, behind = host.calls[1].json["messages"]
        assert result["role"] == "tool"
        assert behind["role"] == "user"
        assert behind["content"][1]["image_url"]["url"].startswith("data:image/png;base64,")


@contextlib.asynccontextmanager
async def pets(folder: Path, *scripts: Script, **given: Any) -> AsyncIterator[tuple[dict[str, Tools], Upstream]]:
    (folder / "pets.json").write_text(json.dumps(PETS))
    async with Upstream(*scripts) as service:
        yield (
            {"pets": Tools(kind="openapi", document=str(folder / "pets.json"), base_url=service.url, **given)},
            service,
        )


async def test_a_model_calls_an_operation_of_an_http_service(tmp_path: Path) -> None:
    rex = refuses(200, b'{"name":"Rex"}', content_type="application/json")
    async with pets(tmp_path, rex, refuses(204), writes=True) as (tools, service):
        wants = (calls(("getPet", {"id": "a/b"})), calls(("dropPet", {"id": "7"})), says("Gone."))
        async with asked(tmp_path, tools, *wants) as (tidewire, host):
            assert (await completed(tidewire)).choices[0].message.content == "Gone."
            assert [(call.method, call.path) for call in service.calls] == [
                ("GET", "/pets/a%2Fb"),
                ("DELETE", "/pets/7"),
            ]
            assert len(service.calls[1].headers["idempotency-key"]) > 20
            assert results(host.calls[1]) == ['{"name":"Rex"}']
            assert results(host.calls[2])[1] == "done; the service answered 204 and nothing else"


async def test_a_read_that_fails_on_its_way_is_asked_again_and_a_write_is_not(tmp_path: Path) -> None:
    async def cut(call: Call) -> None:
        call.cut()

    rex = refuses(200, b'{"name":"Rex"}', content_type="application/json")
    async with pets(tmp_path, cut, rex, cut, writes=True) as (tools, service):
        wants = (calls(("getPet", {"id": "7"})), calls(("dropPet", {"id": "7"})), says("So."))
        async with asked(tmp_path, tools, *wants) as (tidewire, host):
            await completed(tidewire)
            assert [call.method for call in service.calls] == ["GET", "GET", "DELETE"]
            assert results(host.calls[1]) == ['{"name":"Rex"}']
            assert "could not be reached" in results(host.calls[2])[1]


async def test_a_client_that_leaves_lets_go_of_the_service(tmp_path: Path) -> None:
    async def slow(call: Call) -> None:
        call.head(200, content_type="application/json")
        call.chunk(b"[")
        await call.stall()

    async with (
        pets(tmp_path, slow) as (tools, service),
        asked(tmp_path, tools, calls(("getPet", {"id": "7"}))) as (tidewire, _),
    ):
        client = await tidewire.peer()
        client.post(
            "/v1/chat/completions", {"model": "far/m", "stream": True, "messages": [{"role": "user", "content": "?"}]}
        )
        await service.asked()
        client.reset()
        async with asyncio.timeout(30):
            await service.calls[0].gone.wait()
        await eventually(lambda: not service.open)


async def test_a_client_reads_how_far_a_tool_is_and_takes_the_call_with_it_when_it_leaves(tmp_path: Path) -> None:
    pytest.importorskip("mcp")
    tools = {"sums": mcp("mcp_official.py", env={"NOTES": str(tmp_path)})}
    async with asked(tmp_path / "data", tools, calls(("slow", {}))) as (tidewire, _):
        client = await tidewire.peer()
        client.post("/v1/streams", {"model": "far/m", "input": "Well?", "on_disconnect": "cancel"})
        assert (await client.head())[0] == 200
        async with asyncio.timeout(30):
            await client.until(b"slow: began")
        client.reset()
        await eventually((tmp_path / "cancelled").exists)
