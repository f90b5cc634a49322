"""Without a key, a server on loopback is asked by names that no page of the internet can have."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from serving import serving
from tidewire.core.errors import TidewireError
from tidewire.doors.access import Access
from tidewire.server.settings import Server

OWN = [
    "",
    "localhost:8400",
    "LOCALHOST",
    "127.0.0.1:8400",
    "[::1]:8400",
    "192.0.2.7",
    "api.localhost",
    "host.docker.internal:1",
]
FOREIGN = [
    "evil.example:8400",
    "127.0.0.1.evil.example",
    "localhost.evil.example",
    "evil-localhost",
    "internal",
    "[",
    "a@b:x",
]


@pytest.mark.parametrize("host", OWN)
def test_names_that_lead_nowhere_else_are_the_servers_own(host: str) -> None:
    assert Access(None, frozenset({"127.0.0.1"})).check({"host": host}) == "default"


@pytest.mark.parametrize("host", FOREIGN)
def test_a_name_that_a_page_can_have_is_refused_until_it_is_named(host: str) -> None:
    with pytest.raises(TidewireError, match="does not know itself as") as caught:
        Access(None, frozenset({"127.0.0.1"})).check({"host": host})
    assert (caught.value.kind, caught.value.status) == ("foreign_host", 403)
    assert Access(None, frozenset({"*"})).check({"host": host}) == "default"
    assert Access().check({"host": host}) == "default"
    assert Access("k", frozenset()).check({"host": host, "x-api-key": "k"}) == "default"


def test_names_of_the_settings_count_whatever_their_case_and_port() -> None:
    access = Access(None, frozenset({"Ai.Example"}))
    assert access.check({"host": "ai.example:443"}) == "default"
    assert not access.asked_by("b.ai.example")


GUARDED = [
    ("GET", "/v1/documents"),
    ("GET", "/v1/library"),
    ("GET", "/v1/passages?document=a"),
    ("PUT", "/v1/documents/a"),
    ("DELETE", "/v1/documents/a"),
    ("POST", "/v1/reindex"),
    ("POST", "/v1/search"),
    ("POST", "/v1/streams"),
    ("POST", "/v1/chat/completions"),
    ("POST", "/v1/messages"),
    ("POST", "/mcp"),
    ("GET", "/metrics"),
]


async def test_every_route_that_a_key_would_guard_is_closed_to_a_page_whose_name_leads_here(tmp_path: Path) -> None:
    async with serving(tmp_path, server=Server(port=0, hosts=["ai.example"])) as tidewire:
        for method, path in GUARDED:
            body = None if method in ("GET", "DELETE") else b"{}"
            status, _, answer = await tidewire.ask(method, path, body, host="evil.example:8400")
            assert status == 403, path
            assert "server.hosts" in json.dumps(json.loads(answer)), path
        socket = {
            "upgrade": "websocket",
            "sec-websocket-key": "dGhlIHNhbXBsZSBub25jZQ==",
            "sec-websocket-version": "13",
        }
        assert (await tidewire.ask("GET", "/v1/ws", host="evil.example", connection="Upgrade", **socket))[0] == 403
        for host in ("localhost:8400", "ai.example"):
            assert (await tidewire.ask("GET", "/v1/documents", host=host))[0] == 200
        assert (await tidewire.ask("GET", "/healthz", host="evil.example"))[0] == 200


async def test_a_server_with_a_key_asks_for_no_name(tmp_path: Path) -> None:
    async with serving(tmp_path, server=Server(port=0, api_key="k")) as tidewire:
        status, *_ = await tidewire.ask("GET", "/v1/documents", host="ai.example", authorization="Bearer k")
        assert status == 200
