"""Ollama's API below /ollama, as Ollama's clients ask for it: chat and generate, and what they look up beside."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any, Final

import msgspec

import tidewire
from tidewire.core.errors import BadRequest, UnknownModel
from tidewire.core.ports import Dialect, ModelInfo
from tidewire.doors.call import Call
from tidewire.doors.streaming import Streaming

# what fills a silence: a line that adds nothing, for Ollama's clients take none that is empty
_HEARTBEAT: Final = b'{"message":{"role":"assistant","content":""},"response":"","done":false}\n'
# what a file of weights would say of itself: there is none here
_UNTOLD: Final = {
    "parent_model": "",
    "format": "",
    "family": "",
    "families": [],
    "parameter_size": "",
    "quantization_level": "",
}


class OllamaRoutes:
    def __init__(self, streaming: Streaming, chat: Dialect, generate: Dialect) -> None:
        self._streaming = streaming
        self._chat = chat
        self._generate = generate

    async def chat(self, call: Call) -> None:
        """POST /ollama/api/chat"""
        await self._streaming.start(call, self._chat, _HEARTBEAT)

    async def generate(self, call: Call) -> None:
        """POST /ollama/api/generate"""
        await self._streaming.start(call, self._generate, _HEARTBEAT)

    async def tags(self, call: Call) -> None:
        """GET /ollama/api/tags"""
        models = await self._streaming.desk.models()
        await call.json({"models": [_row(model) for model in models]})

    async def show(self, call: Call) -> None:
        """POST /ollama/api/show"""
        wanted = _named(await call.body())
        for model in await self._streaming.desk.models():
            if model.id == wanted:
                shown = {"details": _UNTOLD, "model_info": {}, "capabilities": ["completion"]}
                await call.json(shown | {"modified_at": _date(model.created)})
                return
        raise UnknownModel(f"there is no model {wanted[:80]!r}; GET /api/tags lists what is on offer", param="model")

    async def version(self, call: Call) -> None:
        """GET /ollama/api/version"""
        await call.json({"version": tidewire.__version__})

    async def alive(self, call: Call) -> None:
        """GET /ollama, by which clients see that somebody is there"""
        await call.reply(200, [("content-type", "text/plain; charset=utf-8")], b"Tidewire is running\n")


def _row(model: ModelInfo) -> dict[str, Any]:
    """Size and digest of a model that is elsewhere are not known; the official clients want the fields."""
    named = {"name": model.id, "model": model.id, "modified_at": _date(model.created)}
    return named | {"size": 0, "digest": "", "details": _UNTOLD}


def _date(seconds: int) -> str:
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def _named(body: bytes) -> str:
    """The model of {"model"}, or {"name"} as older clients say. Raises BadRequest."""
    try:
        asked = msgspec.json.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        raise BadRequest("the body is not valid JSON", code="invalid_json") from None
    name = (asked.get("model") or asked.get("name")) if isinstance(asked, dict) else None
    if not isinstance(name, str):
        raise BadRequest("model is missing; GET /api/tags lists what is on offer", param="model")
    return name
