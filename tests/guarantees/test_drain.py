"""SIGTERM: no new answers, the running ones may end; what is left is closed so that a client can read all of it and ask again."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import re
import signal
import sys

from leaving import MESSAGES, UI
from serving import Peer, request
from upstream import DONE, Upstream, chat, stall_after_a_token

CLEAN = {k: v for k, v in os.environ.items() if not k.startswith("TIDEWIRE_")}


class Process:
    def __init__(self, port: int, process: asyncio.subprocess.Process, errors: asyncio.Task[bytes]) -> None:
        self.port = port
        self.process = process
        self.errors = errors

    def signal(self) -> None:
        self.process.send_signal(signal.SIGTERM)

    async def code(self) -> int:
        return await asyncio.wait_for(self.process.wait(), 30)

    async def ask(self, method, path, body=None, **headers):
        peer = await Peer.connect(self.port)
        try:
            async with asyncio.timeout(30):
                peer.raw(request(method, path, body, **headers))
                status, got = await peer.head()
                return status, got, await peer.body()
        finally:
            await peer.close()

    async def open(self, path, body, mark, **headers):
        """An answer of which this much has come."""
        peer = await Peer.connect(self.port)
        peer.post(path, body, **headers)
        await peer.head()
        await peer.until(mark)
        return peer


@contextlib.asynccontextmanager
async def process(folder, url, drain_s):
    (folder / "tidewire.toml").write_text(
        f'[models]\ndiscover = false\n[server]\ndrain_s = {drain_s}\n[providers.host]\nbase_url = "{url}"\nmodels = ["m"]\n'
    )
    running = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "tidewire.cli", "serve", "--port", "0", "--data", str(folder / "data")),
        env=CLEAN,
        cwd=folder,
        stderr=asyncio.subprocess.PIPE,
    )
    assert running.stderr is not None
    try:
        while "address" not in (line := json.loads(await asyncio.wait_for(running.stderr.readline(), 30))):
            pass
        yield Process(int(line["address"].rpartition(":")[2]), running, asyncio.create_task(running.stderr.read()))
    finally:
        if running.returncode is None:
            running.kill()
        await running.wait()
        running._transport.close()


async def until_draining(served):
    while (answer := await served.ask("GET", "/readyz"))[0] != 503:
        await asyncio.sleep(0.005)
    return answer


async def test_while_it_drains_a_server_takes_nothing_new_and_running_answers_end(tmp_path):
    go = asyncio.Event()

    async def one_then_wait(call):
        call.head()
        call.chunk(chat("one"))
        await go.wait()
        call.chunk(chat(" two") + chat(finish="stop") + DONE)
        call.end()

    async with Upstream(one_then_wait) as host, process(tmp_path, host.url, 30) as served:
        peer = await served.open("/v1/streams", {"model": "host/m", "input": "x", "stream": "s"}, b'"one"')
        served.signal()
        status, _, body = await until_draining(served)
        assert json.loads(body)["reason"] == "draining"
        assert (await served.ask("GET", "/healthz"))[0] == 200
        for path, more in (
            ("/v1/streams", {"input": "x"}),
            ("/v1/chat/completions", {"messages": MESSAGES}),
            ("/v1/responses", {"input": "x"}),
            ("/api/chat", {"messages": UI}),
        ):
            status, headers, body = await served.ask("POST", path, {"model": "host/m"} | more)
            assert status == 503
            assert int(headers["retry-after"]) >= 1
            assert json.loads(body)["error"]["code"] == "shutting_down"
        status, _, body = await served.ask("GET", "/v1/streams/s")
        assert status == 200  # what runs can still be asked after
        go.set()
        text = await asyncio.wait_for(peer.body(), 30)
        assert b'" two"' in text
        assert b'"status":"completed"' in text
        await peer.close()
        assert await served.code() == 0


async def test_at_the_deadline_each_dialect_gets_its_own_end_and_the_log_is_whole_after_a_restart(tmp_path):
    async with Upstream(stall_after_a_token) as host:
        async with process(tmp_path, host.url, 0.3) as served:
            named = {"model": "host/m", "input": "x", "stream": "kept"}
            sse = await served.open("/v1/streams", named, b'"one"')
            lines = await served.open("/v1/streams", named | {"stream": "s2"}, b'"one"', accept="application/x-ndjson")
            text = await served.open("/v1/streams", named | {"stream": "s3"}, b"one", accept="text/plain")
            whole = await Peer.connect(served.port)
            whole.post("/v1/chat/completions", {"model": "host/m", "messages": MESSAGES})
            streamed = await served.open(
                "/v1/chat/completions", {"model": "host/m", "messages": MESSAGES, "stream": True}, b"one"
            )
            responses = await served.open("/v1/responses", {"model": "host/m", "input": "x", "stream": True}, b"one")
            ui = await served.open("/api/chat", {"model": "host/m", "messages": UI}, b"one")
            await host.asked(7)
            served.signal()
            async with asyncio.timeout(30):
                seen = await sse.body()
                closed = json.loads(re.findall(rb"^data: (.*)$", seen, re.MULTILINE)[-1])
                assert (closed["type"], closed["status"], closed["reason"]) == ("closed", "failed", "shutdown")
                assert (closed["error"]["code"], closed["error"]["retryable"]) == ("shutting_down", True)
                assert json.loads((await lines.body()).splitlines()[-1])["reason"] == "shutdown"
                assert b"shutting_down" in await text.body()
                status, _ = await whole.head()
                assert (status, json.loads(await whole.body())["error"]["code"]) == (503, "shutting_down")
                said = await streamed.body()
                assert b'"code":"shutting_down"' in said
                assert said.endswith(b"data: [DONE]\n\n")
                said = await responses.body()
                assert b"event: response.failed" in said
                said = await ui.body()
                assert b'"type":"error"' in said
                assert said.endswith(b"data: [DONE]\n\n")
                assert await served.code() == 0
            for peer in (sse, lines, text, whole, streamed, responses, ui):
                await peer.close()
        async with process(tmp_path, host.url, 0.3) as again:
            assert (await again.ask("GET", "/v1/streams/kept/events"))[2] == seen
            ids = [int(i) for i in re.findall(rb"^id: (\d+)$", seen, re.MULTILINE)]
            _, _, rest = await again.ask("GET", "/v1/streams/kept/events", last_event_id=str(ids[2]))
            assert [int(i) for i in re.findall(rb"^id: (\d+)$", rest, re.MULTILINE)] == ids[3:]
            assert (await again.ask("GET", "/v1/streams/kept/events", last_event_id=str(ids[-1])))[0] == 204
            again.signal()
            assert await again.code() == 0


async def test_a_second_signal_does_not_wait(tmp_path):
    async with Upstream(stall_after_a_token) as host, process(tmp_path, host.url, 600) as served:
        peer = await served.open("/v1/streams", {"model": "host/m", "input": "x"}, b'"one"')
        served.signal()
        await until_draining(served)
        served.signal()
        assert await served.code() == 0
        await peer.close()
