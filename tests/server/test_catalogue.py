"""Which models are on offer, in which order, and what a name means."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from tidewire.core.errors import UnknownModel
from tidewire.core.ports import ModelInfo
from tidewire.providers.simulated import Simulated
from tidewire.server.assemble import house
from tidewire.server.catalogue import Catalogue
from tidewire.server.embedding_settings import Embedding
from tidewire.server.settings import Models, Provider, Settings


def catalogue(default: str = "", **aliases: str) -> Catalogue:
    return Catalogue([Simulated("big", models=("b1", "b2")), Simulated("small", models=("s1",))], aliases, default)


async def listed(of: Catalogue) -> list[str]:
    models: Sequence[ModelInfo] = await of.models()
    return [model.id for model in models]


async def test_without_a_default_the_first_on_offer_is_meant():
    offer = catalogue()
    assert await listed(offer) == ["b1", "b2", "s1"]
    assert (await offer.find("default"))[1] == "b1"


@pytest.mark.parametrize("default", ["s1", "quick"])
async def test_the_default_that_is_set_is_listed_first_and_may_be_an_alias(default):
    offer = catalogue(default, quick="s1")
    assert await listed(offer) == ["s1", "b1", "b2"]
    assert (await offer.find("default"))[1] == "s1"


async def test_a_default_that_is_not_there_is_named():
    with pytest.raises(UnknownModel, match="no model 'b3', for which 'default' stands; GET"):
        await catalogue("b3").find("default")


async def test_a_model_comes_before_sentences_of_documents_and_a_rehearsal_last(tmp_path):
    settings = Settings(
        data=str(tmp_path),
        embedding=Embedding(kind="none"),
        models=Models(discover=False),
        providers={
            "simulated": Provider(kind="simulated"),
            "own": Provider(base_url="http://127.0.0.1:1/v1", models=["large"]),
        },
    )
    async with house(settings, own_port=0) as parts:
        assert await listed(parts.catalogue) == ["own/large", "extractive", "simulated"]


async def test_a_key_in_the_environment_is_an_offer_and_not_an_order(tmp_path, monkeypatch):
    monkeypatch.setenv("OPENAI_API_KEY", "sesame")
    monkeypatch.setenv("OPENAI_BASE_URL", "http://127.0.0.1:1/v1")
    async with house(Settings(data=str(tmp_path)), own_port=0) as parts:
        names = [provider.name for provider in parts.catalogue.providers]
        assert names.index("extractive") < names.index("openai")
