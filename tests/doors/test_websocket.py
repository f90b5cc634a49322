"""One socket, many streams: spec/PROTOCOL.md, section 6, over real sockets."""

from __future__ import annotations

import asyncio
import contextlib
import json
import random
import socket as net

import pytest
from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed, InvalidStatus
from websockets.frames import Frame, Opcode

from cutting import TONGUES, exchange
from serving import Served, eventually, serving
from tidewire.server.settings import Limits, Log, Server, Streams
from workshop import stored

FAST = "sim: tokens=20 ttft_ms=0 interval_ms=0"
SLOW = "sim: tokens=100000 ttft_ms=0 interval_ms=2"
TEXT = "sim: tokens=2000000 words=1000 ttft_ms=0 interval_ms=0"


class Socket:
    """A client that keeps what it has heard."""

    def __init__(self, connection) -> None:
        self.connection = connection
        self.heard: list[dict] = []

    async def say(self, **frame) -> None:
        await self.connection.send(json.dumps(frame))

    async def start(self, name: str, said: str, **more) -> None:
        await self.say(do="start", id=name, request={"model": "simulated", "input": said, **more})

    async def hear(self) -> dict:
        async with asyncio.timeout(30):
            frame = json.loads(await self.connection.recv())
        self.heard.append(frame)
        return frame

    async def until(self, true) -> dict:
        """The first frame of which it is true."""
        while not true(frame := await self.hear()):
            pass
        return frame

    async def done(self, name: str) -> None:
        await self.until(lambda f: f == {"id": name, "done": True})

    async def error(self) -> dict:
        return (await self.until(lambda f: "error" in f))["error"]

    def events(self, name: str) -> list[dict]:
        return [f["event"] for f in self.heard if f.get("id") == name and "event" in f]

    def stream(self, name: str) -> str:
        return self.events(name)[0]["stream"]


@contextlib.asynccontextmanager
async def deafened(served: Served):
    """A client that takes nothing: a few kilobytes wait in the system, the rest with the server."""
    sock = net.socket()
    sock.setsockopt(net.SOL_SOCKET, net.SO_RCVBUF, 4096)
    sock.setblocking(False)
    await asyncio.get_running_loop().sock_connect(sock, ("127.0.0.1", served.port))
    async with opened(served, sock=sock, max_queue=1) as deaf:
        deaf.connection.transport.pause_reading()
        yield deaf
        deaf.connection.transport.abort()


@contextlib.asynccontextmanager
async def opened(served: Served, path: str = "/v1/ws", **more):
    options = {"compression": None, "ping_interval": None, "max_queue": None, "close_timeout": 2} | more
    async with connect(f"ws://127.0.0.1:{served.port}{path}", **options) as connection:
        yield Socket(connection)


@pytest.fixture
async def served(tmp_path):
    async with serving(tmp_path) as served:
        yield served


@pytest.fixture
async def socket(served):
    async with opened(served) as socket:
        yield socket


def numbers(events):
    return [e["seq"] for e in events]


# Streams


@pytest.mark.promise("P1")
async def test_a_stream_is_started_and_read_to_its_end(served, socket):
    await socket.start("a", FAST)
    await socket.done("a")
    events = socket.events("a")
    assert numbers(events) == list(range(1, len(events) + 1))
    assert (events[0]["type"], events[-1]["type"]) == ("opened", "closed")
    assert events[-1]["reason"] == "stop"
    assert all(f["id"] == "a" for f in socket.heard)


async def test_many_streams_share_one_socket_and_each_is_whole(served, socket):
    names = [f"n{i}" for i in range(20)]
    for name in names:
        await socket.start(name, f"sim: tokens=200 ttft_ms=1 interval_ms=1 seed={len(name)}")
    done: set[str] = set()
    while len(done) < len(names):
        done.add((await socket.until(lambda f: "done" in f))["id"])
    for name in names:
        events = socket.events(name)
        assert numbers(events) == list(range(1, len(events) + 1))
        log = await stored(served.house.desk._log, socket.stream(name))
        assert [json.loads(raw) for raw in log] == events
    first_done = next(i for i, f in enumerate(socket.heard) if "done" in f)
    assert {f["id"] for f in socket.heard[:first_done]} == set(names)  # nobody waited for another's end


