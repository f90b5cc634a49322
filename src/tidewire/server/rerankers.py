"""Settings in, a reranker out; or none."""

from __future__ import annotations

import os
from pathlib import Path

import httpx

from tidewire.core.addresses import shown
from tidewire.core.errors import SettingsError
from tidewire.core.meter import RerankMeter
from tidewire.retrieval.reranking.bounded import Bounded
from tidewire.retrieval.reranking.cross_encoder import CrossEncoder
from tidewire.retrieval.reranking.hosted import Hosted
from tidewire.retrieval.reranking.hosts import HOSTS
from tidewire.retrieval.reranking.port import Reranker
from tidewire.server.rerank_settings import Rerank


def reranker_of(given: Rerank, meter: RerankMeter) -> Bounded | None:
    """Nothing is loaded yet, nobody asked. Raises SettingsError for one that cannot be had."""
    if given.kind == "none":
        return None
    reranker = _file(given) if given.kind == "file" else _hosted(given)
    return Bounded(reranker, meter, candidates=given.candidates, seconds=given.deadline_ms / 1000)


def _file(given: Rerank) -> Reranker:
    if not given.file:
        raise SettingsError(
            "rerank.kind is 'file', and rerank.file is empty; name the ONNX file of a cross-encoder",
            param="rerank.file",
        )
    model = Path(given.file)
    return CrossEncoder(
        model, model.parent / "tokenizer.json", name=given.model, tokens=given.tokens, threads=given.threads
    )


def _hosted(given: Rerank) -> Reranker:
    host = HOSTS[given.kind]
    if not (given.base_url or host.base_url):
        raise SettingsError(
            f"rerank.kind is {given.kind!r}, and rerank.base_url is empty; it has no address that everybody shares",
            param="rerank.base_url",
        )
    if given.base_url and not _address(given.base_url):
        raise SettingsError(
            f"rerank.base_url is {shown(given.base_url)!r}; it must be an http:// or https:// address, without a query",
            param="rerank.base_url",
        )
    return Hosted(given.kind, host, model=given.model, base_url=given.base_url, key=_key(given))


def _key(given: Rerank) -> str:
    """A host of one's own need not have one."""
    host = HOSTS[given.kind]
    variable = given.api_key_env or host.key_env
    key = os.environ.get(variable, "").strip() if variable else ""
    if not key and (given.api_key_env or not given.base_url):
        raise SettingsError(
            f"rerank.kind is {given.kind!r}, and the environment variable {variable} with its key is not set",
            param="rerank.api_key_env",
        )
    if not (key.isascii() and key.isprintable()):
        raise SettingsError(
            f"the environment variable {variable} holds a character that no header can hold", param="rerank.api_key_env"
        )
    return key


def _address(url: str) -> bool:
    try:
        read = httpx.URL(url)
    except httpx.InvalidURL:
        return False
    return read.scheme in ("http", "https") and bool(read.host) and not read.query
