"""Marks for the hosts' own caches of prompts: where they stand, and that a client's own are left alone."""

from __future__ import annotations

import json

import pytest

from tidewire.core.embeddings import EmbeddingSpeaker
from tidewire.core.errors import SettingsError
from tidewire.core.request import Message, Request, Text, Tool
from tidewire.dialects import prompt_markers as pm
from tidewire.dialects.anthropic_host import MessagesHost
from tidewire.dialects.bedrock_host import ConverseHost
from tidewire.dialects.openai_chat_host import ChatHost
from tidewire.dialects.openai_quirks import QUIRKS
from tidewire.server.hosts import hosted
from tidewire.server.settings import Provider

SAID = [
    Message(role="system", content=[Text("Be brief.")]),
    Message(role="user", content=[Text("Hello?")]),
    Message(role="assistant", content=[Text("Yes?")]),
    Message(role="user", content=[Text("Why?")]),
]


def asked(speaker, mark, **more):
    request = Request(model="m", messages=SAID, tools=[Tool("a"), Tool("b")], **more)
    plain = json.loads(speaker.ask(request, "m").body)
    return plain, json.loads(pm.Marked(speaker, mark).ask(request, "m").body)


def marks(value, name):
    """How many objects in it have a field of this name."""
    if isinstance(value, dict):
        return (name in value) + sum(marks(v, name) for v in value.values())
    return sum(marks(v, name) for v in value) if isinstance(value, list) else 0


def test_anthropic_is_marked_behind_tools_system_and_the_last_message():
    plain, body = asked(MessagesHost(), pm.anthropic)
    assert marks(plain, "cache_control") == 0
    assert marks(body, "cache_control") == 3
    for last in (body["tools"][-1], body["system"][-1], body["messages"][-1]["content"][-1]):
        assert last["cache_control"] == {"type": "ephemeral"}
    assert (body["system"][-1]["text"], body["messages"][-1]["content"][-1]["text"]) == ("Be brief.", "Why?")


def test_marks_of_the_client_are_left_alone():
    own = {"type": "ephemeral", "ttl": "1h"}
    plain, body = asked(MessagesHost(), pm.anthropic, dialect="anthropic", options={"cache_control": own})
    assert body == plain
    chat = ChatHost(QUIRKS["openai"])
    _, body = asked(chat, pm.cache_key, dialect="openai_chat", options={"prompt_cache_key": "mine"})
    assert body["prompt_cache_key"] == "mine"


def test_bedrock_gets_points_in_the_same_places():
    plain, body = asked(ConverseHost(), pm.converse)
    assert marks(plain, "cachePoint") == 0
    assert marks(body, "cachePoint") == 3
    assert body["system"][-1] == body["messages"][-1]["content"][-1] == {"cachePoint": {"type": "default"}}


def test_openai_has_a_key_for_each_beginning_and_vllm_a_salt_for_each_tenant():
    chat = ChatHost(QUIRKS["openai"])
    keys = {asked(chat, pm.cache_key, tenant=tenant)[1]["prompt_cache_key"] for tenant in ("a", "b", "a")}
    salts = {asked(chat, pm.cache_salt, tenant=tenant)[1]["cache_salt"] for tenant in ("a", "b", "a")}
    assert len(keys) == len(salts) == 2
    assert not {"a", "b"} & (keys | salts)


def test_a_marked_speaker_can_do_what_it_could():
    assert isinstance(pm.Marked(ChatHost(), pm.cache_key), EmbeddingSpeaker) == isinstance(ChatHost(), EmbeddingSpeaker)


def test_a_host_that_takes_no_marks_is_named():
    hosted("vllm", "far", Provider(kind="vllm", prompt_markers=True))
    with pytest.raises(SettingsError, match="prompt_markers") as told:
        hosted("groq", "far", Provider(kind="groq", prompt_markers=True))
    assert told.value.param == "providers.far.prompt_markers"
