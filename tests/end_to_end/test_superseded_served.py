"""A document changes while a slow model answers from it: the stream says so, and says it again to whoever comes back."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any

import pytest

from serving import Served, serving
from tidewire.server.settings import Context, Retrieval
from upstream import Call, Upstream, chat, says

GROUNDED = Retrieval(models=["far/m"], deadline_ms=15_000.0)
QUESTION = "How often is high water?"
TEXT = b"# Tides\n\nHigh water comes twice a day."
PATH = "/v1/documents/tides.md?visible=lexical"


class Slow:
    """Says one sentence and cites it, and waits with the rest."""

    def __init__(self) -> None:
        self.go = asyncio.Event()

    async def __call__(self, call: Call) -> None:
        call.head()
        call.chunk(chat("High water comes twice a day [1]. "))
        await self.go.wait()
        call.chunk(chat("That is all.", finish="stop"))
        call.chunk(b"data: [DONE]\n\n")
        call.end()


async def put(tidewire: Served, text: bytes, path: str = PATH, **headers: str) -> str:
    status, _, body = await tidewire.ask("PUT", path, text, content_type="text/markdown", **headers)
    assert status in (200, 201)
    return str(json.loads(body).get("id", ""))


def events(body: bytes, kind: str) -> list[dict[str, Any]]:
    lines = [json.loads(line[5:]) for line in body.decode().splitlines() if line.startswith("data:")]
    return [line for line in lines if line.get("type") == kind]


async def indexed_again(tidewire: Served) -> None:
    assert (await tidewire.ask("POST", "/v1/reindex", b'{"everything": true}'))[0] == 202
    library = tidewire.house.library
    async with asyncio.timeout(30):
        while not library.index.seq("default") == await library.store.seq() >= 2:
            await asyncio.sleep(0.01)


@pytest.mark.parametrize("deleted", [False, True])
async def test_a_change_amid_the_answer_is_told_and_replayed(tmp_path: Path, deleted: bool) -> None:
    slow = Slow()
    async with (
        Upstream(slow) as upstream,
        serving(tmp_path, hosts={"far": upstream.url}, retrieval=GROUNDED) as tidewire,
    ):
        await put(tidewire, TEXT)
        peer = await tidewire.peer()
        peer.post("/v1/streams", {"model": "far/m", "input": QUESTION, "stream": "s1"})
        await peer.head()
        await peer.until(b'"citation"')
        await indexed_again(tidewire)
        assert len(tidewire.house.library.watch) == 1  # it says what it said, and is followed further
        if deleted:
            assert (await tidewire.ask("DELETE", PATH.partition("?")[0]))[0] == 200
        else:
            await put(tidewire, TEXT + b" Once a day on some coasts.")
        await peer.until(b'"superseded"')
        slow.go.set()
        body = await peer.body()
        (given,), (cited,), (told,) = (events(body, kind) for kind in ("retrieved", "citation", "superseded"))
        (source,) = given["passages"]
        assert given["namespace"] == "default"
        assert given["epoch"] >= 1
        assert (source["document"], source["version"], source["chunk"]) == (
            cited["source"],
            cited["version"],
            cited["chunk"],
        )
        assert source["age"] == cited["age"]
        assert source["score"] > 0
        assert (told["document"], told["version"], told["chunks"]) == (
            source["document"],
            source["version"],
            [source["chunk"]],
        )
        assert told.get("deleted", False) == deleted
        (closed,) = events(body, "closed")
        assert closed["rested"]["ms"] > 0
        assert {k: v for k, v in closed["rested"].items() if k != "ms"} == {"passages": 1, "cited": 1, "superseded": 1}
        for cut in range(1, closed["seq"]):
            _, _, again = await tidewire.ask("GET", f"/v1/streams/s1/events?after={cut}")
            assert body[body.index(b"id: %d\n" % (cut + 1)) :] == again[again.index(b"id: ") :]
        assert len(tidewire.house.library.watch) == 0


async def test_an_answer_that_is_given_up_is_followed_no_longer(tmp_path: Path) -> None:
    async with (
        Upstream(Slow()) as upstream,
        serving(tmp_path, hosts={"far": upstream.url}, retrieval=GROUNDED) as tidewire,
    ):
        await put(tidewire, TEXT)
        peer = await tidewire.peer()
        peer.post("/v1/streams", {"model": "far/m", "input": QUESTION, "stream": "s1"})
        await peer.head()
        await peer.until(b'"citation"')
        assert len(tidewire.house.library.watch) == 1
        await tidewire.ask("POST", "/v1/streams/s1/cancel")
        assert b'"cancelled"' in await peer.body()
        assert len(tidewire.house.library.watch) == 0


async def test_the_model_that_quotes_tells_the_same(tmp_path: Path) -> None:
    async with serving(tmp_path, retrieval=Retrieval(pace=2.0)) as tidewire:
        await put(tidewire, TEXT)
        peer = await tidewire.peer()
        peer.post("/v1/streams", {"model": "extractive", "input": QUESTION})
        await peer.head()
        await peer.until(b'"delta"')
        await put(tidewire, TEXT + b" Once a day on some coasts.")
        body = await peer.until(b'"superseded"')
        (given,) = events(body, "retrieved")
        assert given["passages"][0]["title"] == "Tides"
        (told,) = events(body, "superseded")
        assert told["document"] == given["passages"][0]["document"]
        assert b'tidewire_superseded_total{change="changed"} 1' in (await tidewire.ask("GET", "/metrics"))[2]
        off = {"model": "extractive", "input": QUESTION, "retrieval": False}
        assert b"unsupported_value" in (await tidewire.ask("POST", "/v1/streams", off))[2]


async def test_a_request_narrows_its_search_by_field_and_by_header(tmp_path: Path) -> None:
    async with (
        Upstream(says("Yes [1].")) as upstream,
        serving(tmp_path, hosts={"far": upstream.url}, retrieval=GROUNDED) as tidewire,
    ):
        await put(tidewire, TEXT)
        await put(tidewire, b"# High water\n\nHigh water at night.", "/v1/documents/night.md?visible=lexical")

        async def given(said: Any = None, **headers: str) -> int | None:
            body = {"model": "far/m", "input": QUESTION} | ({} if said is None else {"retrieval": said})
            status, _, answer = await tidewire.ask("POST", "/v1/streams", body, **headers)
            assert status == 200
            found = events(answer, "retrieved")
            return len(found[0]["passages"]) if found else None

        assert await given() == 2
        assert await given({"limit": 1}) == 1
        assert await given(x_tidewire_retrieval="on; limit=1") == 1
        assert await given(False) is None
        assert await given(x_tidewire_retrieval="off") is None
        assert await given({"sources": ["elsewhere"]}) == 0
        said = [{"role": "user", "content": QUESTION}]
        for header, status in (("on; namespace=other", 400), ("maybe", 400), ("off", 200)):
            asked = {"model": "far/m", "messages": said}
            answer = await tidewire.ask("POST", "/v1/chat/completions", asked, x_tidewire_retrieval=header)
            assert answer[0] == status
            assert b"annotations" not in answer[2] or b'"annotations":[]' in answer[2]


async def test_groups_of_a_request_are_only_those_that_the_settings_grant(tmp_path: Path) -> None:
    granted = Retrieval(models=["far/m"], deadline_ms=15_000.0, groups=["staff"])
    async with (
        Upstream(says("Yes [1].")) as upstream,
        serving(tmp_path, hosts={"far": upstream.url}, retrieval=granted) as tidewire,
    ):
        await put(tidewire, b"# Staff\n\nHigh water for staff.", "/v1/documents/staff.md?visible=lexical&readers=staff")
        await put(
            tidewire, b"# Board\n\nHigh water for the board.", "/v1/documents/board.md?visible=lexical&readers=board"
        )
        for groups, expected in ((None, ["Staff"]), (["staff", "board"], ["Staff"]), (["board"], []), ([], [])):
            asked = {"model": "far/m", "input": QUESTION, "retrieval": {"groups": groups}}
            _, _, body = await tidewire.ask("POST", "/v1/streams", asked)
            assert [one["title"] for one in events(body, "retrieved")[0]["passages"]] == expected


async def test_passages_are_asked_for_where_the_settings_say_so(tmp_path: Path) -> None:
    asked = Retrieval(models=["far/m"], deadline_ms=15_000.0, when="asked")
    async with (
        Upstream(says("Yes.")) as upstream,
        serving(tmp_path, hosts={"far": upstream.url}, retrieval=asked) as tidewire,
    ):
        await put(tidewire, TEXT)
        for said, found in (({}, 0), ({"retrieval": True}, 1), ({"retrieval": False}, 0)):
            _, _, body = await tidewire.ask("POST", "/v1/streams", {"model": "far/m", "input": QUESTION} | said)
            assert len(events(body, "retrieved")) == found


@pytest.mark.parametrize(
    ("kept", "words", "messages", "outcome"),
    [
        (0, 0, 3, b'"citation"'),
        (700, 0, 1, b'"citation"'),  # the old turn goes, for the sake of passages
        (700, 1050, 1, b"retrieval_no_room"),  # the question stays, and they go
    ],
)
async def test_passages_take_the_room_that_the_conversation_leaves(
    tmp_path: Path, kept: int, words: int, messages: int, outcome: bytes
) -> None:
    bounds = Context(tokens=1200, answer_tokens=100, recent_turns=1, passage_tokens=kept)
    async with (
        Upstream(says("Yes [1].")) as upstream,
        serving(tmp_path, hosts={"far": upstream.url}, retrieval=GROUNDED, context=bounds) as tidewire,
    ):
        await put(tidewire, TEXT)
        said = [
            {"role": "user", "content": "word " * 500},
            {"role": "assistant", "content": "Yes."},
            {"role": "user", "content": QUESTION + " word" * words},
        ]
        _, _, body = await tidewire.ask("POST", "/v1/streams", {"model": "far/m", "messages": said})
        assert outcome in body
        asked = upstream.calls[-1].json["messages"]
        assert len(asked) == messages
        assert QUESTION in str(asked[-1]["content"])
