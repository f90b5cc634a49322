"""Chat Completions and the list of models, as OpenAI's clients ask for them."""

from __future__ import annotations

from tidewire.core.errors import UnknownModel
from tidewire.core.ports import Dialect
from tidewire.doors.call import Call
from tidewire.doors.streaming import Streaming


class OpenAIRoutes:
    def __init__(self, streaming: Streaming, chat: Dialect) -> None:
        self._streaming = streaming
        self._chat = chat

    async def completions(self, call: Call) -> None:
        """POST /v1/chat/completions"""
        await self._streaming.start(call, self._chat)

    async def models(self, call: Call) -> None:
        """GET /v1/models"""
        models = await self._streaming.desk.models()
        await call.json({"object": "list", "data": [_model(m.id, m.created, m.provider, m.note) for m in models]})

    async def model(self, call: Call) -> None:
        """GET /v1/models/{id}"""
        wanted = call.path["model"]
        for m in await self._streaming.desk.models():
            if m.id == wanted:
                await call.json(_model(m.id, m.created, m.provider, m.note))
                return
        raise UnknownModel(f"there is no model {wanted[:80]!r}; GET /v1/models lists what is on offer", param="model")


def _model(name: str, created: int, owner: str, note: str) -> dict[str, object]:
    return {"id": name, "object": "model", "created": created, "owned_by": owner, "note": note}
