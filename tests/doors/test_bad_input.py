"""Whatever a client sends is answered with a clear 4xx in the dialect's own shape, and disturbs nobody else."""

from __future__ import annotations

import asyncio
import copy
import json
from typing import Any

import pytest
import pytest_asyncio
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from serving import eventually, serving
from tidewire.server.settings import Limits
from upstream import DONE, Upstream, chat, says

pytestmark = pytest.mark.asyncio(loop_scope="module")

LIMIT = 256 * 1024
EXAMPLES = 100
LIMITS = Limits(body_bytes=LIMIT, header_bytes=16384, busy=10.0)
TOOL = {"type": "function", "function": {"name": "f", "description": "d", "parameters": {"type": "object"}}}

POSTS: dict[str, tuple[str, dict[str, Any]]] = {
    "native": (
        "/v1/streams",
        {
            "model": "host/m",
            "messages": [
                {"role": "system", "content": "Be brief."},
                {"role": "user", "content": [{"type": "text", "text": "Hello"}, {"type": "image", "url": "data:,x"}]},
                {"role": "assistant", "content": [{"type": "tool_call", "call": "c", "name": "f", "arguments": "{}"}]},
                {"role": "tool", "content": [{"type": "tool_result", "call": "c", "text": "1"}]},
            ],
            "chat": "c1",
            "tools": [{"name": "f", "description": "d", "parameters": {"type": "object"}, "strict": True}],
            "tool_choice": "auto",
            "max_tokens": 10,
            "temperature": 0.5,
            "top_p": 0.5,
            "stop": ["END"],
            "response_format": {"type": "json_object"},
            "time_limit": 5.0,
            "on_disconnect": "cancel",
            "options": {"seed": 1},
        },
    ),
    "chat": (
        "/v1/chat/completions",
        {
            "model": "host/m",
            "messages": [
                {"role": "system", "content": "Be brief."},
                {
                    "role": "user",
                    "content": [
                        {"type": "text", "text": "Hello"},
                        {"type": "image_url", "image_url": {"url": "data:,x", "detail": "low"}},
                    ],
                    "name": "me",
                },
                {
                    "role": "assistant",
                    "content": None,
                    "tool_calls": [{"id": "c", "type": "function", "function": {"name": "f", "arguments": "{}"}}],
                },
                {"role": "tool", "tool_call_id": "c", "content": "1"},
            ],
            "stream": False,
            "stream_options": {"include_usage": True},
            "max_tokens": 10,
            "max_completion_tokens": 10,
            "temperature": 0.5,
            "top_p": 0.5,
            "stop": ["END"],
            "n": 1,
            "tools": [TOOL],
            "tool_choice": "auto",
            "response_format": {"type": "json_object"},
            "logprobs": False,
            "time_limit": 5.0,
            "seed": 1,
        },
    ),
    "responses": (
        "/v1/responses",
        {
            "model": "host/m",
            "input": [
                {"type": "message", "role": "user", "content": [{"type": "input_text", "text": "Hello"}]},
                {"role": "user", "content": [{"type": "input_image", "image_url": "data:,x", "detail": "low"}]},
                {"type": "function_call", "call_id": "c", "name": "f", "arguments": "{}"},
                {"type": "function_call_output", "call_id": "c", "output": "1"},
            ],
            "instructions": "Be brief.",
            "stream": False,
            "background": False,
            "store": True,
            "max_output_tokens": 10,
            "max_tool_calls": 1,
            "temperature": 0.5,
            "top_p": 0.5,
            "tools": [{"type": "function", "name": "f", "parameters": {"type": "object"}, "strict": True}],
            "tool_choice": "auto",
            "parallel_tool_calls": True,
            "text": {"format": {"type": "json_schema", "name": "s", "schema": {}}, "verbosity": "low"},
            "reasoning": {"effort": "low"},
            "metadata": {"a": "b"},
            "include": ["x"],
            "truncation": "auto",
            "top_logprobs": 0,
            "user": "me",
            "time_limit": 5.0,
            "seed": 1,
        },
    ),
    "ui": (
        "/api/chat",
        {
            "id": "c1",
            "model": "host/m",
            "messages": [
                {
                    "id": "u1",
                    "role": "user",
                    "parts": [
                        {"type": "text", "text": "Hello"},
                        {"type": "file", "mediaType": "image/png", "url": "data:,x"},
                    ],
                },
                {
                    "id": "a1",
                    "role": "assistant",
                    "parts": [
                        {"type": "step-start"},
                        {"type": "text", "text": "Hm"},
                        {
                            "type": "tool-f",
                            "toolCallId": "c",
                            "state": "output-available",
                            "input": {"a": 1},
                            "output": {"b": 2},
                        },
                        {
                            "type": "dynamic-tool",
                            "toolName": "g",
                            "toolCallId": "d",
                            "state": "output-error",
                            "errorText": "e",
                        },
                        {"type": "steering-message", "parts": [{"type": "text", "text": "and"}]},
                    ],
                },
            ],
            "system": "Be brief.",
            "tools": [{"name": "f", "description": "d", "inputSchema": {"type": "object"}}],
            "toolChoice": "auto",
            "temperature": 0.5,
            "topP": 0.5,
            "maxOutputTokens": 10,
            "trigger": "submit-message",
        },
    ),
}
REST = {  # the other POST routes take no body; whatever comes with it does no harm
    "cancel": "/v1/streams/nobody/cancel",
    "responses cancel": "/v1/responses/nobody/cancel",
    "ui stop": "/api/chat/nobody/stop",
}


