"""Which provider answers to which model name."""

from __future__ import annotations

import asyncio
import difflib
import logging
import time
from collections.abc import Mapping, Sequence
from typing import Final

import msgspec

from tidewire.core.embeddings import Embedded, Embedder, EmbeddingRequest
from tidewire.core.errors import BadRequest, TidewireError, UnknownModel
from tidewire.core.ports import ModelInfo, Provider

log = logging.getLogger("tidewire.catalogue")

AGAIN: Final = 5.0  # seconds before hosts are asked again for a model that none has listed


class Catalogue:
    """Names are, in this order: an alias, "default", a model on offer with or without its host's name before it, or
    "<provider>/<anything>", for models that a host does not list.

    providers: the best first. What "default" means is listed first: `default` where it is given, else the first on offer.
    """

    def __init__(self, providers: Sequence[Provider], aliases: Mapping[str, str], default: str) -> None:
        self._providers = {p.name: p for p in providers}
        self._aliases = dict(aliases)
        self._default = default
        self._known: dict[str, Provider] = {}
        self._models: list[ModelInfo] = []
        self._asked = 0.0
        self._asking: asyncio.Task[None] | None = None

    @property
    def providers(self) -> Sequence[Provider]:
        return tuple(self._providers.values())

    async def find(self, model: str) -> tuple[Provider, str]:
        """The provider, and the name by which it knows the model. Raises UnknownModel, naming the nearest that there is."""
        name = self.meant(model)
        found = self._find(name)
        if found is None and time.monotonic() - self._asked > AGAIN:
            await self.refresh()
            found = self._find(name)
        if found is None:
            near = difflib.get_close_matches(name, self._known, n=1)
            hint = f"did you mean {near[0]!r}? " if near else ""
            meant = "" if name == model else f", for which {model[:80]!r} stands"
            raise UnknownModel(
                f"there is no model {name[:80]!r}{meant}; {hint}GET /v1/models lists what is on offer", param="model"
            )
        return found, name

    def meant(self, model: str) -> str:
        """The name that an alias or "default" stands for, or the same."""
        name = self._aliases.get(model, model)
        return self.default if name == "default" else name

    async def embed(self, request: EmbeddingRequest) -> Embedded:
        """Vectors of the model that is named. Raises BadRequest where whatever answers to that name does not embed."""
        provider, name = await self.find(request.model)
        if not isinstance(provider, Embedder):
            raise BadRequest(
                f"{provider.name} has no embeddings; name a model of a host that has",
                code="unsupported_value",
                param="model",
            )
        return await provider.embed(msgspec.structs.replace(request, model=name))

    async def models(self) -> Sequence[ModelInfo]:
        """What is on offer now."""
        await self.refresh()
        return self._models

    async def refresh(self) -> None:
        """Ask every provider for its models; several callers share one round."""
        if self._asking is None:
            self._asking = asyncio.get_running_loop().create_task(self._ask())
        try:
            await asyncio.shield(self._asking)
        finally:
            if self._asking is not None and self._asking.done():
                self._asking = None

    async def close(self) -> None:
        for provider in self.providers:
            await provider.close()

    @property
    def default(self) -> str:
        """What the name "default" means."""
        return self._aliases.get(self._default, self._default) or (self._models[0].id if self._models else "")

    async def _ask(self) -> None:
        answers = await asyncio.gather(*(p.models() for p in self.providers), return_exceptions=True)
        models: list[ModelInfo] = []
        known: dict[str, Provider] = {}
        for provider, answer in zip(self.providers, answers, strict=True):
            if isinstance(answer, TidewireError):
                log.warning(
                    "a provider could not list its models", extra={"provider": provider.name, "code": answer.kind}
                )
            elif isinstance(answer, BaseException):
                log.error("a provider broke while listing its models", exc_info=answer)
            else:
                for model in answer:
                    if model.id not in known:
                        known[model.id] = provider
                        models.append(model)
        for model in models:  # the host's own name will do where no other model has it
            known.setdefault(model.id.removeprefix(f"{model.provider}/"), known[model.id])
        self._known, self._models = known, models
        models.sort(key=lambda model: model.id != self.default)
        self._asked = time.monotonic()

    def _find(self, name: str) -> Provider | None:
        return self._known.get(name) or self._providers.get(name.partition("/")[0] if "/" in name else "")
