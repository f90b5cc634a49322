"""Which reranker the settings make, and which they refuse."""

from __future__ import annotations

import pytest

from tidewire.cli import checks
from tidewire.core.errors import SettingsError
from tidewire.server.rerank_settings import Rerank
from tidewire.server.rerankers import reranker_of
from tidewire.server.settings import Settings
from tidewire.telemetry.rerankers import RerankMetrics


def made(**given):
    return reranker_of(Rerank(**given), RerankMetrics())


def test_without_a_setting_there_is_none():
    assert made() is None
    assert list(checks.rerank(Settings())) == []


@pytest.mark.parametrize(
    ("kind", "key", "name"),
    [
        ("cohere", "CO_API_KEY", "cohere/rerank-v3.5"),
        ("jina", "JINA_API_KEY", "jina/jina-reranker-v3"),
        ("voyage", "VOYAGE_API_KEY", "voyage/rerank-2.5"),
    ],
)
async def test_a_host_needs_its_key(kind, key, name, monkeypatch):
    monkeypatch.delenv(key, raising=False)
    with pytest.raises(SettingsError, match=key):
        made(kind=kind)
    monkeypatch.setenv(key, "sk-of-the-host\n")
    reranker = made(kind=kind, candidates=7)
    assert (reranker.name, reranker.candidates) == (name, 7)
    await reranker.close()
    assert made(kind=kind, model="own").name == f"{kind}/own"
    monkeypatch.setenv(key, "sk-\u00e9")
    with pytest.raises(SettingsError) as caught:
        made(kind=kind)
    assert "sk-" not in caught.value.message


@pytest.mark.parametrize("kind", ["vllm", "tei"])
def test_a_host_of_ones_own_needs_its_address(kind, monkeypatch):
    monkeypatch.delenv("OWN_KEY", raising=False)
    with pytest.raises(SettingsError, match="base_url"):
        made(kind=kind)
    for url in ("localhost:8000", "http://", "ftp://host", "http://host/v1?key=hidden", "http://me:hidden@host:none"):
        with pytest.raises(SettingsError, match="http://") as caught:
            made(kind=kind, base_url=url)
        assert "hidden" not in caught.value.message
    assert made(kind=kind, base_url="http://localhost:8000/v1").name == kind
    with pytest.raises(SettingsError, match="OWN_KEY"):
        made(kind=kind, base_url="http://localhost:8000/v1", api_key_env="OWN_KEY")


def test_the_doctor_names_the_reranker_or_what_it_lacks():
    (found,) = checks.rerank(Settings(rerank=Rerank(kind="file")))
    assert (found.level, "rerank.file" in found.said) == ("fail", True)
    (found,) = checks.rerank(Settings(rerank=Rerank(kind="tei", base_url="http://localhost:8080")))
    assert (found.level, found.said) == ("ok", "tei")
