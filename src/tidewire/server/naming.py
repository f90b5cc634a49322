"""Settings that name a model as clients do, beside routes and cascades: a name that nothing answers to is said, for else it does nothing."""

from __future__ import annotations

import logging
from collections.abc import Iterator

from tidewire.server.routebook import Routebook
from tidewire.server.settings import Settings

log = logging.getLogger("tidewire.server")


def named(settings: Settings) -> Iterator[tuple[str, str]]:
    """Each setting's path, and a model that it names."""
    models = settings.models
    one = {"models.default": models.default, "sessions.summary_model": settings.sessions.summary_model}
    one |= {f"models.aliases.{alias}": model for alias, model in models.aliases.items()}
    yield from ((path, model) for path, model in one.items() if model)
    several: dict[str, list[str]] = {"retrieval.models": settings.retrieval.models}
    several |= {f"plans.{name}.models": plan.models for name, plan in settings.plans.items()}
    several |= {f"tools.{name}.models": tools.models for name, tools in settings.tools.items()}
    yield from ((path, model) for path, names in several.items() for model in names)


async def unanswered(settings: Settings, book: Routebook) -> list[tuple[str, str]]:
    """Those whose model is not on offer now."""
    return [(path, model) for path, model in named(settings) if not await book.answers(model)]


async def warn(settings: Settings, book: Routebook) -> None:
    for path, model in await unanswered(settings, book):
        log.warning("a setting names a model that is not on offer", extra={"path": path, "model": model})
