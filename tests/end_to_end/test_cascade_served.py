"""A cascade behind a whole server, its models behind sockets: native clients edit what they show, others wait or have the draft."""

from __future__ import annotations

import asyncio
import json

import openai
import pytest
from websockets.asyncio.client import connect

from serving import eventually, serving
from tidewire.client import AsyncTidewire
from tidewire.core.errors import SettingsError
from tidewire.core.events import Edit
from tidewire.routing.cascade_plan import CascadePlan, Member
from tidewire.routing.table import Candidate, Plan
from tidewire.server.cache_settings import Cache
from tidewire.server.settings import Provider, Settings, check
from upstream import Upstream, chat, refuses, says

DRAFT = ("Rome is old. ", "I'm not sure of its ", "river, the Tibre. It has hills.")
BETTER = ("Rome is old. Its river ", "is the Tiber. It has ", "seven hills.")
ASKED = {"model": "sharp", "input": "What is Rome?"}


def sharp(**more):
    members = {"draft": Member(model="small/m"), "refine": Member(model="big/m", price_in=10, price_out=20)}
    return {"sharp": CascadePlan(**{**members, **more})}


def behind(tmp_path, small, big, **more):
    served = {"cache": more.pop("cache")} if "cache" in more else {}
    hosts = {"small": small.url + "/v1", "big": big.url + "/v1"}
    return serving(tmp_path, hosts=hosts, cascades=sharp(**more), **served)


async def test_a_native_client_has_the_better_text_in_every_form_and_a_resumed_one_the_same_events(tmp_path):
    async with (
        Upstream(says(*DRAFT)) as small,
        Upstream(says(*BETTER)) as big,
        behind(tmp_path, small, big) as served,
        AsyncTidewire(served.url) as client,
    ):
        answer = client.stream("sharp", "What is Rome?", stream="s1")
        events = [event async for event in answer]
        assert answer.text == "".join(BETTER)
        assert sum(isinstance(event, Edit) for event in events) >= 2
        assert "".join(e.text for e in events if e.__class__.__name__ == "Delta") == "".join(DRAFT)
        first = next(n for n, event in enumerate(events) if isinstance(event, Edit))
        resumed = [event async for event in client.follow("s1", after=first)]
        assert resumed == events[first:]
        _, _, body = await served.ask("GET", "/v1/streams/s1/events?as=json")
        assert json.loads(body)["text"] == "".join(BETTER)
        _, _, body = await served.ask("GET", "/v1/streams/s1/events?as=text")
        assert body.decode() == "".join(DRAFT) + "\n\n[as it reads now]\n" + "".join(BETTER) + "\n"
        metrics = (await served.ask("GET", "/metrics"))[2].decode()
        assert 'tidewire_cascades_total{cascade="sharp",result="refined"} 1.0' in metrics
        assert 'tidewire_cascade_usd_total{cascade="sharp",role="refine"}' in metrics
        assert json.loads((await served.ask("GET", "/v1/models"))[2])["data"][0]["id"] == "sharp"
        asked = big.calls[0].json["messages"]
        assert [m["role"] for m in asked] == ["user", "assistant", "user"]


async def test_a_socket_carries_the_edits_too(tmp_path):
    async with Upstream(says(*DRAFT)) as small, Upstream(says(*BETTER)) as big, behind(tmp_path, small, big) as served:
        async with connect(f"ws://127.0.0.1:{served.port}/v1/ws") as socket:
            await socket.send(json.dumps({"do": "start", "id": "a", "request": ASKED}))
            frames = []
            async with asyncio.timeout(30):
                while not frames or "done" not in frames[-1]:
                    frames.append(json.loads(await socket.recv()))
        kinds = [frame["event"]["type"] for frame in frames if "event" in frame]
        assert "edit" in kinds
        assert kinds[-1] == "closed"