def shaped(name: str, body: bytes) -> dict[str, Any]:
    """The error of a refusal, in the shape of the dialect of that name."""
    error = json.loads(body)["error"]
    assert isinstance(error["message"], str)
    assert error["message"]
    assert isinstance(error["code"], str)
    if name in ("chat", "responses", "responses cancel"):
        assert set(error) == {"message", "type", "param", "code"}
        assert isinstance(error["type"], str)
    else:
        assert 400 <= error["status"] < 500
    return error


class Scene:
    """A server, and beside everything that is done to it, one answer that must come out whole."""

    def __init__(self, tidewire: Any) -> None:
        self.tidewire = tidewire

    async def post(self, name: str, body: Any, **headers: str) -> tuple[int, dict[str, str], bytes]:
        path = POSTS[name][0] if name in POSTS else REST[name]
        async with asyncio.timeout(30):
            return await self.tidewire.ask("POST", path, body, **({"accept": "application/json"} | headers))

    async def refused(self, name: str, body: Any, **headers: str) -> dict[str, Any]:
        status, _, answer = await self.post(name, body, **headers)
        assert 400 <= status < 500, (status, answer[:500])
        return shaped(name, answer)

    async def borne(self, name: str, body: Any, **headers: str) -> int:
        """Accepted or refused, as may be, but never a failure of the server."""
        status, _, answer = await self.post(name, body, **headers)
        assert status < 500, (status, answer[:500])
        if status >= 400:
            shaped(name, answer)
        return status


@pytest_asyncio.fixture(loop_scope="module", scope="module")
async def scene(tmp_path_factory):
    told = asyncio.Event()

    async def beside(call):
        call.head()
        n = 0
        while not told.is_set():
            call.chunk(chat(f"word {n} "))
            n += 1
            await asyncio.sleep(0.01)
        call.chunk(chat(finish="stop") + DONE)
        call.end()

    async with Upstream(says("Hello")) as host, Upstream(beside) as steady:
        hosts = {"host": f"{host.url}", "steady": steady.url}
        async with serving(tmp_path_factory.mktemp("bad"), hosts=hosts, limits=LIMITS) as tidewire:
            reader = await tidewire.peer()
            reader.post("/v1/streams", {"model": "steady/m", "input": "Go on", "stream": "beside"})
            await reader.head()
            reading = asyncio.create_task(reader.body())
            yield Scene(tidewire)
            told.set()
            lived = await reading
            _, _, kept = await tidewire.ask("GET", "/v1/streams/beside/events")
            assert lived == kept
            assert b'"status":"completed"' in kept
            await reader.close()


@pytest.mark.parametrize("name", POSTS)
async def test_the_valid_bodies_of_this_file_are_answered(scene, name):
    status, _, answer = await scene.post(name, POSTS[name][1])
    assert status == 200, answer
    assert b"Hello" in answer


