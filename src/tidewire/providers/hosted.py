"""Any host over HTTP: its dialect is the speaker's, how a request is signed is the signer's, and the rest is the same for all."""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Final, Literal, Protocol

from tidewire.core.embeddings import Embedded, EmbeddingRequest, EmbeddingSpeaker
from tidewire.core.errors import BadRequest, TidewireError, TimedOut, UpstreamError
from tidewire.core.events import Attempt, Event, Progress
from tidewire.core.ports import Decoder, ModelInfo, Provider, Question, Sink, Speaker
from tidewire.core.request import Request
from tidewire.providers.http import Host, Timeouts
from tidewire.providers.refusals import refusal

LISTED: Final = 60.0  # seconds that a list of models is believed
UNLISTED: Final = 5.0  # seconds until a host that did not list them is asked again
LIST_DEADLINE: Final = 3.0
VECTORS: Final = 256 * 1024 * 1024  # bytes of an answer: 2048 vectors of 4096 numbers, written out
PATIENCE: Final = 5.0  # seconds: a host that asks for a longer pause is not waited for
_APART: Final = frozenset({"openai_images"})  # dialects of no conversation, which a speaker of talk cannot ask for
_AGAIN: Final = frozenset({429, 502, 503, 504, 529})  # 529: overloaded, Anthropic's own
_UNCONNECTED: Final = frozenset({"upstream_unreachable", "upstream_connect_timeout"})


class Signer(Protocol):
    """Makes the headers that prove who asks, where they are not the same for every request."""

    async def sign(self, method: str, url: str, body: bytes) -> Mapping[str, str]:
        """url: the whole address of this request, as it goes over the wire. Raises UpstreamError or TimedOut."""


