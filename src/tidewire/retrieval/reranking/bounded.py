"""A reranker that cannot hold a search up: within its time, its scores looked at, left alone for a while where it fails."""

from __future__ import annotations

import asyncio
import logging
import math
from collections.abc import Sequence
from typing import Final

from tidewire.core.errors import UpstreamError
from tidewire.core.meter import RerankMeter
from tidewire.retrieval.reranking.port import Reranker, Skipped
from tidewire.retrieval.reranking.restraint import IN_A_ROW, Restraint

log = logging.getLogger("tidewire.retrieval")

LEAST: Final = 2  # scores that make an order
SPARE: Final = 0.02  # seconds of the caller's own time that are left to it: what was found is of no use after that


class Bounded:
    """candidates: most texts that it reads. seconds: most that it may take, less where the caller's deadline is nearer."""

    def __init__(self, reranker: Reranker, meter: RerankMeter, *, candidates: int, seconds: float) -> None:
        self.name = reranker.name
        self.candidates = candidates
        self._reranker = reranker
        self._meter = meter
        self._seconds = seconds
        self._restraint = Restraint()

    def warm(self) -> None:
        self._reranker.warm()

    async def scores(self, question: str, texts: Sequence[str], *, deadline: float | None) -> Sequence[float]:
        """A finite number for each text, in their order, or for the first two and more. deadline: of the search, on the event loop's clock.

        Raises Skipped where there is none: "late", "paused", "loading", or the code of what went wrong.
        """
        loop = asyncio.get_running_loop()
        began = loop.time()
        try:
            given = await self._scores(question, texts, began, deadline)
        except Skipped as skipped:
            self._meter.reranked(self.name, skipped.why, loop.time() - began)
            raise
        except asyncio.CancelledError:
            self._meter.reranked(self.name, "cancelled", loop.time() - began)
            raise
        self._meter.reranked(self.name, "done" if len(given) == len(texts) else "part", loop.time() - began)
        return given

    async def close(self) -> None:
        await self._reranker.close()

    async def _scores(
        self, question: str, texts: Sequence[str], began: float, deadline: float | None
    ) -> Sequence[float]:
        own = began + self._seconds
        until = own if deadline is None else min(own, deadline - SPARE)
        if until <= began:
            raise Skipped("late")
        if not self._restraint.allows(began):
            raise Skipped("paused")
        try:
            async with asyncio.timeout_at(until):
                given = _checked(await self._reranker.scores(question, texts, until), len(texts))
        except TimeoutError:
            if until == own:  # else it was the caller who had no time
                self._failed(began, "late", "it did not answer within rerank.deadline_ms")
            raise Skipped("late") from None
        except UpstreamError as error:
            self._failed(began, error.kind, error.message, error.retry_after or 0.0)
            raise Skipped(error.kind) from error
        if self._restraint.failures >= IN_A_ROW:
            log.info("the reranker answers again", extra={"model": self.name})
        self._restraint.succeeded()
        return given

    def _failed(self, began: float, code: str, message: str, wait: float = 0.0) -> None:
        before = self._restraint.failures
        self._restraint.failed(began, asyncio.get_running_loop().time(), wait)
        if before < IN_A_ROW <= self._restraint.failures:
            log.warning(
                "the reranker fails, and is asked only now and then until it does not",
                extra={"model": self.name, "code": code, "error": message},
            )


def _checked(scores: Sequence[float], count: int) -> Sequence[float]:
    if len(scores) > count:
        raise _bad(f"the reranker was given {count} texts, and {len(scores)} scores came")
    if len(scores) < LEAST:
        raise TimeoutError  # it had no time for more
    if not all(map(math.isfinite, scores)):
        raise _bad("the reranker gave a score that is no finite number")
    return scores


def _bad(message: str) -> UpstreamError:
    return UpstreamError(message, code="upstream_bad_answer")
