"""`tidewire mcp` as a program: documents without a server, several requests at a time, requests that are cancelled."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import subprocess
import threading

import pytest

from cli.conftest import COMMAND, QUIET
from tidewire.doors.mcp_stdio import Lines


def call(number, method, **params):
    return json.dumps({"jsonrpc": "2.0", "id": number, "method": method, "params": params})


def search(number, query):
    return call(number, "tools/call", name="search", arguments={"query": query})


def test_it_opens_the_documents_by_itself_and_standard_output_is_the_protocols_alone(run, tmp_path):
    (tmp_path / "birds.md").write_text("# Birds\n\nA heron waits in water.\n")
    assert run("ingest", "birds.md", "--data", "shelf", **QUIET).exit_code == 0
    lines = [call(1, "initialize", protocolVersion="2025-11-25"), search("two", "heron"), "{odd"]
    done = run("mcp", "--data", "shelf", stdin="\n".join(lines) + "\n", **QUIET)
    assert done.exit_code == 0
    answers = {answer["id"]: answer for answer in map(json.loads, done.stdout.splitlines())}
    assert answers[1]["result"]["protocolVersion"] == "2025-11-25"
    assert "heron waits" in answers["two"]["result"]["structuredContent"]["results"][0]["text"]
    assert answers[None]["error"]["code"] == -32700


def test_a_data_folder_without_documents_is_said_on_standard_error(tmp_path):
    done = subprocess.run(
        [*COMMAND, "mcp", "--data", str(tmp_path)], env=QUIET, input=b"", capture_output=True, timeout=120, check=True
    )
    assert (done.stdout, b"tidewire ingest" in done.stderr) == (b"", True)


@pytest.mark.parametrize("flag", ["--data", "--config"])
def test_a_server_and_a_folder_at_once_are_refused(run, flag):
    done = run("mcp", "--url", "http://127.0.0.1:1", flag, "here")
    assert (done.exit_code, "give one of them" in done.stderr) == (2, True)


def test_without_a_server_at_the_address_each_request_is_answered(run):
    lines = [call(4, "ping"), json.dumps({"jsonrpc": "2.0", "method": "notifications/x"})]
    done = run("mcp", "--url", "http://127.0.0.1:1", stdin="\n".join(lines) + "\n")
    (answer,) = map(json.loads, done.stdout.splitlines())
    assert (answer["id"], done.exit_code) == (4, 0)
    assert "no answer from http://127.0.0.1:1/mcp" in answer["error"]["message"]


class Client:
    """Both ends of the pipes that a program of ours would have as standard input and output."""

    def __init__(self, ask) -> None:
        given, self._to = os.pipe()
        self._from, out = os.pipe()
        self._files = [os.fdopen(given, "rb"), os.fdopen(out, "wb"), os.fdopen(self._from, "rb")]
        self._lines = Lines(ask, self._files[0], self._files[1])

    async def __aenter__(self):
        self.over = asyncio.create_task(self._lines.serve())
        return self

    async def __aexit__(self, *_):
        os.close(self._to)
        await self.over
        for thread in threading.enumerate():
            if thread.name == "mcp-input":
                await asyncio.to_thread(thread.join)
        for file in self._files:
            with contextlib.suppress(BrokenPipeError):
                file.close()

    def leave(self):
        self._files[2].close()

    def say(self, *lines):
        os.write(self._to, "".join(line + "\n" for line in lines).encode())

    async def hear(self):
        async with asyncio.timeout(30):
            return json.loads(await asyncio.to_thread(self._files[2].readline))


class Desk:
    """Answers a request when it is let go."""

    def __init__(self) -> None:
        self.gates: dict[object, asyncio.Event] = {}
        self.ended: list[object] = []

    async def __call__(self, message):
        number = message["id"]
        try:
            await self.gates.setdefault(number, asyncio.Event()).wait()
        finally:
            self.ended.append(number)
        return {"jsonrpc": "2.0", "id": number, "result": {}}

    def let(self, number):
        self.gates.setdefault(number, asyncio.Event()).set()


def cancelled(number):
    return json.dumps({"jsonrpc": "2.0", "method": "notifications/cancelled", "params": {"requestId": number}})


async def test_a_quick_request_does_not_wait_for_a_slow_one():
    desk = Desk()
    async with Client(desk) as client:
        client.say(call(1, "slow"), call(2, "quick"))
        desk.let(2)
        assert (await client.hear())["id"] == 2
        desk.let(1)
        assert (await client.hear())["id"] == 1


async def test_a_cancelled_request_ends_and_is_not_answered():
    desk = Desk()
    async with Client(desk) as client:
        client.say(call(1, "slow"), call(2, "other"))
        desk.let(2)
        assert (await client.hear())["id"] == 2
        client.say(cancelled([]), cancelled("nobody"), cancelled(True), call(3, "next"))
        desk.let(3)
        assert (await client.hear())["id"] == 3
        assert desk.ended == [2, 3]
        client.say(cancelled(1), call(4, "last"))
        desk.let(4)
        assert (await client.hear())["id"] == 4
        assert 1 in desk.ended


async def test_an_id_in_use_and_too_many_requests_are_refused(monkeypatch):
    monkeypatch.setattr("tidewire.doors.mcp_stdio.MOST", 2)
    desk = Desk()
    async with Client(desk) as client:
        client.say(call(1, "slow"), call(1, "again"))
        assert "in use" in (await client.hear())["error"]["message"]
        client.say(call(2, "slow"), call(3, "one too many"))
        assert "ask again" in (await client.hear())["error"]["message"]
        desk.let(1)
        desk.let(2)
        await client.hear()
        await client.hear()


async def test_what_is_under_way_when_the_client_closes_its_end_is_answered_first():
    desk = Desk()
    async with Client(desk) as client:
        client.say(call(1, "slow"))
        desk.let(1)
    assert desk.ended == [1]


async def test_a_client_that_reads_no_more_ends_it():
    desk = Desk()
    async with Client(desk) as client:
        client.say(call(1, "slow"), call(2, "endless"))
        client.leave()
        desk.let(1)
        async with asyncio.timeout(30):
            await client.over
    assert 1 in desk.ended
