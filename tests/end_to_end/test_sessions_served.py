"""Sessions behind a whole server: native, OpenAI's client, the AI SDK's body, a socket; what HTTP shows of them."""

from __future__ import annotations

import asyncio
import json

import openai
import pytest

from serving import serving
from tidewire.server.intent_settings import Intents
from tidewire.server.session_settings import Sessions
from tidewire.server.settings import Context
from upstream import Upstream


def chunk(delta, finish=None):
    body = {"id": "c", "object": "chat.completion.chunk", "created": 1, "model": "m",
            "choices": [{"index": 0, "delta": delta, "finish_reason": finish}]}  # fmt: skip
    return b"data: " + json.dumps(body).encode() + b"\n\n"


async def script(call):
    """Says how many messages it was given."""
    call.head(200)
    call.chunk(chunk({"role": "assistant", "content": f"{len(call.json['messages'])} messages"}, "stop"))
    call.chunk(b"data: [DONE]\n\n")
    call.end()


def texts(call):
    return [m["content"] if isinstance(m["content"], str) else m["content"][0]["text"] for m in call.json["messages"]]


async def native(tidewire, said, **more):
    body = {"model": "far/m", "input": said, "chat": "c1", "session": True} | more
    status, _, answer = await tidewire.ask("POST", "/v1/streams?as=json", body)
    return status, json.loads(answer)


async def test_three_dialects_and_a_socket_go_on_with_one_conversation(tmp_path):
    async with Upstream(script) as host, serving(tmp_path, hosts={"far": host.url}) as tidewire:
        assert (await native(tidewire, "one"))[1]["text"] == "1 messages"
        async with openai.AsyncOpenAI(base_url=f"{tidewire.url}/v1", api_key="none", max_retries=0) as client:
            second = await client.chat.completions.create(
                model="far/m", messages=[{"role": "user", "content": "two"}], extra_headers={"x-tidewire-session": "c1"}
            )
        assert second.choices[0].message.content == "3 messages"
        ui = {
            "id": "c1",
            "model": "far/m",
            "messages": [{"id": "m3", "role": "user", "parts": [{"type": "text", "text": "three"}]}],
        }
        status, _, stream = await tidewire.ask("POST", "/api/chat", ui, **{"x-tidewire-session": "c1"})
        assert (status, b"5 messages" in stream) == (200, True)
        assert texts(host.calls[-1]) == ["one", "1 messages", "two", "3 messages", "three"]

        _, _, raw = await tidewire.ask("GET", "/v1/sessions/c1")
        session = json.loads(raw)
        assert session["turns"] == 3
        assert [i["said"][0]["content"][0]["text"] for i in session["items"]] == [
            "1 messages",
            "3 messages",
            "5 messages",
        ]
        listed = json.loads((await tidewire.ask("GET", "/v1/sessions"))[2])["sessions"]
        assert [s["session"] for s in listed] == ["c1"]

        assert json.loads((await tidewire.ask("DELETE", "/v1/sessions/c1"))[2]) == {
            "session": "c1",
            "deleted": True,
            "turns": 3,
        }
        assert (await tidewire.ask("GET", "/v1/sessions/c1"))[0] == 404
        assert json.loads((await tidewire.ask("GET", "/v1/streams?chat=c1"))[2])["streams"] == []
        assert (await native(tidewire, "anew"))[1]["text"] == "1 messages"
        metrics = (await tidewire.ask("GET", "/metrics"))[2]
        assert b'tidewire_session_turns_total{result="kept"} 4.0' in metrics


async def test_users_of_a_tenant_have_sessions_of_their_own(tmp_path):
    async with Upstream(script) as host, serving(tmp_path, hosts={"far": host.url}) as tidewire:
        for user in ("ann", "bob"):
            assert (await native(tidewire, f"I am {user}", options={"user": user}))[1]["text"] == "1 messages"
        assert (await native(tidewire, "who?", options={"user": "ann"}))[1]["text"] == "3 messages"
        assert texts(host.calls[-1])[0] == "I am ann"
        assert (await tidewire.ask("GET", "/v1/sessions/c1"))[0] == 404
        assert (await tidewire.ask("GET", "/v1/sessions/c1?user=bob"))[0] == 200


async def test_sessions_on_disk_go_on_after_a_restart(tmp_path):
    async with Upstream(script) as host:
        for count in (1, 3):
            async with serving(tmp_path, hosts={"far": host.url}, sessions=Sessions(store="disk")) as tidewire:
                assert (await native(tidewire, "again"))[1]["text"] == f"{count} messages"


@pytest.mark.parametrize(
    ("more", "headers", "code"),
    [
        ({"chat": None}, {}, "invalid_request"),
        ({"chat": "c1"}, {"x-tidewire-session": "c2"}, "invalid_request"),
        ({"chat": None}, {"x-tidewire-session": "not an id"}, "invalid_request"),
        ({"input": None, "messages": [{"role": "assistant", "content": "x"}]}, {}, "session_and_history"),
    ],
)
async def test_what_does_not_go_together_is_refused_before_a_host_is_asked(tmp_path, more, headers, code):
    async with Upstream(script) as host, serving(tmp_path, hosts={"far": host.url}) as tidewire:
        body = {"model": "far/m", "input": "x", "chat": "c1", "session": True} | more
        status, _, answer = await tidewire.ask("POST", "/v1/streams", body, **headers)
        assert (status, json.loads(answer)["error"]["code"]) == (400, code)
        assert host.calls == []


async def test_where_they_are_off_a_session_is_refused_and_a_chat_is_not(tmp_path):
    async with (
        Upstream(script) as host,
        serving(tmp_path, hosts={"far": host.url}, sessions=Sessions(store="off")) as tidewire,
    ):
        assert (await native(tidewire, "x"))[0] == 400
        assert (await native(tidewire, "x", session=False))[0] == 200
        assert (await tidewire.ask("GET", "/v1/sessions"))[0] == 400


async def test_old_turns_reach_the_host_as_a_summary_that_was_written_after_an_answer(tmp_path):
    given = Sessions(summary_model="far/m", summary_recent=1, summarise_at=0.1)
    async with (
        Upstream(script) as host,
        serving(tmp_path, hosts={"far": host.url}, sessions=given, context=Context(tokens=2000)) as tidewire,
    ):
        for said in ("first " * 300, "second"):
            await native(tidewire, said)

        async def summary():
            return b'"summary"' in (await tidewire.ask("GET", "/v1/sessions/c1"))[2]

        async with asyncio.timeout(30):
            while not await summary():
                await asyncio.sleep(0)
        assert "You write the memory" in texts(host.calls[2])[0]
        await native(tidewire, "third")
        assert [t[:13] for t in texts(host.calls[3])] == ["What was said", "second", "3 messages", "third"]


async def test_what_a_question_asks_for_bounds_its_answer_and_a_header_says_otherwise(tmp_path):
    given = Context(intents=Intents(short_answer=50))
    async with Upstream(script) as host, serving(tmp_path, hosts={"far": host.url}, context=given) as tidewire:
        body = {"model": "far/m", "messages": [{"role": "user", "content": "Thanks!"}]}
        for headers, limit in (({}, 50), ({"x-tidewire-intent": "normal"}, None)):
            assert (await tidewire.ask("POST", "/v1/chat/completions", body, **headers))[0] == 200
            sent = host.calls[-1].json
            assert sent.get("max_tokens") == limit or sent.get("max_completion_tokens") == limit
        assert (await tidewire.ask("POST", "/v1/chat/completions", body, **{"x-tidewire-intent": "huge"}))[0] == 400
