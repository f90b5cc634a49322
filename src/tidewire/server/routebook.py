"""The routes and cascades in force: made from the settings, made anew when the file changes, kept warm."""

from __future__ import annotations

import asyncio
import logging
import random
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Final, Protocol

from tidewire.core.errors import SettingsError, TidewireError, UnknownModel
from tidewire.core.meter import CascadeMeter, RouteMeter
from tidewire.core.ports import Provider
from tidewire.providers.hosted import Hosted
from tidewire.routing.budget import Budget
from tidewire.routing.cascade import Cascade
from tidewire.routing.cascade_plan import CascadePlan, priced
from tidewire.routing.health import Healths
from tidewire.routing.hedge import Hedges
from tidewire.routing.route import Route
from tidewire.routing.table import Plan
from tidewire.server.catalogue import Catalogue
from tidewire.server.settings import Settings

log = logging.getLogger("tidewire.routes")

Reread = Callable[[], Settings]

LOOK_EVERY: Final = 2.0  # seconds between two looks at the file
WARM_EVERY: Final = 10.0  # seconds: less than the time for which most hosts keep a silent connection


Tables = tuple[Mapping[str, Plan], Mapping[str, CascadePlan]]


class Meter(RouteMeter, CascadeMeter, Protocol):
    """What both report."""


class Routebook:
    """current: routes and cascades by name. Replaced whole; answers under way keep theirs, and what is known of each model stays.

    reread: the settings as the file has them now; raises SettingsError.
    """

    def __init__(
        self,
        plans: Mapping[str, Plan],
        catalogue: Catalogue,
        meter: Meter,
        *,
        limit: float,
        rng: random.Random,
        cascades: Mapping[str, CascadePlan] = MappingProxyType({}),
    ) -> None:
        self._catalogue = catalogue
        self._meter = meter
        self._limit = limit
        self._rng = rng
        self._clock = (
            time.monotonic
        )  # a request's deadline is a time of it; the loop's own may be another, and whole milliseconds
        self.healths = Healths()
        self._budgets: dict[str, tuple[Budget, Hedges]] = {}
        self._shares: dict[str, Hedges] = {}
        self._plans: dict[str, Plan] = {}
        self._cascades: dict[str, CascadePlan] = {}
        self._routes: dict[str, Route] = {}
        self.current: dict[str, Provider] = {}
        self.put(plans, cascades)

    def put(self, plans: Mapping[str, Plan], cascades: Mapping[str, CascadePlan]) -> None:
        self._plans = dict(plans)
        self._cascades = dict(cascades)
        for name, plan in plans.items():
            retries, hedges = self._budgets.setdefault(name, (Budget(plan.retry_share), Hedges(plan.hedge_share)))
            retries.share, hedges.share = plan.retry_share, plan.hedge_share
        self._budgets = {name: self._budgets[name] for name in plans}
        self._routes = {name: self._route(name, plan) for name, plan in plans.items()}
        for name, cascade in cascades.items():
            self._shares.setdefault(name, Hedges(cascade.refine_share)).share = cascade.refine_share
        self._shares = {name: self._shares[name] for name in cascades}
        self.current = {
            **self._routes,
            **{name: self._cascade(name, priced(cascade, plans)) for name, cascade in cascades.items()},
        }

    @property
    def tables(self) -> Tables:
        """What routes and cascades are made from; replaced whole."""
        return self._plans, self._cascades

    async def find(self, model: str) -> tuple[Provider, str]:
        """What a candidate stands for: another route, or a host that is asked once, since the route counts the tries."""
        if (route := self._routes.get(model)) is not None:
            return route, model
        provider, name = await self._catalogue.find(model)
        return (provider.once() if isinstance(provider, Hosted) else provider), name

    async def member(self, model: str) -> tuple[Provider, str]:
        """What a model of a cascade stands for: a route, or a host with the tries that its own settings allow."""
        if (route := self._routes.get(model)) is not None:
            return route, model
        return await self._catalogue.find(model)

    async def answers(self, model: str) -> bool:
        """Whether anything does to this name, as clients ask for it."""
        try:
            return self._catalogue.meant(model) in self.current or bool(await self._catalogue.find(model))
        except UnknownModel:
            return False

    async def missing(self) -> list[tuple[str, str]]:
        """Routes and cascades, and their models that are not on offer now."""
        found: list[tuple[str, str]] = []
        plans: dict[str, Plan | CascadePlan] = {**self._plans, **self._cascades}
        for name, plan in plans.items():
            for model in plan.names:
                try:
                    await self.find(model)
                except UnknownModel:
                    found.append((name, model))
        return found

    async def warn(self) -> None:
        for route, model in await self.missing():
            log.warning("a route or cascade names a model that is not on offer", extra={"route": route, "model": model})

    async def watch(self, file: Path, reread: Reread) -> None:
        """Never returns. A file that cannot be used changes nothing, and the log says why."""
        seen = _state(file)
        while True:
            await asyncio.sleep(LOOK_EVERY)
            if (now := _state(file)) == seen:
                continue
            seen = now
            try:
                settings = await asyncio.get_running_loop().run_in_executor(None, reread)
            except SettingsError as error:
                log.warning("the changed settings cannot be used; the routes stay as they were", extra={"error": error})
                continue
            except Exception:  # supervisor boundary: the next change is looked at
                log.exception("the changed settings could not be read; the routes stay as they were")
                continue
            plans, cascades = settings.routes, settings.cascades
            if plans != self._plans or cascades != self._cascades:
                self.put(plans, cascades)
                log.info("the routes were replaced", extra={"count": len(plans) + len(cascades)})
                await self.warn()

    async def keep_warm(self) -> None:
        """Never returns. Opens a connection to each host that a warm route may ask, where none is kept, and sees that it answers."""
        while True:
            hosts: dict[str, Hosted] = {}
            for plan in self._plans.values():
                for model in plan.names if plan.warm else ():
                    try:
                        provider, _ = await self._catalogue.find(model)
                    except UnknownModel:
                        continue  # another route, or not on offer: `warn` has said so
                    if isinstance(provider, Hosted):
                        hosts[provider.name] = provider
            await asyncio.gather(*(self._warm(host) for host in hosts.values()))
            await asyncio.sleep(WARM_EVERY)

    async def _warm(self, provider: Hosted) -> None:
        try:
            took = await provider.warm()
        except TidewireError as error:
            log.debug("a host could not be reached beforehand", extra={"provider": provider.name, "code": error.kind})
            self._meter.not_warmed(provider.name, error.kind)
            return
        if took is not None:
            self._meter.warmed(provider.name, *took)

    def _cascade(self, name: str, plan: CascadePlan) -> Cascade:
        return Cascade(
            name,
            plan,
            find=self.member,
            share=self._shares[name],
            meter=self._meter,
            clock=self._clock,
            limit=self._limit,
        )

    def _route(self, name: str, plan: Plan) -> Route:
        return Route(
            name,
            plan,
            find=self.find,
            healths=self.healths,
            budget=self._budgets[name][0],
            hedges=self._budgets[name][1],
            meter=self._meter,
            rng=self._rng,
            clock=self._clock,
            limit=self._limit,
        )


def _state(file: Path) -> tuple[int, int]:
    """What changes when the file does; 0, 0 while there is none."""
    try:
        found = file.stat()
    except OSError:
        return 0, 0
    return found.st_mtime_ns, found.st_size