class Hosted:
    """A `Provider`. Model names: those of `aliases` mean the host's names they map to; of others, `prefix` is taken off."""

    def __init__(
        self,
        name: str,
        base_url: str,
        speaker: Speaker,
        *,
        others: Mapping[str, Speaker] | None = None,
        headers: Mapping[str, str] | None = None,
        secrets: Sequence[str] = (),
        signer: Signer | None = None,
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
        deadline_header: str = "",
        probe: str = "",
        prefill: Callable[[str], bool] = lambda model: False,
    ) -> None:
        """others: speakers for requests of one dialect each. base_url: what the speaker's paths are put behind. headers: of every request. secrets: masked in what errors quote.
        models: what is on offer; empty, what the host lists. deadline_header: in which the host is told how many milliseconds are left. probe: a path
        that costs the host next to nothing, and nobody any money. prefill: whether a model of the host goes on from the beginning of an answer.

        retries: more tries before the first token, after a failed connection or a 429, 502, 503 or 504.
        """
        self.name = name
        self._secrets = [*secrets, *(headers or {}).values()]
        self.host = Host(
            base_url,
            headers=headers,
            secrets=self._secrets,
            timeouts=timeouts,
            connections=connections,
            ca_file=ca_file,
            verify=verify,
            proxy=proxy,
            environ=environ,
        )
        self._speaker = speaker
        self._others = dict(others or {})
        self._signer = signer
        self._models = tuple(models)
        self._aliases = dict(aliases or {})
        self._prefix = prefix
        self._note = note
        self._retries = retries
        self._deadline_header = deadline_header
        self._probe = probe
        self._prefill = prefill
        self._listed: list[ModelInfo] = []
        self._believed_until = 0.0
        self._listing = asyncio.Lock()

    def __repr__(self) -> str:
        return f"Hosted({self.name!r}, {self.host.address})"

    async def answer(self, request: Request, sink: Sink) -> None:
        await self._attempts(request, sink, self._retries)

    def once(self) -> Provider:
        """The same without tries of its own, for whoever counts the tries."""
        return Once(self)

    async def _attempts(self, request: Request, sink: Sink, retries: int) -> None:
        began = self.host.clock()
        model = self.upstream(request.model)
        speaker = self.speaker(request)
        asked = speaker.ask(request, model)
        reason: Literal["start", "retry"] = "start"
        for n in range(1, retries + 2):
            opening: list[Event] = [Attempt(n=n, provider=self.name, model=model, reason=reason)]
            if n == 1:
                opening.append(Progress(stage="waiting", detail=f"waiting for {self.name}"))
            sink.feed(opening)
            try:
                await self._exchange(request, asked, speaker.decoder(request), sink, began=began)
                return
            except (UpstreamError, TimedOut) as error:
                pause = _pause(error, n)
                if n > retries or error.begun or pause is None:
                    raise
                if request.deadline is not None and self.host.clock() + pause >= request.deadline:
                    raise
            await asyncio.sleep(pause)
            reason = "retry"

    async def _exchange(self, request: Request, asked: Question, decoder: Decoder, sink: Sink, *, began: float) -> None:
        """One try: the question, and all of the answer."""
        headers = await self._signed("POST", asked.path, asked.body, asked.headers)
        if self._deadline_header and request.deadline is not None:
            left = max(1, round((request.deadline - self.host.clock()) * 1000))
            headers = {**headers, self._deadline_header: str(left)}
        await self.host.stream(
            "POST", asked.path, asked.body, decoder, sink, headers=headers, began=began, deadline=request.deadline
        )

    async def embed(self, request: EmbeddingRequest) -> Embedded:
        """`core.embeddings.Embedder`. Tried again as an answer is."""
        if not isinstance(self._speaker, EmbeddingSpeaker):
            raise BadRequest(
                f"{self.name} is not asked for embeddings here; name a model of a host that speaks OpenAI's protocol",
                code="unsupported_value",
                param="model",
            )
        asked = self._speaker.ask_vectors(request, self.upstream(request.model))
        n = 1
        while True:
            try:
                return self._speaker.vectors(await self._fetched(asked), len(request.input))
            except (UpstreamError, TimedOut) as error:
                pause = _pause(error, n)
                if n > self._retries or pause is None:
                    raise
            await asyncio.sleep(pause)
            n += 1

    async def _fetched(self, asked: Question) -> bytes:
        """The host's answer. Raises UpstreamError for any status but 200."""
        headers = await self._signed("POST", asked.path, asked.body, asked.headers)
        timeouts = self.host.timeouts
        deadline = timeouts.header + timeouts.idle
        status, said, body = await self.host.fetch(
            "POST", asked.path, asked.body, headers=headers, deadline=deadline, limit=VECTORS
        )
        if status != 200:
            raise refusal(self.host.address, status, said, body, self._secrets)
        return body

    async def models(self) -> Sequence[ModelInfo]:
        """What is configured; else what the host lists, believed for a minute. A host that is down offers what it last did."""
        configured = [*self._aliases, *(f"{self._prefix}{m}" for m in self._models)]
        if configured:
            return [ModelInfo(id=name, provider=self.name, note=self._note) for name in configured]
        async with self._listing:
            now = time.monotonic()
            if now >= self._believed_until:
                try:
                    self._listed = await self.listed()
                    self._believed_until = now + LISTED
                except TidewireError:
                    self._believed_until = now + UNLISTED
            return self._listed

    async def warm(self) -> tuple[float, float | None] | None:
        """Open a connection where none is kept, and ask on it for what costs nothing; the seconds that each took. None where one is kept.

        Raises UpstreamError or TimedOut, also where the host answers that it is not well, or knows no such key.
        """
        dialled = await self.host.warm()
        if dialled is None:
            return None
        if not self._probe:
            return dialled, None
        began = self.host.clock()
        headers = await self._signed("GET", self._probe, b"", {})
        status, said, body = await self.host.fetch("GET", self._probe, headers=headers, deadline=LIST_DEADLINE)
        if status >= 500 or status in (401, 403):
            raise refusal(self.host.address, status, said, body, self._secrets)
        return dialled, self.host.clock() - began

    async def close(self) -> None:
        await self.host.close()

    def prefills(self, model: str) -> bool:
        """`core.ports.Prefilling`."""
        return self._prefill(self.upstream(model))

    def speaker(self, request: Request) -> Speaker:
        """What asks for this request. Raises BadRequest where nothing can."""
        if request.dialect in _APART and request.dialect not in self._others:
            raise BadRequest(
                f"{self.name} makes no images by this protocol; name a model of a host that does",
                code="unsupported_value",
                param="model",
            )
        return self._others.get(request.dialect, self._speaker)

    def upstream(self, model: str) -> str:
        """The host's own name for a model."""
        return self._aliases.get(model) or model.removeprefix(self._prefix)

    async def _signed(self, method: str, path: str, body: bytes, headers: Mapping[str, str]) -> Mapping[str, str]:
        if self._signer is None:
            return headers
        return {**headers, **await self._signer.sign(method, self.host.address.url(path), body)}

    async def listed(self) -> list[ModelInfo]:
        """What the host lists, asked now. Raises UpstreamError or TimedOut."""
        path = self._speaker.listing
        if not path:
            return []
        headers = await self._signed("GET", path, b"", {})
        status, _, body = await self.host.fetch("GET", path, headers=headers, deadline=LIST_DEADLINE)
        if status != 200:
            raise UpstreamError(
                f"{self.host.address} answered {status} when asked for its models", upstream_status=status
            )
        return [
            ModelInfo(id=f"{self._prefix}{m.id}", provider=self.name, created=m.created, note=self._note)
            for m in self._speaker.models(body)
        ]


class Once:
    """A `Provider`: a host asked once for each answer. It belongs to the host, and is not closed by itself."""

    def __init__(self, host: Hosted) -> None:
        self.name = host.name
        self._host = host

    async def answer(self, request: Request, sink: Sink) -> None:
        await self._host._attempts(request, sink, 0)  # noqa: SLF001 - the other half of the same thing

    def prefills(self, model: str) -> bool:
        return self._host.prefills(model)

    async def models(self) -> Sequence[ModelInfo]:
        return await self._host.models()

    async def close(self) -> None:
        """The host is closed by its owner."""


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
