"""An encoder on offer as a model, so that clients can ask it for vectors."""

from __future__ import annotations

import base64
from collections.abc import Sequence

from tidewire.core.embeddings import Embedded, EmbeddingRequest
from tidewire.core.errors import BadRequest
from tidewire.core.ports import Encoder, ModelInfo, Sink
from tidewire.core.request import Request


class Offered:
    """A `core.ports.Provider` that is an `Embedder`, and answers nothing else. model: by which clients name it."""

    def __init__(self, name: str, model: str, encoder: Encoder) -> None:
        self.name = name
        self._model = model
        self._encoder = encoder

    async def embed(self, request: EmbeddingRequest) -> Embedded:
        texts = [text for text in request.input if isinstance(text, str)]
        if len(texts) < len(request.input):
            raise BadRequest(
                f"{self._model} has tokens of its own; send texts", code="unsupported_value", param="input"
            )
        if request.dimensions not in (None, self._encoder.dimensions):
            raise BadRequest(
                f"dimensions is {request.dimensions}; the vectors of {self._model} have {self._encoder.dimensions}",
                code="unsupported_value",
                param="dimensions",
            )
        vectors = await self._encoder.encode(texts)
        return Embedded(vectors=[base64.b64encode(vector).decode() for vector in vectors])

    async def answer(self, request: Request, sink: Sink) -> None:
        raise BadRequest(
            f"{self._model} makes vectors (POST /v1/embeddings) and answers no questions; name another model",
            code="unsupported_value",
            param="model",
        )

    async def models(self) -> Sequence[ModelInfo]:
        return [ModelInfo(id=self._model, provider=self.name, note="makes vectors, on this machine")]

    async def close(self) -> None:
        """The encoder is closed by whoever made it."""