DEEP = 100_000
NONSENSE = {
    "empty": b"",
    "spaces": b" \r\n\t ",
    "no JSON": b"hello",
    "cut": b'{"model": "ho',
    "list": b"[]",
    "number": b"12",
    "text": b'"model"',
    "null": b"null",
    "true": b"true",
    "two documents": b"{}{}",
    "single quotes": b"{'model': 'host/m'}",
    "trailing comma": b'{"model": "host/m",}',
    "comment": b'{"model": "host/m" /* the best */}',
    "NaN": b'{"model": "host/m", "temperature": NaN}',
    "Infinity": b'{"model": "host/m", "temperature": -Infinity}',
    "lists, deeply": b"[" * DEEP,
    "objects, deeply": b'{"a":' * DEEP,
    "balanced, deeply": b"[" * DEEP + b"]" * DEEP,
    "deep in a field": b'{"model":"host/m","options":' + b"[" * DEEP + b"]" * DEEP + b"}",
    "not UTF-8": b'{"model": "\xff\xfe"}',
    "UTF-16": '{"model": "host/m"}'.encode("utf-16"),
    "cut in a letter": b'{"model": "\xc3',
    "lone surrogate": b'{"model": "\\ud800", "input": "x"}',
    "surrogate as bytes": b'{"model": "\xed\xa0\x80"}',
    "NUL bytes": b"\0" * 100,
    "bare control character": b'{"model": "a\x01b"}',
    "a form": b"model=host%2Fm&input=Hello",
}


@pytest.mark.parametrize("what", NONSENSE)
@pytest.mark.parametrize("name", POSTS)
async def test_nonsense_is_refused(scene, name, what):
    await scene.refused(name, NONSENSE[what])


@pytest.mark.parametrize("name", POSTS)
async def test_the_content_type_does_not_matter_where_the_body_is_json(scene, name):
    for kind in ("text/plain", "application/x-www-form-urlencoded", "multipart/form-data; boundary=x", "", "\xe9"):
        assert await scene.borne(name, POSTS[name][1], content_type=kind) == 200


@pytest.mark.parametrize("name", POSTS)
async def test_a_missing_field_is_named(scene, name):
    for field in ("model", "messages", "input"):
        if field not in POSTS[name][1] or (name, field) == ("ui", "model"):  # useChat names none: the default answers
            continue
        body = {k: v for k, v in POSTS[name][1].items() if k != field}
        error = await scene.refused(name, body)
        assert field in error["message"]


@pytest.mark.parametrize("name", POSTS)
async def test_an_unknown_model_is_named(scene, name):
    for model in ("nobody", "x" * 5000, "\x00\x1f\u2028", "💧", "../../etc/passwd", "<script>"):
        error = await scene.refused(name, POSTS[name][1] | {"model": model})
        assert error.get("code") in ("unknown_model", "invalid_value", "invalid_request")
        assert len(error["message"]) < 400


ODD: list[Any] = [
    None,
    True,
    0,
    -1,
    1.5,
    1e308,
    10**30,
    10**400,
    -(10**400),
    "",
    "x",
    "\ud83d",
    "é" * 3000,
    [],
    [None],
    [1],
    [[]],
    [{}],
    ["x"],
    {},
    {"a": 1},
    {"type": []},
    {"type": {}},
    {"function": {"name": []}},
    [{"type": "text"}],
    [{"role": []}],
    [{"role": {}}],
    [{"role": "user", "content": {}}],
    [{"role": "user", "parts": 1}],
    [{"role": "assistant", "parts": [{"type": "steering-message", "parts": 1}]}],
    [{"role": "user", "content": [1]}],
    [{"role": "user", "content": [{"type": []}]}],
    [{"role": "assistant", "tool_calls": 1}],
    [{"role": "assistant", "tool_calls": [{"function": {"arguments": []}}]}],
]


@pytest.mark.parametrize(
    ("name", "field"),
    [(n, f) for n, (_, body) in POSTS.items() for f in body],
)
async def test_a_field_of_any_type_is_taken_or_refused(scene, name, field):
    for value in ODD:
        await scene.borne(name, POSTS[name][1] | {field: value})


