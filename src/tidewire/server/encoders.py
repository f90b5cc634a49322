"""Settings in, an encoder out; or none, which is said."""

from __future__ import annotations

import logging
import os
from pathlib import Path

import msgspec

from tidewire.core.addresses import shown
from tidewire.core.errors import SettingsError
from tidewire.core.meter import EncoderMeter
from tidewire.core.ports import Encoder, Provider
from tidewire.embedding.hosted import Hosted
from tidewire.embedding.hosts import HOSTS
from tidewire.embedding.kept import Kept
from tidewire.embedding.minilm import MODEL, MiniLM
from tidewire.embedding.minilm_files import find, missing
from tidewire.embedding.offered import Offered
from tidewire.server.embedding_settings import Embedding
from tidewire.server.settings import Settings

log = logging.getLogger("tidewire.embedding")


class Encoders(msgspec.Struct, frozen=True):
    """encoder: for search; None: by words alone. former: of what was embedded before; not asked while nothing of it is left. offered: what clients may name as a model. local: what must be loaded before it encodes."""

    encoder: Encoder | None = None
    former: Encoder | None = None
    offered: tuple[Provider, ...] = ()
    local: MiniLM | None = None

    def warm(self) -> None:
        """Begin to load the local model; for who knows that it will be needed."""
        if self.local is not None:
            self.local.warm()

    async def close(self) -> None:
        for encoder in (self.encoder, self.former):
            if encoder is not None:
                await encoder.close()


def chosen(given: Embedding) -> str:
    """The kind that "auto" stands for on this machine, or the one that is set."""
    if given.kind != "auto":
        return given.kind
    return "none" if missing(given.folder) else "minilm"


def build(settings: Settings, meter: EncoderMeter) -> Encoders:
    """Nothing is loaded yet. Raises SettingsError for an encoder that was asked for and cannot be had."""
    given = settings.embedding
    match chosen(given):
        case "none":
            if given.kind == "auto":
                log.info(
                    "no embedding model is installed: search is by words alone; `tidewire doctor` says what to install"
                )
            return Encoders()
        case "minilm":
            local = _local(settings, meter)
            return Encoders(
                Kept(local, given.kept, meter), _former(settings, meter), (Offered("local", MODEL, local),), local
            )
        case kind:
            return Encoders(Kept(_hosted(kind, given, meter), given.kept, meter), _former(settings, meter))


def _former(settings: Settings, meter: EncoderMeter) -> Encoder | None:
    """The local model costs nothing until it is asked."""
    given, before = settings.embedding, settings.embedding.former
    if before.kind == "none":
        return None
    if before.kind == "auto":
        there = chosen(given) != "minilm" and not missing(given.folder)
        return Kept(_local(settings, meter), given.kept, meter) if there else None
    of_it = msgspec.structs.replace(
        given,
        kind=before.kind,
        model=before.model,
        base_url=before.base_url,
        api_key_env=before.api_key_env,
        dimensions=before.dimensions,
    )
    made = _hosted(before.kind, of_it, meter)
    if chosen(given) == before.kind and made.name == _hosted(before.kind, given, meter).name:
        raise SettingsError(
            f"embedding.former is {made.name}, and so is embedding: it names what was used before",
            param="embedding.former.model",
        )
    return Kept(made, given.kept, meter)


def _local(settings: Settings, meter: EncoderMeter) -> MiniLM:
    given = settings.embedding
    return MiniLM(
        find(given.folder),
        Path(settings.data) / "models",
        meter,
        threads=given.threads,
        slice_s=given.slice_ms / 1000,
        waiting=given.waiting,
    )


def _hosted(kind: str, given: Embedding, meter: EncoderMeter) -> Hosted:
    host = HOSTS[kind]
    variable = given.api_key_env or host.key_env
    key = os.environ.get(variable, "")
    if not key and (given.api_key_env or not given.base_url):
        raise SettingsError(
            f"embedding.kind is {kind!r}, and the environment variable {variable} with its key is not set",
            param="embedding.api_key_env",
        )
    if given.base_url and not given.base_url.startswith(("http://", "https://")):
        raise SettingsError(
            f"embedding.base_url is {shown(given.base_url)!r}; it must be an http:// or https:// address",
            param="embedding.base_url",
        )
    return Hosted(
        kind,
        host,
        meter,
        model=given.model,
        base_url=given.base_url,
        key=key,
        dimensions=given.dimensions,
        waiting=given.waiting,
        requests=given.requests,
        timeout=given.timeout_s,
        retries=given.retries,
    )
