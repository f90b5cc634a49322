"""Answers that break off at one host and go on at another with another protocol, over real sockets."""

from __future__ import annotations

import json

import pytest

from serving import serving
from tidewire.routing.table import Candidate, Plan
from tidewire.server.settings import Provider
from upstream import Upstream, chat, streams

ASKED = {"model": "quick", "messages": [{"role": "user", "content": "Hi"}]}
WHOLE = "The tide läuft into the harbour, and nobody has counted its waves."
CUT = 37


def messages(text):
    """Anthropic's events for one text."""
    usage = {"input_tokens": 7, "output_tokens": 1}
    opened = {"id": "msg_1", "type": "message", "role": "assistant", "model": "m", "content": [], "usage": usage}
    told = [
        {"type": "message_start", "message": opened},
        {"type": "content_block_start", "index": 0, "content_block": {"type": "text", "text": ""}},
        {"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": text}},
        {"type": "content_block_stop", "index": 0},
        {"type": "message_delta", "delta": {"stop_reason": "end_turn"}, "usage": {"output_tokens": 9}},
        {"type": "message_stop"},
    ]
    return b"".join(f"event: {e['type']}\ndata: {json.dumps(e)}\n\n".encode() for e in told)


def served_by(tmp_path, first, second, prefill="none", continuations=1):
    providers = {
        "one": Provider(base_url=first.url + "/v1", models=["m"]),
        "two": Provider(kind="anthropic", base_url=second.url, models=["m"]),
    }
    candidates = [Candidate(model="one/m"), Candidate(model="two/m", prefill=prefill)]
    routes = {"quick": Plan(candidates=candidates, choose="order", continuations=continuations)}
    return serving(tmp_path, providers=providers, routes=routes)


@pytest.mark.parametrize(
    ("prefill", "rest"), [("assistant", WHOLE[CUT:]), ("none", WHOLE), ("none", WHOLE[CUT - 30 :])]
)
async def test_a_client_of_each_dialect_sees_one_text(tmp_path, prefill, rest):
    cut = streams(chat(WHOLE[:20]), chat(WHOLE[20:CUT]))  # and the connection closes
    async with (
        Upstream(cut) as first,
        Upstream(streams(messages(rest))) as second,
        served_by(tmp_path, first, second, prefill) as served,
    ):
        status, _, body = await served.ask("POST", "/v1/chat/completions", ASKED)
        assert (status, json.loads(body)["choices"][0]["message"]["content"]) == (200, WHOLE)
        streamed = {**ASKED, "stream": True}
        _, _, body = await served.ask("POST", "/v1/chat/completions", streamed)
        chunks = [json.loads(line[6:]) for line in body.decode().splitlines() if line.startswith("data: {")]
        assert "".join(c["choices"][0]["delta"].get("content") or "" for c in chunks if c["choices"]) == WHOLE
        assert [c["choices"][0]["finish_reason"] for c in chunks if c["choices"]][-1] == "stop"
        _, _, body = await served.ask(
            "POST", "/v1/streams", {"model": "quick", "input": "Hi"}, Accept="application/x-ndjson"
        )
        events = [json.loads(line) for line in body.splitlines()]
        assert "".join(e["text"] for e in events if e["type"] == "delta") == WHOLE
        assert [e["reason"] for e in events if e["type"] == "attempt"] == ["start", "continuation"]
        assert sum(e["type"] == "part" for e in events) == sum(e["type"] == "part_end" for e in events) == 1
        assert (events[-1]["type"], events[-1]["status"]) == ("closed", "completed")
        assert events[-1]["output_tokens"] >= 10
        last = second.calls[0].json["messages"][-1]
        assert last["role"] == ("assistant" if prefill == "assistant" else "user")
        metrics = (await served.ask("GET", "/metrics"))[2].decode()
        assert 'tidewire_route_continuations_total{result="whole",route="quick"} 3.0' in metrics


async def test_a_cut_fails_the_answer_where_the_route_does_not_go_on(tmp_path):
    async with (
        Upstream(streams(chat(WHOLE[:20]))) as first,
        Upstream(streams(messages(WHOLE))) as second,
        served_by(tmp_path, first, second, continuations=0) as served,
    ):
        status, _, body = await served.ask("POST", "/v1/chat/completions", ASKED)
        assert (status, json.loads(body)["error"]["code"]) == (502, "upstream_cut")
        assert second.calls == []
