"""Hosts that embed: a row each. What each is asked, what it answers, and what one request may hold.

Sources, read in November 2026: the API references of OpenAI (Embeddings), Cohere (Embed v2), Voyage AI (Text embedding models) and Jina AI
(its OpenAPI document). Pure: bodies in, vectors out.
"""

from __future__ import annotations

import binascii
import math
from array import array
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

import msgspec

from tidewire.core.errors import UpstreamError


class Asked(msgspec.Struct, frozen=True):
    """dimensions: 0 for the model's own."""

    model: str
    texts: Sequence[str]
    query: bool
    dimensions: int


class Host(msgspec.Struct, frozen=True):
    """texts, size: of one request, the size in bytes of UTF-8; a token is at least a byte, so that limits in tokens hold with limits in bytes."""

    base_url: str
    path: str
    key_env: str
    model: str
    texts: int
    size: int
    body: Callable[[Asked], dict[str, Any]]
    rows: Callable[[bytes], Sequence[Sequence[float] | str]]


class _Row(msgspec.Struct):
    index: int
    embedding: list[float] | str


class _Listed(msgspec.Struct):
    data: list[_Row]


class _Typed(msgspec.Struct):
    floats: list[list[float]] = msgspec.field(name="float")


class _Embeddings(msgspec.Struct):
    embeddings: _Typed


_listed: Final = msgspec.json.Decoder(_Listed)
_typed: Final = msgspec.json.Decoder(_Embeddings)


def vectors(host: Host, answer: bytes, count: int) -> list[bytes]:
    """Unit vectors, little-endian float32, in the order in which the texts were asked. Raises UpstreamError."""
    try:
        packed = [_unit(row) for row in host.rows(answer)]
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError, ValueError, OverflowError) as error:
        raise _bad(f"the host's answer holds no vectors: {str(error)[:200]}") from None
    if len(packed) != count:
        raise _bad(f"the host was asked for {count} vectors, and {len(packed)} came")
    if len({len(vector) for vector in packed}) > 1:
        raise _bad("the host's vectors differ in length")
    return packed


def _unit(row: Sequence[float] | str) -> bytes:
    numbers = array("f")
    if isinstance(row, str):
        try:
            numbers.frombytes(binascii.a2b_base64(row, strict_mode=True))
        except binascii.Error:
            raise ValueError("a vector is no base64") from None
    else:
        numbers.extend(row)
    length = math.sqrt(sum(number * number for number in numbers))
    if not math.isfinite(length) or length == 0.0:
        raise ValueError("a vector has no direction")
    return array("f", [number / length for number in numbers]).tobytes()


def _bad(message: str) -> UpstreamError:
    return UpstreamError(message, code="upstream_bad_answer")


def _in_order(answer: bytes) -> Sequence[Sequence[float] | str]:
    rows = sorted(_listed.decode(answer).data, key=lambda row: row.index)
    if [row.index for row in rows] != list(range(len(rows))):
        raise ValueError("the indices of its vectors have gaps")
    return [row.embedding for row in rows]


def _by_type(answer: bytes) -> Sequence[Sequence[float]]:
    return _typed.decode(answer).embeddings.floats


def _sized(name: str, asked: Asked) -> dict[str, Any]:
    return {name: asked.dimensions} if asked.dimensions else {}


def _openai(asked: Asked) -> dict[str, Any]:
    return {"model": asked.model, "input": list(asked.texts), "encoding_format": "base64"} | _sized("dimensions", asked)


def _cohere(asked: Asked) -> dict[str, Any]:
    return {
        "model": asked.model,
        "texts": list(asked.texts),
        "input_type": "search_query" if asked.query else "search_document",
        "embedding_types": ["float"],
        "truncate": "END",
    } | _sized("output_dimension", asked)


def _voyage(asked: Asked) -> dict[str, Any]:
    return {
        "model": asked.model,
        "input": list(asked.texts),
        "input_type": "query" if asked.query else "document",
        "truncation": True,
        "encoding_format": "base64",
    } | _sized("output_dimension", asked)


def _jina(asked: Asked) -> dict[str, Any]:
    return {
        "model": asked.model,
        "input": list(asked.texts),
        "task": "retrieval.query" if asked.query else "retrieval.passage",
        "embedding_type": "float",
        "normalized": True,
        "truncate": True,
    } | _sized("dimensions", asked)


HOSTS: Final[Mapping[str, Host]] = {
    "openai": Host(
        base_url="https://api.openai.com/v1",
        path="/embeddings",
        key_env="OPENAI_API_KEY",
        model="text-embedding-3-small",
        texts=256,
        size=250_000,
        body=_openai,
        rows=_in_order,
    ),
    "cohere": Host(
        base_url="https://api.cohere.com",
        path="/v2/embed",
        key_env="CO_API_KEY",
        model="embed-v4.0",
        texts=96,
        size=250_000,
        body=_cohere,
        rows=_by_type,
    ),
    "voyage": Host(
        base_url="https://api.voyageai.com/v1",
        path="/embeddings",
        key_env="VOYAGE_API_KEY",
        model="voyage-3.5",
        texts=128,
        size=120_000,
        body=_voyage,
        rows=_in_order,
    ),
    "jina": Host(
        base_url="https://api.jina.ai/v1",
        path="/embeddings",
        key_env="JINA_API_KEY",
        model="jina-embeddings-v3",
        texts=128,
        size=120_000,
        body=_jina,
        rows=_in_order,
    ),
}