async def test_a_busy_stream_does_not_keep_a_quiet_one_waiting(served, socket):
    await socket.start("busy", "sim: tokens=20000 ttft_ms=0 interval_ms=0")
    await socket.start("quiet", "sim: tokens=3 ttft_ms=0 interval_ms=1")
    await socket.done("quiet")
    assert {"id": "busy", "done": True} not in socket.heard
    await socket.done("busy")
    assert numbers(socket.events("busy")) == list(range(1, len(socket.events("busy")) + 1))


@pytest.mark.promise("P4")
async def test_a_stream_is_resumed_on_another_socket(served, socket):
    await socket.start("a", SLOW, stream="s1")
    await socket.until(lambda f: f.get("event", {}).get("seq") == 12)
    await socket.connection.close()
    async with opened(served) as second:
        await second.say(do="follow", id="b", stream="s1", after=12)
        await second.until(lambda f: f.get("event", {}).get("seq") == 20)
        await second.say(do="cancel", stream="s1")
        await second.done("b")
        assert numbers(second.events("b")) == list(range(13, 13 + len(second.events("b"))))
        assert second.events("b")[-1]["status"] == "cancelled"
        assert {"cancelled": True, "stream": "s1"} in second.heard or await second.hear() == {
            "cancelled": True,
            "stream": "s1",
        }


@pytest.mark.promise("P4")
async def test_nothing_comes_after_closed_and_that_is_said_at_once(served, socket):
    await socket.start("a", FAST, stream="s1")
    await socket.done("a")
    last = socket.events("a")[-1]["seq"]
    await eventually(lambda: not served.house.desk.open_streams)
    await socket.say(do="follow", id="b", stream="s1", after=last)
    assert await socket.hear() == {"id": "b", "done": True}
    await socket.say(do="follow", id="b", stream="s1", after=last + 1)
    assert (await socket.error())["code"] == "cursor_ahead"


async def test_two_readings_of_one_stream_on_one_socket(served, socket):
    await socket.start("a", "sim: tokens=50 ttft_ms=0 interval_ms=1", stream="s1")
    await socket.until(lambda f: f.get("event", {}).get("seq") == 5)
    await socket.say(do="follow", id="b", stream="s1")
    done = {(await socket.until(lambda f: "done" in f))["id"] for _ in range(2)}
    assert done == {"a", "b"}
    assert socket.events("a") == socket.events("b")


@pytest.mark.promise("P6")
async def test_who_unfollows_hears_no_more_and_the_policy_applies(served, socket):
    await socket.start("a", SLOW, stream="s1", on_disconnect="cancel")
    await socket.until(lambda f: f.get("event", {}).get("seq") == 8)
    await socket.say(do="unfollow", id="a")
    await eventually(lambda: not served.house.desk.open_streams)
    await socket.say(do="ping")
    await socket.until(lambda f: f == {"pong": True})
    await socket.say(do="ping")
    assert await socket.hear() == {"pong": True}
    await socket.say(do="follow", id="a", stream="s1")  # the id is free again
    await socket.done("a")
    assert socket.events("a")[-1]["reason"] == "disconnect"


@pytest.mark.promise("P6")
async def test_a_socket_that_goes_away_leaves_all_its_streams(served):
    async with opened(served) as socket:
        for n in range(5):
            await socket.start(f"n{n}", SLOW, on_disconnect="cancel" if n else "continue")
        await socket.until(lambda f: f.get("event", {}).get("seq") == 8)
        await eventually(lambda: served.house.desk.open_streams == 5)
        socket.connection.transport.abort()
        await eventually(lambda: served.house.desk.open_streams == 1)
    assert served.readers == 0


