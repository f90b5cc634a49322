"""Any host that speaks OpenAI's Chat Completions, or another dialect whose speaker is given."""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Mapping, Sequence
from typing import Final, Literal

import msgspec

from tidewire.core.errors import TidewireError, TimedOut, UpstreamError
from tidewire.core.events import Attempt, Event, Progress
from tidewire.core.ports import ModelInfo, Sink, Speaker
from tidewire.core.request import Request
from tidewire.providers.http import Host, Timeouts

LISTED: Final = 60.0  # seconds that a list of models is believed
UNLISTED: Final = 5.0  # seconds until a host that did not list them is asked again
LIST_DEADLINE: Final = 3.0
PATIENCE: Final = 5.0  # seconds: a host that asks for a longer pause is not waited for
_AGAIN: Final = frozenset({429, 502, 503, 504})
_UNCONNECTED: Final = frozenset({"upstream_unreachable", "upstream_connect_timeout"})


class Compatible:
    """A `Provider`. Model names: those of `aliases` mean the host's names they map to; of others, `prefix` is taken off."""

    def __init__(
        self,
        name: str,
        base_url: str,
        speaker: Speaker,
        *,
        api_key: str | None = None,
        headers: Mapping[str, str] | None = None,
        path: str = "/chat/completions",
        models: Sequence[str] = (),
        aliases: Mapping[str, str] | None = None,
        prefix: str = "",
        note: str = "",
        retries: int = 1,
        timeouts: Timeouts = Timeouts(),  # noqa: B008 - frozen
        connections: int = 2000,
        ca_file: str | None = None,
        verify: bool = True,
        proxy: str | None = None,
        environ: Mapping[str, str] | None = None,
    ) -> None:
        """base_url: up to and including /v1. models: what is on offer; empty, what the host lists.

        retries: more tries before the first token, after a failed connection or a 429, 502, 503 or 504.
        """
        sent = dict(headers or {})
        if api_key:
            sent["Authorization"] = f"Bearer {api_key}"
        self.name = name
        self.host = Host(
            base_url,
            headers=sent,
            secrets=[api_key or "", *(headers or {}).values()],
            timeouts=timeouts,
            connections=connections,
            ca_file=ca_file,
            verify=verify,
            proxy=proxy,
            environ=environ,
        )
        self._speaker = speaker
        self._path = path
        self._models = tuple(models)
        self._aliases = dict(aliases or {})
        self._prefix = prefix
        self._note = note
        self._retries = retries
        self._listed: list[ModelInfo] = []
        self._listed_until = 0.0
        self._listing = asyncio.Lock()

    def __repr__(self) -> str:
        return f"Compatible({self.name!r}, {self.host.address})"

    async def answer(self, request: Request, sink: Sink) -> None:
        began = self.host.clock()
        model = self.upstream(request.model)
        body = self._speaker.encode(request, model)
        reason: Literal["start", "retry"] = "start"
        for n in range(1, self._retries + 2):
            opening: list[Event] = [Attempt(n=n, provider=self.name, model=model, reason=reason)]
            if n == 1:
                opening.append(Progress(stage="waiting", detail=f"waiting for {self.name}"))
            sink.feed(opening)
            try:
                await self.host.stream("POST", self._path, body, self._speaker.decoder(), sink, began=began)
                return
            except (UpstreamError, TimedOut) as error:
                pause = _pause(error, n)
                if n > self._retries or error.begun or pause is None:
                    raise
            await asyncio.sleep(pause)
            reason = "retry"

    async def models(self) -> Sequence[ModelInfo]:
        """What is configured; else what the host lists, believed for a minute. A host that is down offers what it last did."""
        configured = [*self._aliases, *(f"{self._prefix}{m}" for m in self._models)]
        if configured:
            return [ModelInfo(id=name, provider=self.name, note=self._note) for name in configured]
        async with self._listing:
            now = time.monotonic()
            if now >= self._listed_until:
                try:
                    self._listed = await self._list()
                    self._listed_until = now + LISTED
                except TidewireError:
                    self._listed_until = now + UNLISTED
            return self._listed

    async def close(self) -> None:
        await self.host.close()

    def upstream(self, model: str) -> str:
        """The host's own name for a model."""
        return self._aliases.get(model) or model.removeprefix(self._prefix)

    async def _list(self) -> list[ModelInfo]:
        status, _, body = await self.host.fetch("GET", "/models", deadline=LIST_DEADLINE)
        if status != 200:
            raise UpstreamError(
                f"{self.host.address} answered {status} when asked for its models", upstream_status=status
            )
        return [
            ModelInfo(id=f"{self._prefix}{m.id}", provider=self.name, created=m.created or 0, note=self._note)
            for m in listed(body)
        ]


class Listed(msgspec.Struct):
    """One row of GET /models."""

    id: str
    created: int | None = None


class _Listing(msgspec.Struct):
    data: list[Listed]


def listed(body: bytes) -> list[Listed]:
    """The rows of a GET /models answer; raises UpstreamError for anything else."""
    try:
        return msgspec.json.decode(body, type=_Listing, strict=False).data
    except (msgspec.DecodeError, UnicodeDecodeError):
        raise UpstreamError("the host's list of models is not one", code="upstream_not_json") from None


def _pause(error: UpstreamError | TimedOut, n: int) -> float | None:
    """Seconds before the next try, with jitter so that callers do not return together; None: do not try again."""
    if not error.retryable:
        return None
    status = error.upstream_status if isinstance(error, UpstreamError) else None
    if status not in _AGAIN and error.kind not in _UNCONNECTED:
        return None
    if error.retry_after is not None:
        return error.retry_after + random.uniform(0, 0.1) if error.retry_after <= PATIENCE else None
    return min(2.0, 0.1 * float(2**n)) * random.uniform(0.5, 1.0)