def places(value: Any, at: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """The path to each value inside a JSON value."""
    inside = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    return [at, *(place for key, item in inside for place in places(item, (*at, key)))][1 if not at else 0 :]


ANYTHING = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=6,
)


@pytest.mark.parametrize("name", list(POSTS))
async def test_a_valid_body_with_anything_anywhere_is_taken_or_refused(scene, name):
    loop = asyncio.get_running_loop()
    valid = POSTS[name][1]

    @settings(max_examples=EXAMPLES, suppress_health_check=list(HealthCheck), derandomize=True, database=None)
    @given(st.lists(st.tuples(st.sampled_from(places(valid)), ANYTHING, st.booleans()), min_size=1, max_size=3))
    def mutate(changes):
        body = copy.deepcopy(valid)
        for place, value, drop in changes:
            inside: Any = body
            try:
                for key in place[:-1]:
                    inside = inside[key]
                if drop:
                    del inside[place[-1]]
                else:
                    inside[place[-1]] = value
            except (KeyError, IndexError, TypeError):
                continue  # an earlier change took the place away
        asyncio.run_coroutine_threadsafe(scene.borne(name, body), loop).result(20)

    await loop.run_in_executor(None, mutate)


@pytest.mark.parametrize("name", POSTS)
async def test_valid_bytes_with_some_changed_are_taken_or_refused(scene, name):
    loop = asyncio.get_running_loop()
    valid = json.dumps(POSTS[name][1]).encode()

    @settings(max_examples=EXAMPLES, suppress_health_check=list(HealthCheck), derandomize=True, database=None)
    @given(st.lists(st.tuples(st.integers(0, len(valid)), st.integers(0, 4), st.binary(max_size=4)), max_size=4))
    def mutate(changes):
        body = valid
        for at, gone, new in changes:
            body = body[:at] + new + body[at + gone :]
        asyncio.run_coroutine_threadsafe(scene.borne(name, body), loop).result(20)

    await loop.run_in_executor(None, mutate)


@pytest.mark.parametrize("name", POSTS)
async def test_nesting_of_any_depth_is_taken_or_refused(scene, name):
    free = {"native": "options", "chat": "seed", "responses": "seed", "ui": "toolChoice"}[name]
    for depth in (*range(10, 1000, 45), *range(880, 1010, 5)):
        text = json.dumps(POSTS[name][1] | {free: {"x": 0}})
        deep = text.replace('{"x": 0}', '{"x": ' * depth + "0" + "}" * depth)
        await scene.borne(name, deep.encode())


@pytest.mark.parametrize("name", POSTS)
async def test_a_key_given_twice_counts_once(scene, name):
    text = json.dumps(POSTS[name][1])
    assert await scene.borne(name, (text[:-1] + ', "model": "host/m"}').encode()) == 200
    await scene.refused(name, (text[:-1] + ', "model": 5}').encode())


@pytest.mark.parametrize("name", POSTS)
async def test_a_body_over_the_limit_is_refused_by_its_declared_length(scene, name):
    peer = await scene.tidewire.peer()
    peer.raw(
        b"POST %s HTTP/1.1\r\nhost: localhost\r\ncontent-length: %d\r\n\r\n" % (POSTS[name][0].encode(), LIMIT + 1)
    )
    status, headers = await peer.head()  # not a byte of the body has been sent
    assert status == 413
    assert headers["connection"] == "close"
    assert shaped(name, await peer.body())["code"] == "body_too_large"
    await peer.close()