@pytest.mark.promise("P3")
@pytest.mark.promise("P7")
async def test_a_stream_begun_at_one_door_is_followed_and_stopped_at_others(served, socket):
    peer = await served.peer()
    peer.post("/v1/streams", {"model": "simulated", "input": SLOW, "stream": "s1", "on_disconnect": "continue"})
    await peer.head()
    await peer.until(b"id: 9\n")
    await socket.say(do="follow", id="a", stream="s1", after=3)
    await socket.until(lambda f: f.get("event", {}).get("seq") == 12)
    status, _, body = await served.ask("POST", "/v1/streams/s1/cancel")
    assert (status, json.loads(body)) == (200, {"stream": "s1", "cancelled": True})
    await socket.done("a")
    over_http = [json.loads(e.partition(b"data: ")[2]) for e in (await peer.body()).split(b"\n\n") if b"data: " in e]
    assert over_http[3:] == socket.events("a")
    assert over_http[-1]["status"] == "cancelled"
    await socket.say(do="cancel", stream="s1")
    assert await socket.hear() == {"cancelled": False, "stream": "s1"}
    await peer.close()


async def test_a_stream_begun_on_a_socket_is_read_over_http_with_the_same_bytes(served, socket):
    await socket.start("a", FAST, stream="s1")
    await socket.done("a")
    lines = TONGUES["native ndjson"]
    got = await exchange(served.port, lines.back("s1", 0, random.Random(0)))
    assert [json.loads(line) for line in lines.frames(got)] == socket.events("a")


async def test_a_deleted_stream_ends_its_reading_with_an_error(served, socket):
    await socket.start("a", SLOW, stream="s1")
    await socket.until(lambda f: f.get("event", {}).get("seq") == 5)
    assert (await served.ask("DELETE", "/v1/streams/s1"))[0] == 200
    last = await socket.until(lambda f: "error" in f or "done" in f)
    assert last.get("done") or last["error"]["code"] == "expired"
    await socket.start("a", FAST)  # and the id is free again
    await socket.done("a")


# What cannot be done


BAD = [
    (b"", "invalid_json"),
    (b"{", "invalid_json"),
    (b"[1,2]", "invalid_json"),
    (b"null", "invalid_json"),
    (b'"hello"', "invalid_json"),
    (b'{"id":"a"}', "invalid_json"),
    (b'{"do":5}', "invalid_json"),
    (b'{"do":"dance"}', "invalid_request"),
    (b'{"do":"ping","extra":1}', "invalid_json"),
    (b'{"do":"start"}', "invalid_request"),
    (b'{"do":"start","id":"a"}', "invalid_request"),
    (b'{"do":"start","id":"","request":{}}', "invalid_request"),
    (b'{"do":"start","id":"a","request":[]}', "invalid_json"),
    (b'{"do":"start","id":"a","request":{"model":"simulated"}}', "invalid_request"),
    (b'{"do":"start","id":"a","request":{"model":"none","input":"x"}}', "unknown_model"),
    (b'{"do":"start","id":"a","request":{"model":"simulated","input":"x","stream":"a b"}}', "invalid_request"),
    (b'{"do":"start","id":"a","request":{"model":"simulated","input":"x","colour":"red"}}', "invalid_value"),
    (b'{"do":"follow","id":"a"}', "invalid_request"),
    (b'{"do":"follow","stream":"s1"}', "invalid_request"),
    (b'{"do":"follow","id":"a","stream":"never"}', "unknown_stream"),
    (b'{"do":"follow","id":"a","stream":"s1","after":-1}', "invalid_request"),
    (b'{"do":"follow","id":"a","stream":"s1","after":9999}', "cursor_ahead"),
    (b'{"do":"follow","id":"a","stream":"s1","after":1e99}', "invalid_json"),
    (b'{"do":"follow","id":"a","stream":"s1","after":99999999999999999999}', "cursor_ahead"),
    (b'{"do":"follow","id":"a","stream":"s1","after":"7"}', "invalid_json"),
    (b'{"do":"follow","id":"%s","stream":"s1"}' % (b"x" * 200), "invalid_request"),
    (b'{"do":"cancel"}', "invalid_request"),
    (b'{"do":"cancel","stream":"never"}', "unknown_stream"),
    (b'{"do":"unfollow"}', "invalid_request"),
    (b"[" * 100_000, "invalid_json"),
    (b'{"do":"start","id":"a","request":' + b"[" * 50_000 + b"]" * 50_000 + b"}", "invalid_json"),
    (b"\xff\xfe", "invalid_json"),
    (b'{"do":"ping"}' + b"\0", "invalid_json"),
]