@pytest.mark.parametrize(("without", "text", "asked"), [("draft", DRAFT, 0), ("wait", BETTER, 1)])
async def test_the_openai_client_has_the_draft_or_waits(tmp_path, without, text, asked):
    async with (
        Upstream(says(*DRAFT)) as small,
        Upstream(says(*BETTER)) as big,
        behind(tmp_path, small, big, without_edits=without) as served,
        openai.AsyncOpenAI(base_url=f"{served.url}/v1", api_key="none", max_retries=0) as client,
    ):
        question = {"model": "sharp", "messages": [{"role": "user", "content": "What is Rome?"}]}
        whole = await client.chat.completions.create(**question)
        assert whole.choices[0].message.content == "".join(text)
        assert ("cost" in whole.usage.to_dict()) is bool(asked)  # only the stronger model has a price here
        streamed = [chunk async for chunk in await client.chat.completions.create(**question, stream=True)]
        assert "".join(c.choices[0].delta.content or "" for c in streamed if c.choices) == "".join(text)
        assert streamed[-1].choices[0].finish_reason == "stop"
        assert len(big.calls) == 2 * asked


MESSAGES = [{"role": "user", "content": "What is Rome?"}]
SAID = {"role": "user", "id": "m1", "content": "What is Rome?"}
ELSEWHERE = {
    "/v1/messages": {"model": "sharp", "messages": MESSAGES, "max_tokens": 1000, "stream": True},
    "/v1/responses": {"model": "sharp", "input": "What is Rome?", "stream": True},
    "/v2/chat": {"model": "sharp", "messages": MESSAGES, "stream": True},
    "/ollama/api/chat": {"model": "sharp", "messages": MESSAGES},
    "/v1beta/models/sharp:streamGenerateContent": {
        "contents": [{"role": "user", "parts": [{"text": "What is Rome?"}]}]
    },
    "/model/sharp/converse-stream": {"messages": [{"role": "user", "content": [{"text": "What is Rome?"}]}]},
    "/agui": {
        "threadId": "t",
        "runId": "r",
        "messages": [SAID],
        "tools": [],
        "context": [],
        "state": {},
        "forwardedProps": {"model": "sharp"},
    },
    "/api/chat": {
        "id": "c",
        "model": "sharp",
        "messages": [{"id": "m1", "role": "user", "parts": [{"type": "text", "text": "What is Rome?"}]}],
    },
}


@pytest.mark.parametrize("path", ELSEWHERE)
async def test_in_every_other_dialect_the_setting_decides(tmp_path, path):
    for without, word, other in (("draft", b"Tibre", b"Tiber"), ("wait", b"Tiber", b"Tibre")):
        async with (
            Upstream(says(*DRAFT)) as small,
            Upstream(says(*BETTER)) as big,
            behind(tmp_path / without, small, big, without_edits=without) as served,
        ):
            status, _, body = await served.ask("POST", path, ELSEWHERE[path])
            assert status == 200, body
            assert word in body
            assert other not in body


PRICED = {"draft": Member(model="small/m", price_in=1, price_out=2)}


@pytest.mark.parametrize("path", ["/agui", "/api/chat", "/v1/responses", "/v1/messages"])
async def test_what_an_answer_cost_is_at_the_end_of_its_stream_whoever_asked(tmp_path, path):
    for without, roles in (("draft", {"draft"}), ("wait", {"draft", "refine"})):
        async with (
            Upstream(says(*DRAFT)) as small,
            Upstream(says(*BETTER)) as big,
            behind(tmp_path / without, small, big, without_edits=without, **PRICED) as served,
        ):
            _, headers, body = await served.ask("POST", path, ELSEWHERE[path])
            assert (b'"cost":' in body) is (path == "/api/chat")  # the others have no word for it
            closed = await closing(served, headers["x-tidewire-stream"])
            paid = bills((await served.ask("GET", "/metrics"))[2].decode())
        assert set(paid) == roles
        assert closed["cost"] == pytest.approx(sum(paid.values()))


async def closing(served, stream):
    _, _, body = await served.ask("GET", f"/v1/streams/{stream}/events?as=ndjson")
    return json.loads(body.splitlines()[-1])


def bills(metrics):
    """USD by role."""
    lines = [line for line in metrics.splitlines() if line.startswith("tidewire_cascade_usd_total")]
    return {line.partition('role="')[2].partition('"')[0]: float(line.rpartition(" ")[2]) for line in lines}


async def test_a_native_client_may_say_that_it_cannot_take_back_text(tmp_path):
    async with Upstream(says(*DRAFT)) as small, Upstream(says(*BETTER)) as big, behind(tmp_path, small, big) as served:
        for more, headers in (({"edits": False}, {}), ({}, {"accept": "text/plain"})):
            _, _, body = await served.ask("POST", "/v1/streams", {**ASKED, **more}, **headers)
            assert b"Tiber" not in body
            assert b"edit" not in body
        assert big.calls == []