@pytest.mark.parametrize("name", POSTS)
async def test_a_body_over_the_limit_is_refused_without_a_length(scene, name):
    peer = await scene.tidewire.peer()
    peer.raw(b"POST %s HTTP/1.1\r\nhost: localhost\r\ntransfer-encoding: chunked\r\n\r\n" % POSTS[name][0].encode())
    for _ in range(LIMIT // 32768 + 1):
        peer.raw(b"8000\r\n" + b" " * 32768 + b"\r\n")
    status, _ = await peer.head()
    assert status == 413
    assert shaped(name, await peer.body())["code"] == "body_too_large"
    await peer.close()


@pytest.mark.parametrize("name", REST)
async def test_a_route_that_needs_no_body_is_harmed_by_none(scene, name):
    for body in NONSENSE.values():
        error = await scene.refused(name, body)
        assert error["code"] in ("unknown_stream", "not_found")


GETS = (
    "/v1/streams/beside/events?after={}",
    "/v1/streams/beside?x={}",
    "/v1/streams?limit={}",
    "/v1/responses/beside?stream=true&starting_after={}",
    "/v1/responses/beside/input_items?limit={}",
    "/api/chat/beside/stream?startIndex={}",
)


async def test_a_cursor_that_is_none_is_refused(scene):
    for cursor in ("-1", "x", "1.5", "1e3", "9" * 18, "9" * 400, "%00", "0x10", "+1", "%D9%A1", "--1", "NaN"):
        status, _, answer = await scene.tidewire.ask("GET", f"/v1/streams/beside/events?after={cursor}")
        assert status == 400, (cursor, answer)
        error = shaped("native", answer)
        assert error["code"] in ("invalid_request", "cursor_ahead")
        status, _, answer = await scene.tidewire.ask("GET", "/v1/streams/beside/events", last_event_id=cursor)
        assert status == 400, (cursor, answer)
    for path in GETS:
        for value in ("-1", "x", "9" * 30, "%ff%fe", "", "0;drop", "999999999"):
            peer = await scene.tidewire.peer()
            peer.get(path.format(value), accept="application/x-ndjson")
            status, _ = await peer.head()
            assert status < 500, (path, value)
            await peer.close()


async def test_what_is_not_there_is_a_404_in_the_shape_of_its_dialect(scene):
    for path, name in {
        "/v1/streams/nobody": "native",
        "/v1/streams/nobody/events": "native",
        "/v1/streams/%00%ff/events": "native",
        "/v1/streams/" + "x" * 4000: "native",
        "/v1/models/nobody": "chat",
        "/v1/responses/nobody": "responses",
        "/v1/responses/nobody/input_items": "responses",
        "/nowhere": "native",
        "/v1": "native",
        "//": "native",
        "/v1/streams/": "native",
        "/console/../../etc/passwd": "native",
        "/console/%2e%2e%2fpasswd": "native",
    }.items():
        status, _, answer = await scene.tidewire.ask("GET", path)
        assert status == 404, path
        shaped(name, answer)
    for path, name in {"/v1/streams/nobody": "native", "/v1/responses/nobody": "responses"}.items():
        status, _, answer = await scene.tidewire.ask("DELETE", path)
        assert status == 404
        shaped(name, answer)


async def test_a_wrong_method_is_a_405_that_names_the_right_ones(scene):
    for method, path, name in (
        ("PUT", "/v1/streams", "native"),
        ("DELETE", "/v1/streams", "native"),
        ("GET", "/v1/chat/completions", "chat"),
        ("PATCH", "/v1/responses", "responses"),
        ("GET", "/api/chat", "ui"),
        ("POST", "/healthz", "native"),
        ("TRACE", "/v1/models", "chat"),
        ("PROPFIND", "/", "native"),
    ):
        status, headers, answer = await scene.tidewire.ask(method, path)
        assert status == 405, (method, path)
        assert headers["allow"]
        shaped(name, answer)


async def test_odd_headers_are_taken_or_refused(scene):
    for headers in (
        {"accept": "*/*"},
        {"accept": "\xff\xfe" * 100},
        {"accept": ""},
        {"prefer": "respond-async\xff"},
        {"x_tidewire_on_disconnect": "sometimes"},
        {"x_tidewire_on_disconnect": "grace:nan"},
        {"x_tidewire_on_disconnect": "grace:1e999"},
        {"x_tidewire_on_disconnect": "grace:" + "9" * 5000},
        {"authorization": "Bearer \xe9"},
        {"x_api_key": "\xe9\xff"},
        {"cookie": "a=b; " * 100},
        {"content_encoding": "gzip"},
        {"if_none_match": "\xff"},
    ):
        for name in POSTS:
            await scene.borne(name, POSTS[name][1], **headers)


async def test_the_server_still_serves_and_nothing_is_left_running(scene):
    status, _, answer = await scene.tidewire.ask("GET", "/healthz")
    assert (status, answer) == (200, b'{"status":"ok"}')
    await eventually(lambda: scene.tidewire.house.desk.open_streams == 1)
