"""What answers to a model's name once everything is arranged around the hosts: a route or a host, in its wrappers."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from tidewire.core.ports import ModelInfo, Provider
from tidewire.providers.hosted import Hosted
from tidewire.server.catalogue import Catalogue

Wrapper = Callable[[Provider, str], Provider]


class Arrangement:
    """routes: asked for each request, since they may be replaced: providers made of providers, by the name that clients ask
    for; they come before models of the same name.

    tools: puts the server's tools around whatever answers, for the name that was asked for. wrappers: what is put around that, the
    innermost first. All are made for each request, and cost next to nothing.
    """

    def __init__(
        self,
        catalogue: Catalogue,
        routes: Callable[[], Mapping[str, Provider]],
        wrappers: Sequence[Wrapper] = (),
        tools: Wrapper = lambda provider, model: provider,
    ) -> None:
        self._tools = tools
        self._catalogue = catalogue
        self._routes = routes
        self._wrappers = wrappers

    @property
    def routes(self) -> Mapping[str, Provider]:
        return self._routes()

    async def bare(self, model: str) -> tuple[Provider, str]:
        """What answers to a name before tools and wrappers are put around it. Raises UnknownModel."""
        name = self._catalogue.meant(model)
        provider = self.routes.get(model) or self.routes.get(name)
        if provider is None:
            provider, name = await self._catalogue.find(model)
        return provider, name

    async def find(self, model: str) -> tuple[Provider, str]:
        """The provider, and the name by which it knows the model. Raises UnknownModel."""
        provider, name = await self.bare(model)
        provider = self._tools(provider, model)
        for wrap in self._wrappers:
            provider = wrap(provider, model)
        return provider, name

    async def reach(self, model: str) -> None:
        """Open a connection to a model's host, where it keeps none. A route chooses its host when it is asked, and is kept warm by its
        own setting. Raises what finding and dialling raise.
        """
        provider, _ = await self.bare(model)
        if isinstance(provider, Hosted):
            await provider.host.warm()

    async def models(self) -> Sequence[ModelInfo]:
        """Routes first, then what the hosts offer."""
        routes = [info for route in self.routes.values() for info in await route.models()]
        names = {info.id for info in routes}
        return [*routes, *(info for info in await self._catalogue.models() if info.id not in names)]
