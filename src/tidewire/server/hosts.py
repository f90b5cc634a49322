"""The model hosts that a configuration may name: a row each. To add one that speaks a known protocol: a row here, and a test."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from typing import Final

import msgspec

from tidewire.core.errors import SettingsError
from tidewire.core.ports import Speaker
from tidewire.dialects.anthropic_host import VERSION, MessagesHost
from tidewire.dialects.openai_chat_host import ChatHost
from tidewire.dialects.openai_responses_host import ResponsesHost
from tidewire.providers.answers import Timeouts
from tidewire.providers.background import Background
from tidewire.providers.hosted import Hosted, Signer
from tidewire.server import settings as s

Headers = Mapping[str, str]


def bearer(key: str) -> Headers:
    return {"Authorization": f"Bearer {key}"}


class HostKind(msgspec.Struct, frozen=True, kw_only=True):
    """One kind of host.

    speaker: its dialect, from its settings. base_url: where it is, unless the settings say. key_env: the environment variable that
    holds its key, unless the settings say; where that is set the host is offered without being configured. keyed: headers that carry the
    key. signer: where headers differ from request to request, made from the settings, the key and the base URL. provider: what asks it.
    usual: offered without being configured where its key is set.
    """

    speaker: Callable[[s.Provider], Speaker]
    base_url: str = ""
    key_env: str = ""
    keyed: Callable[[str], Headers] = bearer
    signer: Callable[[s.Provider, str | None], Signer | None] = lambda given, key: None
    provider: type[Hosted] = Hosted
    usual: bool = True


HOSTS: Final[dict[str, HostKind]] = {
    "anthropic": HostKind(
        speaker=lambda given: MessagesHost(given.api_version),
        base_url="https://api.anthropic.com",
        key_env="ANTHROPIC_API_KEY",
        keyed=lambda key: {"x-api-key": key, "anthropic-version": VERSION},
    ),
    "compatible": HostKind(speaker=lambda given: ChatHost()),
    "openai": HostKind(
        speaker=lambda given: ChatHost(), base_url="https://api.openai.com/v1", key_env="OPENAI_API_KEY"
    ),
    "openai-responses": HostKind(
        speaker=lambda given: ResponsesHost(background=given.background),
        base_url="https://api.openai.com/v1",
        key_env="OPENAI_API_KEY",
        provider=Background,
        usual=False,  # the key is openai's, which is offered then
    ),
}


def hosted(kind: str, name: str, given: s.Provider, note: str = "") -> Hosted:
    """The provider for a row. Raises SettingsError for what is missing."""
    row = HOSTS[kind]
    variable = given.api_key_env or row.key_env
    key = os.environ.get(variable) if variable else None
    if given.api_key_env and not key:
        raise SettingsError(
            f"providers.{name}.api_key_env is {given.api_key_env!r}, and that variable is not set; set it, or leave the "
            "setting out",
            param=f"providers.{name}.api_key_env",
        )
    return row.provider(
        name,
        given.base_url or row.base_url,
        row.speaker(given),
        headers={**given.headers, **(row.keyed(key) if key else {})},
        secrets=[key] if key else [],
        signer=row.signer(given, key),
        models=given.models,
        prefix=f"{name}/",
        note=note,
        retries=given.retries,
        timeouts=Timeouts(
            connect=given.connect_s, header=given.header_s, first_token=given.first_token_s, idle=given.idle_s
        ),
        connections=given.connections,
        ca_file=given.ca_file or None,
        proxy=given.proxy or None,
    )


def keys() -> dict[str, tuple[str, str]]:
    """The hosts that are offered where their key is set: kind -> variable and address."""
    return {
        kind: (row.key_env, row.base_url) for kind, row in HOSTS.items() if row.usual and row.key_env and row.base_url
    }
