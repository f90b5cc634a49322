"""Marks by which hosts keep a prompt's beginning, put into requests whose client has set none. Pure.

Sources: Anthropic's "Prompt caching" (cache_control, four marks at most), Bedrock's "Prompt caching" (cachePoint), OpenAI's "Prompt
caching" (prompt_cache_key), vLLM's "Automatic prefix caching" (cache_salt). Gemini and most others keep beginnings by themselves.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from typing import Any, Final

import msgspec

from tidewire.core.ports import Decoder, ModelInfo, Question, Speaker
from tidewire.core.request import Request

Mark = Callable[[dict[str, Any], Request], None]

_EPHEMERAL: Final = {"type": "ephemeral"}
_POINT: Final = {"cachePoint": {"type": "default"}}
_MARKABLE: Final = frozenset({"text", "image", "document", "tool_use", "tool_result"})


class Marked:
    """A `Speaker` whose requests are marked. What else the speaker can do, it can do still."""

    def __init__(self, speaker: Speaker, mark: Mark) -> None:
        self.listing = speaker.listing
        self._speaker = speaker
        self._mark = mark

    def ask(self, request: Request, model: str) -> Question:
        question = self._speaker.ask(request, model)
        body: dict[str, Any] = msgspec.json.decode(question.body)
        self._mark(body, request)
        return msgspec.structs.replace(question, body=msgspec.json.encode(body))

    def decoder(self, request: Request) -> Decoder:
        return self._speaker.decoder(request)

    def models(self, body: bytes) -> Sequence[ModelInfo]:
        return self._speaker.models(body)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._speaker, name)


def anthropic(body: dict[str, Any], request: Request) -> None:
    """Behind the tools, the system text and the last message: what the next turn, and the next conversation, begin with too."""
    if "cache_control" in body:
        return
    if tools := body.get("tools"):
        tools[-1]["cache_control"] = _EPHEMERAL
    for holder, name in ((body, "system"), *((message, "content") for message in body["messages"][-1:])):
        said = holder.get(name)
        if isinstance(said, str) and said.strip():
            holder[name] = said = [{"type": "text", "text": said}]
        if isinstance(said, list) and said and said[-1].get("type") in _MARKABLE and said[-1].get("text") != "":
            said[-1]["cache_control"] = _EPHEMERAL


def converse(body: dict[str, Any], request: Request) -> None:
    """The same places, in Bedrock's words. Only for models that take them: others refuse the request."""
    places = [body.get("system"), (body.get("toolConfig") or {}).get("tools")]
    places += [message.get("content") for message in body["messages"][-1:]]
    for place in places:
        if place and _POINT not in place:
            place.append(_POINT)


def cache_key(body: dict[str, Any], request: Request) -> None:
    """OpenAI sends requests of one key and one beginning to one machine: a tenant's with the same system text."""
    system = "\0".join(message.text for message in request.messages if message.role == "system")
    body.setdefault("prompt_cache_key", _digest(request.tenant, system))


def cache_salt(body: dict[str, Any], request: Request) -> None:
    """VLLM shares no block between salts: how quick an answer comes then says nothing of what other tenants asked."""
    body.setdefault("cache_salt", _digest(request.tenant))


def _digest(*texts: str) -> str:
    raw = msgspec.msgpack.encode([text.encode("utf-8", "surrogatepass") for text in texts])
    return hashlib.blake2b(raw, digest_size=16).hexdigest()
