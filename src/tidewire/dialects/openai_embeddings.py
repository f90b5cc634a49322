"""OpenAI Embeddings, both sides: the client's body and ours, the host's answer and ours.

Source: the OpenAI API reference, "Embeddings", and the types of the official Python SDK, which asks for base64 unless told otherwise.
"""

from __future__ import annotations

import base64
import binascii
import struct
from typing import Any, Final, Literal

import msgspec

from tidewire.core.embeddings import Embedded, EmbeddingRequest
from tidewire.core.errors import BadRequest, UpstreamError
from tidewire.core.events import ErrorInfo
from tidewire.dialects import body
from tidewire.dialects.openai_messages import error_object

_json = msgspec.json.encode
MOST: Final = 2048  # inputs of one request, OpenAI's own limit


class _Body(msgspec.Struct):
    model: str
    input: Any
    dimensions: int | None = None
    encoding_format: Literal["float", "base64"] | None = None


_KNOWN: Final = frozenset(_Body.__struct_fields__)


class OpenAIEmbeddings:
    """Towards clients."""

    def parse(self, raw: bytes) -> EmbeddingRequest:
        """Raises BadRequest with `param`."""
        given, plain = body.read(raw, _Body)
        if given.dimensions is not None and given.dimensions < 1:
            raise BadRequest(f"dimensions is {given.dimensions}; it must be at least 1", param="dimensions")
        return EmbeddingRequest(
            model=given.model,
            input=_inputs(given.input),
            dimensions=given.dimensions,
            encoding=given.encoding_format or "float",
            options=body.rest(plain, _KNOWN),
        )

    def answer(self, request: EmbeddingRequest, embedded: Embedded) -> bytes:
        """Each vector in the encoding that was asked for, whatever the host wrote. Raises UpstreamError for base64 that is none."""
        write = _packed if request.encoding == "base64" else _numbers
        rows = [
            {"object": "embedding", "index": index, "embedding": write(vector)}
            for index, vector in enumerate(embedded.vectors)
        ]
        tokens = embedded.tokens or 0
        return _json(
            {
                "object": "list",
                "data": rows,
                "model": request.model,
                "usage": {"prompt_tokens": tokens, "total_tokens": tokens},
            }
        )

    def error(self, info: ErrorInfo) -> bytes:
        return _json({"error": error_object(info)})


def _inputs(raw: Any) -> list[str] | list[list[int]]:
    """One text, texts, one list of tokens, or lists of tokens: always as a list."""
    items = [raw] if isinstance(raw, str) or (isinstance(raw, list) and raw and type(raw[0]) is int) else raw
    if not isinstance(items, list) or not items:
        raise BadRequest("input is empty; send a text, a list of texts, or tokens", param="input")
    if len(items) > MOST:
        raise BadRequest(f"input has {len(items)} entries; {MOST} are the most", param="input")
    if all(isinstance(item, str) for item in items):
        return items
    if all(isinstance(item, list) and item and all(type(token) is int for token in item) for item in items):
        return items
    raise BadRequest("input holds something that is neither text nor a list of token numbers", param="input")


def _packed(vector: list[float] | str) -> str:
    if isinstance(vector, str):
        return vector
    return base64.b64encode(struct.pack(f"<{len(vector)}f", *vector)).decode()


def _numbers(vector: list[float] | str) -> list[float]:
    if not isinstance(vector, str):
        return vector
    try:
        packed = binascii.a2b_base64(vector, strict_mode=True)
        return [number for (number,) in struct.iter_unpack("<f", packed)]
    except (ValueError, struct.error):
        raise UpstreamError(
            "the host sent a vector that is not base64 of float32", code="upstream_bad_answer"
        ) from None


# Towards hosts


def write_embedding(request: EmbeddingRequest, model: str, *, encoding: bool) -> bytes:
    """encoding: whether the host knows base64; where it does not, it is not asked for any encoding."""
    said: dict[str, Any] = {**request.options, "model": model, "input": request.input}
    if request.dimensions is not None:
        said["dimensions"] = request.dimensions
    if encoding:
        said["encoding_format"] = request.encoding
    return _json(said)


class _Row(msgspec.Struct):
    embedding: list[float] | str
    index: int | None = None


class _Usage(msgspec.Struct):
    prompt_tokens: int | None = None
    total_tokens: int | None = None


class _Answer(msgspec.Struct):
    data: list[_Row]
    usage: _Usage | None = None


def read_embedding(raw: bytes, count: int) -> Embedded:
    """count: how many vectors there must be. Raises UpstreamError for anything else."""
    try:
        answer = msgspec.json.decode(raw, type=_Answer)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise UpstreamError(
            f"the host's answer holds no vectors: {str(error)[:120]}", code="upstream_bad_answer"
        ) from None
    rows = answer.data
    if all(row.index is not None for row in rows):
        rows = sorted(rows, key=lambda row: row.index or 0)
    if len(rows) != count:
        raise UpstreamError(f"the host sent {len(rows)} vectors for {count} inputs", code="upstream_bad_answer")
    usage = answer.usage or _Usage()
    tokens = usage.prompt_tokens if usage.prompt_tokens is not None else usage.total_tokens
    return Embedded(vectors=[row.embedding for row in rows], tokens=tokens)