async def test_whatever_is_wrong_with_a_frame_is_said_and_the_socket_stays_open(served, socket):
    await exchange(served.port, TONGUES["native sse"].start("s1", FAST))
    await socket.start("good", SLOW)
    wrong = []
    for data, code in BAD:
        await socket.connection.send(data)  # as bytes: not all are text
        error = await socket.error()
        if error["code"] != code or not 400 <= error["status"] < 500:
            wrong.append((data[:60], code, error))
    assert wrong == []
    seen = len(socket.events("good"))
    await socket.until(lambda f: len(socket.events("good")) > seen)  # and what it reads goes on
    assert numbers(socket.events("good")) == list(range(1, len(socket.events("good")) + 1))


async def test_an_error_carries_the_id_it_answers_to(served, socket):
    await socket.say(do="follow", id="b", stream="never")
    frame = await socket.hear()
    assert frame["id"] == "b"
    assert frame["error"]["status"] == 404


async def test_an_id_in_use_is_refused_until_it_is_free(served, socket):
    await socket.start("a", SLOW, stream="s1")
    await socket.start("a", FAST)
    assert (await socket.error())["code"] == "conflict"
    await socket.say(do="cancel", stream="s1")
    await socket.done("a")
    await socket.start("a", FAST)
    await socket.done("a")


async def test_unfollow_of_what_is_not_read_does_no_harm(served, socket):
    await socket.say(do="unfollow", id="never")
    await socket.say(do="ping")
    assert await socket.hear() == {"pong": True}


async def test_a_frame_that_is_no_utf8_text_ends_the_socket_and_no_stream(served, socket):
    await socket.start("a", SLOW, stream="s1")
    await socket.until(lambda f: "event" in f)
    socket.connection.transport.write(Frame(Opcode.TEXT, b"\xff\xfe").serialize(mask=True))
    with pytest.raises(ConnectionClosed) as caught:
        await socket.until(lambda f: False)
    assert caught.value.rcvd.code == 1007
    assert (await served.ask("GET", "/v1/streams/s1"))[0] == 200


async def test_a_frame_over_the_limit_ends_the_socket_and_no_stream(tmp_path):
    async with serving(tmp_path, limits=Limits(body_bytes=2048, busy=10.0)) as served, opened(served) as socket:
        await socket.start("a", SLOW, stream="s1")
        await socket.until(lambda f: "event" in f)
        await socket.connection.send("x" * 100_000)
        with pytest.raises(ConnectionClosed) as caught:
            await socket.until(lambda f: False)
        assert caught.value.rcvd.code == 1009
        assert (await served.ask("GET", "/v1/streams/s1"))[0] == 200


async def test_more_readings_than_allowed_are_refused(tmp_path):
    async with serving(tmp_path, limits=Limits(sockets_streams=2, busy=10.0)) as served, opened(served) as socket:
        for name in "abc":
            await socket.start(name, SLOW)
        assert (await socket.error())["status"] == 429
        assert served.house.desk.open_streams == 2  # the third was not begun


# Who may


@pytest.fixture
async def locked(tmp_path):
    async with serving(tmp_path, server=Server(api_key="secret")) as served:
        yield served


async def test_with_a_key_set_nothing_is_done_before_it_is_said(locked):
    async with opened(locked) as socket:
        for frame in (
            {"do": "start", "id": "a", "request": {"model": "simulated", "input": FAST}},
            {"do": "cancel", "stream": "s"},
        ):
            await socket.say(**frame)
            assert (await socket.error())["code"] == "unauthorized"
        await socket.say(do="key", key="wrong")
        assert (await socket.error())["code"] == "unauthorized"
        await socket.say(do="key")
        assert (await socket.error())["code"] == "unauthorized"
        await socket.say(do="key", key="secret")
        assert await socket.hear() == {"key": True}
        await socket.start("a", FAST)
        await socket.done("a")


