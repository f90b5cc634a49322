"""The kinds of provider that a configuration may name. To add one: a file in providers/, a test, and a line here."""

from __future__ import annotations

import os
from typing import Final

import msgspec

from tidewire.core.errors import SettingsError
from tidewire.core.ports import Provider
from tidewire.core.registry import Registry
from tidewire.dialects.openai_chat_host import ChatHost
from tidewire.providers.answers import Timeouts
from tidewire.providers.compatible import Compatible
from tidewire.providers.extractive import Extractive
from tidewire.providers.simulated import Simulated
from tidewire.retrieval.index import Index
from tidewire.server import settings as s


class Parts(msgspec.Struct, frozen=True):
    """What a provider may be made from, beside its own settings."""

    settings: s.Settings
    index: Index


def compatible(name: str, given: s.Provider, parts: Parts) -> Provider:
    key = os.environ.get(given.api_key_env) if given.api_key_env else None
    if given.api_key_env and not key:
        raise SettingsError(
            f"providers.{name}.api_key_env is {given.api_key_env!r}, and that variable is not set; set it, or leave the "
            "setting out",
            param=f"providers.{name}.api_key_env",
        )
    return Compatible(
        name,
        given.base_url,
        ChatHost(),
        api_key=key,
        models=given.models,
        prefix=f"{name}/",
        retries=given.retries,
        timeouts=Timeouts(
            connect=given.connect_s, header=given.header_s, first_token=given.first_token_s, idle=given.idle_s
        ),
        connections=given.connections,
        ca_file=given.ca_file or None,
        proxy=given.proxy or None,
    )


def simulated(name: str, given: s.Provider, parts: Parts) -> Provider:
    return Simulated(name, models=given.models or (name,))


def extractive(name: str, given: s.Provider, parts: Parts) -> Provider:
    retrieval = parts.settings.retrieval
    return Extractive(parts.index, interval=1 / retrieval.pace, passages=retrieval.passages)


KINDS: Final = Registry(
    "provider", "tidewire.providers", {"compatible": compatible, "simulated": simulated, "extractive": extractive}
)
