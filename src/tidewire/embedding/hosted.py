"""An encoder at a host, over HTTP."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Final

import httpx
import msgspec

from tidewire.core.addresses import shown
from tidewire.core.errors import UpstreamError
from tidewire.core.meter import EncoderMeter
from tidewire.embedding.batching import Batches
from tidewire.embedding.hosts import Asked, Host, vectors
from tidewire.embedding.line import NEVER, Bounds
from tidewire.embedding.pace import Pace

CHARACTERS: Final = 8000  # of one text that are sent: hosts read some 8,000 tokens, and a chunk is far shorter
ANSWER: Final = 64 << 20  # bytes
FIRST: Final = 0.2  # seconds before the second try; then twice that, and so on
LONGEST: Final = 30.0  # seconds that a host may ask us to wait
EXCERPT: Final = 200  # characters of a refusal that are shown


class Hosted:
    """`core.ports.Encoder`. kind: of the host, for the name. key: "" for none. dimensions: asked for; 0: the model's own.

    requests: to the host at once. timeout: seconds, of one request. retries: further tries after 429, 5xx and broken connections; they end
    when the last caller has left.
    """

    def __init__(
        self,
        kind: str,
        host: Host,
        meter: EncoderMeter,
        *,
        model: str,
        base_url: str,
        key: str,
        dimensions: int,
        waiting: int,
        requests: int,
        timeout: float,
        retries: int,
    ) -> None:
        self._model = model or host.model
        self.name = f"{kind}/{self._model}" + (f"@{dimensions}" if dimensions else "")
        self.dimensions = dimensions
        self._host = host
        self._meter = meter
        self._asked = dimensions
        self._url = (base_url or host.base_url).rstrip("/") + host.path
        self._shown = shown(self._url)
        self._key = key
        self._retries = retries
        headers = {"content-type": "application/json"} | ({"authorization": f"Bearer {key}"} if key else {})
        self._client = httpx.AsyncClient(
            headers=headers, timeout=timeout, limits=httpx.Limits(max_connections=requests, keepalive_expiry=60)
        )
        bounds = Bounds(texts=host.texts, units=host.size, seconds=NEVER, waiting=waiting)
        self._batches = Batches(
            self._work, Pace(0.2, 1e-6), bounds, meter, name=self.name, size=_bytes, hands=requests, stops=True
        )

    async def encode(
        self, texts: Sequence[str], *, query: bool = False, deadline: float | None = None
    ) -> Sequence[bytes]:
        sent = [text[:CHARACTERS].encode("utf-8", "replace").decode() for text in texts]
        if cut := sum(len(text) > CHARACTERS for text in texts):
            self._meter.truncated(self.name, cut)
        return await self._batches.encode(sent, query=query, deadline=deadline)

    async def close(self) -> None:
        await self._batches.close()
        await self._client.aclose()

    async def _work(self, texts: Sequence[str], query: bool) -> Sequence[bytes]:  # noqa: FBT001 - of `Work`
        body = msgspec.json.encode(self._host.body(Asked(self._model, texts, query, self._asked)))
        tries = 0
        while True:
            try:
                answer = await self._post(body)
                break
            except UpstreamError as error:
                if not error.retryable or tries == self._retries:
                    raise
                wait = FIRST * 2**tries if error.retry_after is None else error.retry_after
                if wait > LONGEST:
                    raise
            tries += 1
            await asyncio.sleep(wait)
        made = await asyncio.to_thread(vectors, self._host, answer, len(texts))
        dimensions = len(made[0]) // 4
        if self.dimensions not in (0, dimensions):
            raise UpstreamError(
                f"{self._shown} answered with vectors of {dimensions} numbers, and {self.dimensions} were expected: has the model changed?",
                code="upstream_bad_answer",
            )
        self.dimensions = dimensions
        return made

    async def _post(self, body: bytes) -> bytes:
        try:
            async with self._client.stream("POST", self._url, content=body) as response:
                held = bytearray()
                async for piece in response.aiter_bytes():
                    held += piece
                    if len(held) > ANSWER:
                        raise UpstreamError(
                            f"{self._shown} answered with more than {ANSWER} bytes", code="upstream_too_large"
                        )
        except httpx.TimeoutException:
            late = UpstreamError(f"{self._shown} did not answer in time (embedding.timeout_s)", code="upstream_timeout")
            late.status = 504
            raise late from None
        except (httpx.TransportError, httpx.InvalidURL) as error:
            raise UpstreamError(
                f"no answer from {self._shown}: {type(error).__name__}", code="upstream_unreachable"
            ) from None
        if response.status_code != httpx.codes.OK:
            raise self._refusal(response, bytes(held))
        return bytes(held)

    def _refusal(self, response: httpx.Response, body: bytes) -> UpstreamError:
        status = response.status_code
        said = body[: 4 * EXCERPT].decode("utf-8", "replace")
        if self._key:
            said = said.replace(self._key, "***")
        said = " ".join("".join(c if c.isprintable() else " " for c in said).split())[:EXCERPT]
        answered = f"{self._shown} answered {status}: {said}"
        if status in (401, 403):
            return _refused(f"{answered}; check the key (embedding.api_key_env)", "upstream_auth", status)
        if status == 404:
            code = "upstream_model_or_path_unknown"
            return _refused(f"{answered}; check embedding.model and embedding.base_url", code, status)
        if status == 429 or status >= 500 or status == 408:
            code = "upstream_rate_limited" if status == 429 else "upstream_unavailable"
            error = UpstreamError(answered, code=code, upstream_status=status, retry_after=_wait(response))
            error.status = 429 if status == 429 else 502
            return error
        error = _refused(f"{answered}; the host does not take this request", "upstream_refused", status)
        error.status = 400
        return error


def _refused(message: str, code: str, status: int) -> UpstreamError:
    error = UpstreamError(message, code=code, upstream_status=status)
    error.retryable = False
    return error


def _wait(response: httpx.Response) -> float | None:
    """Seconds of Retry-After; None where it is missing, or a date."""
    value = response.headers.get("retry-after", "")
    return float(value) if value.isascii() and value.isdigit() else None


def _bytes(text: str) -> int:
    return len(text.encode())