@pytest.mark.parametrize("how", ["header", "query"])
async def test_the_handshake_may_carry_the_key(locked, how):
    more = {"additional_headers": {"authorization": "Bearer secret"}} if how == "header" else {}
    async with opened(locked, "/v1/ws?key=secret" if how == "query" else "/v1/ws", **more) as socket:
        await socket.start("a", FAST)
        await socket.done("a")


async def test_a_key_with_signs_that_a_query_escapes_is_understood(tmp_path):
    locked = serving(tmp_path, server=Server(api_key="a+b/c=&d"))
    async with locked as served, opened(served, "/v1/ws?key=a%2Bb%2Fc%3D%26d") as socket:
        await socket.start("a", FAST)
        await socket.done("a")


async def test_a_page_of_another_origin_may_not_open_a_socket(served):
    with pytest.raises(InvalidStatus):
        async with opened(served, origin="https://evil.example"):
            pass
    async with opened(served, origin=f"http://127.0.0.1:{served.port}") as socket:
        await socket.say(do="ping")
        assert await socket.hear() == {"pong": True}


# Those who do not listen


async def test_a_client_that_asks_and_never_listens_is_not_read_for_ever(served):
    """Its own requests wait in its own socket; nobody else does."""
    async with deafened(served) as deaf, opened(served) as other:

        async def shout() -> None:
            for n in range(200_000):
                await deaf.say(do="follow", id=f"x{n}", stream="never" * 20)

        shouting = asyncio.create_task(shout())
        await other.start("a", "sim: tokens=100 ttft_ms=0 interval_ms=1")
        await other.done("a")
        await asyncio.sleep(0.3)
        assert not shouting.done()
        assert shouting.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await shouting
    await eventually(lambda: not served.server.server_state.connections)


async def test_a_client_that_never_reads_costs_a_cursor_and_the_stream_goes_on(served):
    async with deafened(served) as deaf:
        await deaf.start("a", TEXT, stream="s1", on_disconnect="continue")
        await eventually(lambda: served.readers == 1)
        await eventually(lambda: not served.house.desk.open_streams)
        meta = await served.house.desk.meta("default", "s1")
        assert meta.last > 2000
        assert served.readers == 1
    await eventually(lambda: served.readers == 0)


async def test_a_client_that_takes_nothing_for_too_long_is_let_go_and_resumes(tmp_path):
    # On a busy machine one that takes all it can may take nothing for a while, too.
    async with serving(tmp_path, limits=Limits(write_stall_s=2.0, busy=10.0)) as served:
        async with deafened(served) as deaf:
            await deaf.start("a", TEXT, stream="s1", on_disconnect="continue")
            await eventually(lambda: served.readers == 1)
            await eventually(lambda: served.readers == 0)
        async with opened(served) as socket:
            await socket.say(do="follow", id="a", stream="s1", after=10)
            await socket.done("a")
            assert socket.events("a")[0]["seq"] == 11


async def test_a_stored_stream_comes_to_its_end_however_few_events_a_page_of_the_log_holds(tmp_path):
    log, said = Log(durability="process"), "sim: tokens=100000 words=1000 ttft_ms=0 interval_ms=0"
    async with serving(tmp_path, log=log) as served, opened(served) as socket:
        await socket.start("a", said, stream="s1")
        await socket.done("a")
        whole = socket.events("a")
    async with serving(tmp_path, log=log) as served, opened(served) as socket:
        await socket.say(do="follow", id="b", stream="s1", after=0)
        await socket.done("b")
        assert socket.events("b") == whole


async def test_silence_is_filled_with_heartbeats(tmp_path):
    async with serving(tmp_path, streams=Streams(heartbeat_s=0.05)) as served, opened(served) as socket:
        await socket.start("a", "sim: tokens=2 ttft_ms=400 interval_ms=0")
        await socket.done("a")
        assert {"heartbeat": True} in socket.heard