async def test_a_stronger_model_that_is_down_leaves_the_draft(tmp_path):
    async with Upstream(says(*DRAFT)) as small, Upstream(refuses(503)) as big, behind(tmp_path, small, big) as served:
        _, _, body = await served.ask("POST", "/v1/streams", ASKED, accept="application/json")
        answer = json.loads(body)
        assert answer["text"] == "".join(DRAFT)
        assert answer["status"] == "completed"


async def test_a_stop_in_the_middle_of_it_closes_the_stronger_model(tmp_path):
    async def half(call):
        call.head()
        call.chunk(chat("Rome is old. I know of its river, the Tiber. It "))
        await call.stall()

    async with Upstream(says(*DRAFT)) as small, Upstream(half) as big, behind(tmp_path, small, big) as served:
        peer = await served.peer()
        peer.post("/v1/streams", {**ASKED, "stream": "s2"})
        await peer.head()
        await peer.until(b'"type":"edit"')
        await served.ask("POST", "/v1/streams/s2/cancel")
        await asyncio.wait_for(big.calls[0].gone.wait(), 30)
        _, _, body = await served.ask("GET", "/v1/streams/s2/events?as=json")
        answer = json.loads(body)
        assert answer["status"] == "cancelled"
        assert answer["text"] == "Rome is old. I know of its river, the Tiber. It has hills."
        closed = await closing(served, "s2")  # the stronger model's beginning is paid for
        paid = bills((await served.ask("GET", "/metrics"))[2].decode())
        assert set(paid) == {"refine"}
        assert (closed["cost"], answer["usage"]["cost"]) == pytest.approx((paid["refine"], paid["refine"]))


async def test_a_bettered_answer_is_given_again_with_its_edits(tmp_path):
    async with (
        Upstream(says(*DRAFT)) as small,
        Upstream(says(*BETTER)) as big,
        behind(tmp_path, small, big, cache=Cache(answers="all")) as served,
    ):
        for _ in range(2):
            _, _, body = await served.ask("POST", "/v1/streams", ASKED, accept="application/json")
            assert json.loads(body)["text"] == "".join(BETTER)
            await eventually(lambda: not served.house.desk.open_streams)
        _, _, body = await served.ask("POST", "/v1/chat/completions", {"model": "sharp", "messages": MESSAGES})
        assert json.loads(body)["choices"][0]["message"]["content"] == "".join(DRAFT)
        assert len(big.calls) == 1


async def test_a_cascade_over_routes(tmp_path):
    routes = {name: Plan(candidates=[Candidate(model=f"{name}/m")]) for name in ("small", "big")}
    async with (
        Upstream(says(*DRAFT)) as small,
        Upstream(says(*BETTER)) as big,
        serving(
            tmp_path,
            providers={n: Provider(base_url=h.url + "/v1", models=["m"]) for n, h in (("small", small), ("big", big))},
            routes=routes,
            cascades=sharp(draft=Member(model="small"), refine=Member(model="big")),
        ) as served,
    ):
        _, _, body = await served.ask("POST", "/v1/streams", ASKED, accept="application/json")
        assert json.loads(body)["text"] == "".join(BETTER)


@pytest.mark.parametrize(
    ("cascades", "routes", "said"),
    [
        ({"a": CascadePlan()}, {}, "cascades.a.draft.model is empty"),
        (sharp(refine=Member(model="")), {}, "cascades.sharp.refine.model is empty"),
        (sharp(draft=Member(model="sharp")), {}, "cascades.sharp.draft.model is 'sharp', which is itself"),
        (sharp(judge=Member(model="b")) | {"b": sharp()["sharp"]}, {}, "judge.model is 'b', which is another cascade"),
        (sharp(refine=Member(model="small/m")), {}, "which writes the draft"),
        (sharp(), {"sharp": Plan(candidates=[Candidate(model="m")])}, "has the name of a route"),
        (sharp(), {"r": Plan(candidates=[Candidate(model="sharp")])}, "routes.r names 'sharp', which is a cascade"),
    ],
)
def test_a_cascade_that_cannot_work_is_refused_at_the_start(cascades, routes, said):
    with pytest.raises(SettingsError, match=said):
        check(Settings(cascades=cascades, routes=routes))
