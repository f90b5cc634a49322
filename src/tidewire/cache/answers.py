"""A provider that gives an answer again where an equal one was given before, and else asks the one behind it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Final, Literal

import msgspec

from tidewire.cache.identity import Basis, key, user_of
from tidewire.cache.kept import Answer, Pace, Recorder, decode, encode, replay
from tidewire.cache.shelf import Shelf
from tidewire.core.errors import TidewireError
from tidewire.core.events import Attempt, Span, Timing, Usage
from tidewire.core.meter import CacheMeter
from tidewire.core.ports import ModelInfo, Provider, Sink
from tidewire.core.request import Request, Reuse

USUAL: Final = Reuse()

Price = Callable[[Attempt | None, Usage], float]


class Rules(msgspec.Struct, frozen=True, kw_only=True):
    """What is kept, and for whom.

    answers: asked, only for requests that say how old an answer may be; deterministic, those with temperature 0 too; all.
    scope: who shares. entry_bytes: the largest answer that is kept, about.
    """

    answers: Literal["asked", "deterministic", "all"] = "deterministic"
    scope: Literal["tenant", "user"] = "tenant"
    entry_bytes: int = 1 << 20
    pace: Pace = 0.0

    def user(self, request: Request) -> str | None:
        """Whose answer it is; None where users are told apart and the request names none: it is shared with nobody."""
        if self.scope == "tenant":
            return ""
        return user_of(request) or None

    def applies(self, request: Request) -> bool:
        if self.answers == "all" or (request.reuse is not None and request.reuse.max_age is not None):
            return True
        return self.answers == "deterministic" and request.temperature == 0


class Cache:
    """What the cached providers share. basis: what an answer depends on beside its request, asked before it and after it.

    now: Unix seconds, for ages. price: USD for the tokens of an attempt.
    """

    def __init__(
        self,
        shelf: Shelf,
        rules: Rules,
        *,
        basis: Callable[[Provider, Request], Basis],
        meter: CacheMeter,
        now: Callable[[], float],
        clock: Callable[[], float],
        price: Price = lambda attempt, usage: 0.0,
    ) -> None:
        self.shelf = shelf
        self.rules = rules
        self.basis = basis
        self.meter = meter
        self.now = now
        self.clock = clock
        self.price = price


class Cached:
    """A `Provider` around another."""

    def __init__(self, inner: Provider, cache: Cache) -> None:
        self.name = inner.name
        self._inner = inner
        self._cache = cache

    async def answer(self, request: Request, sink: Sink) -> None:
        """Raises what the inner provider raises, and a TidewireError of code not_cached where nothing else would do."""
        cache, wish = self._cache, request.reuse or USUAL
        place = self._place(request)
        if place is not None and wish.read:
            began = cache.clock()
            found = await self._found(request, place, wish)
            if found is not None:
                await self._give(found, sink, began)
                return
            cache.meter.missed()
        if wish.only:
            error = TidewireError("no kept answer will do, and the request allows nothing else", code="not_cached")
            error.status = 504  # RFC 9111, 5.2.1.7
            raise error
        if place is None or not wish.store:
            await self._inner.answer(request, sink)
            return
        recorder = Recorder(sink, cache.rules.entry_bytes, cache.clock)
        await self._inner.answer(request, recorder)
        answer = recorder.answer(cache.now())
        if answer is not None and self._place(request) == place:  # nothing that it was made from has changed meanwhile
            cache.shelf.put(request.tenant, place, encode(answer))

    async def models(self) -> Sequence[ModelInfo]:
        return await self._inner.models()

    async def close(self) -> None:
        await self._inner.close()

    def _place(self, request: Request) -> bytes | None:
        """The key; None for a request whose answers are not kept."""
        rules = self._cache.rules
        user = rules.user(request)
        if user is None or not rules.applies(request):
            return None
        return key(request, self._cache.basis(self._inner, request), user=user)

    async def _found(self, request: Request, place: bytes, wish: Reuse) -> Answer | None:
        kept = await self._cache.shelf.get(request.tenant, place)
        if kept is None or (wish.max_age is not None and self._cache.now() - kept[0] > wish.max_age):
            return None
        return decode(kept[1])

    async def _give(self, answer: Answer, sink: Sink, began: float) -> None:
        cache = self._cache
        took = cache.clock() - began
        sink.feed([Timing(span=Span("cache", 0.0, round(took * 1000, 3)))])
        await replay(answer, sink, pace=cache.rules.pace, age=max(0.0, cache.now() - answer.made))
        saved = max(0.0, answer.seconds - (cache.clock() - began))
        cache.meter.reused("exact", saved, answer.tokens_out, cache.price(answer.attempt, answer.usage))
