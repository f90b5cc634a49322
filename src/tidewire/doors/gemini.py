"""The Gemini API, as Google's clients ask for it: the model and what is to be done with it stand in the address."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Final, Literal, Protocol, Self

from tidewire.core.errors import BadRequest, UnknownModel
from tidewire.core.ports import Dialect, ModelInfo
from tidewire.doors.call import Call
from tidewire.doors.streaming import Streaming

Form = Literal["sse", "array", "whole"]
# An empty line fills a silence: Google's clients take a comment for JSON. Between the elements of an array it is nothing, too.
HEARTBEAT: Final = b"\r\n"
Handle = Callable[[Call], Awaitable[None]]


class Addressed(Dialect, Protocol):
    """A dialect whose requests name the model, and the form of the answer, in their address."""

    def at(self, model: str, form: Form) -> Self: ...

    def count(self, raw: bytes, headers: dict[str, str]) -> int:
        """Tokens of a prompt, estimated. Raises BadRequest."""


class GeminiRoutes:
    def __init__(self, streaming: Streaming, dialect: Addressed) -> None:
        self._streaming = streaming
        self._dialect = dialect

    @property
    def actions(self) -> dict[str, Handle]:
        """What stands behind the colon of an address."""
        return {"streamGenerateContent": self.stream, "generateContent": self.generate, "countTokens": self.count}

    async def stream(self, call: Call) -> None:
        """POST …/models/{model}:streamGenerateContent"""
        alt = call.query.get("alt", "json")
        if alt not in ("sse", "json"):
            raise BadRequest(f"alt is {alt[:40]!r}; it may be sse or json", param="alt")
        dialect = self._dialect.at(call.path["model"], "sse" if alt == "sse" else "array")
        await self._streaming.start(call, dialect, heartbeat=HEARTBEAT)

    async def generate(self, call: Call) -> None:
        """POST …/models/{model}:generateContent"""
        await self._streaming.start(call, self._dialect.at(call.path["model"], "whole"))

    async def count(self, call: Call) -> None:
        """POST …/models/{model}:countTokens"""
        counted = self._dialect.at(call.path["model"], "whole").count(await call.body(), call.headers)
        await call.json({"totalTokens": counted}, headers=[("x-tidewire-estimate", "true")])

    def or_else(self, mine: Handle, other: Handle) -> Handle:
        """For an address that other protocols know too: mine where one of Google's clients asks."""

        async def handle(call: Call) -> None:
            google = "x-goog-api-key" in call.headers or "x-goog-api-client" in call.headers
            await (mine if google else other)(call)

        return handle

    async def models(self, call: Call) -> None:
        """GET /v1beta/models"""
        size, start = call.number("pageSize", 50), _page(call.query.get("pageToken", ""))
        size = min(max(1, size), 1000)
        models = await self._streaming.desk.models()
        page: dict[str, object] = {"models": [self._model(m) for m in models[start : start + size]]}
        if start + size < len(models):
            page["nextPageToken"] = str(start + size)
        await call.json(page)

    async def model(self, call: Call) -> None:
        """GET /v1beta/models/{model}"""
        await call.json(self._model(await self._known(call.path["model"])))

    async def _known(self, wanted: str) -> ModelInfo:
        for model in await self._streaming.desk.models():
            if model.id == wanted:
                return model
        raise UnknownModel(
            f"there is no model {wanted[:80]!r}; GET /v1beta/models lists what is on offer", param="model"
        )

    def _model(self, model: ModelInfo) -> dict[str, object]:
        return {
            "name": f"models/{model.id}",
            "displayName": model.id,
            "description": model.note,
            "supportedGenerationMethods": list(self.actions),
        }


def _page(token: str) -> int:
    if token and not (token.isascii() and token.isdecimal() and len(token) < 10):
        raise BadRequest(f"pageToken is {token[:40]!r}; send the nextPageToken of the page before", param="pageToken")
    return int(token or 0)
