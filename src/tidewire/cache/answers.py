"""A provider that gives an answer again where an equal one was given before, and else asks the one behind it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from typing import Final, Literal

import msgspec

from tidewire.cache.alike import Alike
from tidewire.cache.identity import Basis, key
from tidewire.cache.kept import Answer, Pace, Recorder, decode, encode, replay
from tidewire.cache.shelf import Shelf
from tidewire.core.errors import TidewireError
from tidewire.core.events import Attempt, Span, Timing, Usage
from tidewire.core.meter import CacheMeter
from tidewire.core.ports import Encoder, ModelInfo, Provider, Sink
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
        return request.user or None

    def applies(self, request: Request) -> bool:
        if self.answers == "all" or (request.reuse is not None and request.reuse.max_age is not None):
            return True
        return self.answers == "deterministic" and request.temperature == 0


class Cache:
    """What the cached providers share. basis: what an answerer's answer depends on beside its request, asked before and after.

    now: Unix seconds, for ages. price: USD for the tokens of an attempt. alike: finds answers to other questions that will do.
    """

    def __init__(
        self,
        shelf: Shelf,
        rules: Rules,
        *,
        basis: Callable[[str, Request], Basis],
        meter: CacheMeter,
        now: Callable[[], float],
        clock: Callable[[], float],
        price: Price = lambda attempt, usage: 0.0,
        encoder: Encoder | None = None,
        similarity: float = 0.9,
    ) -> None:
        self.shelf = shelf
        self.rules = rules
        self.basis = basis
        self.meter = meter
        self.now = now
        self.clock = clock
        self.price = price
        self.deletions: Counter[str] = Counter()  # by tenant: how often documents were deleted
        self._alike = None if encoder is None else Alike(encoder, similarity)

    def place(self, answerer: str, request: Request, *, question: bool = True) -> bytes | None:
        """The key of its answer; None for a request whose answers are not kept. question: as `identity.key` says."""
        user = self.rules.user(request)
        if user is None or not self.rules.applies(request):
            return None
        return key(request, self.basis(answerer, request), user=user, question=question)

    async def find(self, answerer: str, request: Request, place: bytes, wish: Reuse) -> tuple[Answer, str] | None:
        """An answer that will do, and the tier that it was found in."""
        found = await self._get(request.tenant, place, wish)
        if found is not None:
            return found, "exact"
        if self._alike is not None and (rest := self.place(answerer, request, question=False)) is not None:
            other = await self._alike.find(request, rest)
            found = None if other is None else await self._get(request.tenant, other, wish)
        return None if found is None else (found, "semantic")

    def keep(self, answerer: str, request: Request, place: bytes, answer: Answer) -> None:
        self.shelf.put(request.tenant, place, encode(answer), request.documents)
        if self._alike is not None and (rest := self.place(answerer, request, question=False)) is not None:
            self._alike.remember(request, rest, place)

    async def count(self, tenant: str) -> tuple[int, int]:
        """Answers of this tenant, and their bytes."""
        return await self.shelf.count(tenant)

    def forget(self, tenant: str, documents: Sequence[str]) -> None:
        """Delete the answers that were made from one of these documents, which are gone."""
        self.deletions[tenant] += 1
        self.shelf.forget(tenant, documents)

    async def clear(self, tenant: str) -> int:
        """Forget all of a tenant's; returns how many answers."""
        if self._alike is not None:
            self._alike.forget(tenant)
        return await self.shelf.clear(tenant)

    async def _get(self, tenant: str, place: bytes, wish: Reuse) -> Answer | None:
        kept = await self.shelf.get(tenant, place)
        if kept is None or (wish.max_age is not None and self.now() - kept[0] > wish.max_age):
            return None
        return decode(kept[1])


class Cached:
    """A `Provider` around another. answerer: what tells its answers from those of others; its name, unless given."""

    def __init__(self, inner: Provider, cache: Cache, answerer: str = "") -> None:
        self.name = inner.name
        self._answerer = answerer or inner.name
        self._inner = inner
        self._cache = cache

    async def answer(self, request: Request, sink: Sink) -> None:
        """Raises what the inner provider raises, and a TidewireError of code not_cached where nothing else would do."""
        cache, wish = self._cache, request.reuse or USUAL
        place = cache.place(self._answerer, request)
        if place is not None and wish.read:
            began = cache.clock()
            found = await cache.find(self._answerer, request, place, wish)
            if found is not None:
                await self._give(*found, sink, began)
                return
            cache.meter.missed()
        if wish.only:
            error = TidewireError("no kept answer will do, and the request allows nothing else", code="not_cached")
            error.status = 504  # RFC 9111, 5.2.1.7
            raise error
        if place is None or not wish.store:
            await self._inner.answer(request, sink)
            return
        recorder, deletions = Recorder(sink, cache.rules.entry_bytes, cache.clock), cache.deletions[request.tenant]
        await self._inner.answer(request, recorder)
        answer = recorder.answer(cache.now())
        if answer is None or cache.place(self._answerer, request) != place:  # settings have changed meanwhile
            return
        if not request.documents or cache.deletions[request.tenant] == deletions:  # else it may be of one that is gone
            cache.keep(self._answerer, request, place, answer)

    async def models(self) -> Sequence[ModelInfo]:
        return await self._inner.models()

    async def close(self) -> None:
        await self._inner.close()

    async def _give(self, answer: Answer, tier: str, sink: Sink, began: float) -> None:
        cache = self._cache
        took = cache.clock() - began
        sink.feed([Timing(span=Span("cache", 0.0, round(took * 1000, 3)))])
        await replay(answer, sink, pace=cache.rules.pace, age=max(0.0, cache.now() - answer.made))
        saved = max(0.0, answer.seconds - (cache.clock() - began))
        cache.meter.reused(tier, saved, answer.tokens_out, cache.price(answer.attempt, answer.usage))
