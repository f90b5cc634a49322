"""Texts become vectors: the one thing asked of hosts that is no stream."""

from __future__ import annotations

from typing import Any, Literal, Protocol, runtime_checkable

import msgspec

from tidewire.core.ports import Question


class EmbeddingRequest(msgspec.Struct, frozen=True, omit_defaults=True):
    """input: texts, or lists of token numbers. encoding: how the client wants each vector; "base64" is of little-endian float32.

    options: fields of OpenAI's protocol that nobody here reads.
    """

    model: str
    input: list[str] | list[list[int]]
    dimensions: int | None = None
    encoding: Literal["float", "base64"] = "float"
    options: dict[str, Any] = {}


class Embedded(msgspec.Struct, frozen=True):
    """A vector for each input, in its order, each as the host wrote it: numbers, or base64. tokens: of the input, where the host said."""

    vectors: list[list[float] | str]
    tokens: int | None = None


@runtime_checkable
class EmbeddingSpeaker(Protocol):
    """What a `Speaker` can do besides, where the host embeds."""

    def ask_vectors(self, request: EmbeddingRequest, model: str) -> Question: ...

    def vectors(self, body: bytes, count: int) -> Embedded:
        """count: how many were asked for. Raises UpstreamError for an answer that does not hold them."""


@runtime_checkable
class Embedder(Protocol):
    """What a `Provider` can do besides."""

    async def embed(self, request: EmbeddingRequest) -> Embedded:
        """Raises BadRequest where this host does not embed, UpstreamError or TimedOut where it fails."""
