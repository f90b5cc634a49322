"""Hosts that rerank: a row each. What each is asked, and what it answers.

Sources, read in November 2026: the API references of Cohere (Rerank v2), Voyage AI (Rerankers) and Jina AI (Reranker), the protocol in
vLLM's source, and the OpenAPI document of Hugging Face's Text Embeddings Inference. Pure: bodies in, scores out.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

import msgspec

from tidewire.core.errors import UpstreamError


class Asked(msgspec.Struct, frozen=True):
    """model: "" where the host serves one alone."""

    model: str
    question: str
    texts: Sequence[str]


class Host(msgspec.Struct, frozen=True):
    """base_url: "" where everybody runs their own. key_env: "" where none is usual."""

    base_url: str
    path: str
    key_env: str
    model: str
    body: Callable[[Asked], dict[str, Any]]
    rows: Callable[[bytes], Sequence[tuple[int, float]]]


class _Relevance(msgspec.Struct):
    index: int
    relevance_score: float


class _Results(msgspec.Struct):
    results: list[_Relevance]


class _Data(msgspec.Struct):
    data: list[_Relevance]


class _Rank(msgspec.Struct):
    index: int
    score: float


_results: Final = msgspec.json.Decoder(_Results)
_data: Final = msgspec.json.Decoder(_Data)
_ranks: Final = msgspec.json.Decoder(list[_Rank])


def scores(host: Host, answer: bytes, count: int) -> list[float]:
    """In the order in which the texts were asked; hosts answer best first. Raises UpstreamError."""
    try:
        rows = host.rows(answer)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        # Not the error's own words: they may quote what was asked.
        raise _bad(f"the host's answer holds no scores ({type(error).__name__})") from None
    if sorted(index for index, _ in rows) != list(range(count)):
        raise _bad(f"the host was given {count} texts, and its {len(rows)} scores are not one for each")
    return [score for _, score in sorted(rows)]


def _bad(message: str) -> UpstreamError:
    return UpstreamError(message, code="upstream_bad_answer")


def _by_results(answer: bytes) -> Sequence[tuple[int, float]]:
    return [(row.index, row.relevance_score) for row in _results.decode(answer).results]


def _by_data(answer: bytes) -> Sequence[tuple[int, float]]:
    return [(row.index, row.relevance_score) for row in _data.decode(answer).data]


def _by_ranks(answer: bytes) -> Sequence[tuple[int, float]]:
    return [(row.index, row.score) for row in _ranks.decode(answer)]


def _cohere(asked: Asked) -> dict[str, Any]:
    return {"model": asked.model, "query": asked.question, "documents": asked.texts}


def _jina(asked: Asked) -> dict[str, Any]:
    return _cohere(asked) | {"return_documents": False}


def _voyage(asked: Asked) -> dict[str, Any]:
    return _jina(asked) | {"truncation": True}


def _vllm(asked: Asked) -> dict[str, Any]:
    """-1: cut to what the model reads; without it vLLM refuses all texts for one that is too long."""
    model = {"model": asked.model} if asked.model else {}
    return model | {"query": asked.question, "documents": asked.texts, "truncate_prompt_tokens": -1}


def _tei(asked: Asked) -> dict[str, Any]:
    return {
        "query": asked.question,
        "texts": asked.texts,
        "raw_scores": False,
        "return_text": False,
        "truncate": True,
    }


HOSTS: Final[Mapping[str, Host]] = {
    "cohere": Host(
        base_url="https://api.cohere.com",
        path="/v2/rerank",
        key_env="CO_API_KEY",
        model="rerank-v3.5",
        body=_cohere,
        rows=_by_results,
    ),
    "jina": Host(
        base_url="https://api.jina.ai/v1",
        path="/rerank",
        key_env="JINA_API_KEY",
        model="jina-reranker-v3",
        body=_jina,
        rows=_by_results,
    ),
    "voyage": Host(
        base_url="https://api.voyageai.com/v1",
        path="/rerank",
        key_env="VOYAGE_API_KEY",
        model="rerank-2.5",
        body=_voyage,
        rows=_by_data,
    ),
    "vllm": Host(base_url="", path="/rerank", key_env="", model="", body=_vllm, rows=_by_results),
    "tei": Host(base_url="", path="/rerank", key_env="", model="", body=_tei, rows=_by_ranks),
}
