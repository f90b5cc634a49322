"""A reranker at a host, over HTTP. One try: a second one would come too late."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import httpx
import msgspec

from tidewire.core.addresses import shown
from tidewire.core.errors import UpstreamError
from tidewire.retrieval.reranking.hosts import Asked, Host, scores

QUESTION: Final = 2000  # characters that are sent: every token of it is read once for each text
CHARACTERS: Final = 8000  # of one text that are sent: a chunk is far shorter
LONGEST: Final = 60.0  # seconds; whoever asks lets go far sooner
ANSWER: Final = 16 << 20  # bytes; some hosts send the texts back


class Hosted:
    """`Reranker`. kind: of the host, for the name. key: "" for none. What it raises names the host and a status, and never quotes the host:
    a refusal may quote the question, or the key.
    """

    def __init__(self, kind: str, host: Host, *, model: str, base_url: str, key: str) -> None:
        self._model = model or host.model
        self.name = f"{kind}/{self._model}" if self._model else kind
        self._host = host
        self._url = httpx.URL((base_url or host.base_url).rstrip("/") + host.path)
        self._shown = shown(str(self._url))
        headers = {"content-type": "application/json"} | ({"authorization": f"Bearer {key}"} if key else {})
        self._client = httpx.AsyncClient(headers=headers, timeout=LONGEST, limits=httpx.Limits(keepalive_expiry=60))

    def warm(self) -> None:
        """There is nothing to load."""

    async def scores(self, question: str, texts: Sequence[str], until: float) -> Sequence[float]:
        asked = Asked(self._model, _sent(question, QUESTION), [_sent(text, CHARACTERS) for text in texts])
        answer = await self._post(msgspec.json.encode(self._host.body(asked)))
        return scores(self._host, answer, len(texts))

    async def close(self) -> None:
        await self._client.aclose()

    async def _post(self, body: bytes) -> bytes:
        try:
            async with self._client.stream("POST", self._url, content=body) as response:
                if response.status_code != httpx.codes.OK:
                    raise self._refusal(response)
                held = bytearray()
                async for piece in response.aiter_bytes():
                    held += piece
                    if len(held) > ANSWER:
                        raise UpstreamError(
                            f"{self._shown} answered with more than {ANSWER} bytes", code="upstream_too_large"
                        )
        except httpx.HTTPError as error:
            raise UpstreamError(
                f"no answer from {self._shown}: {type(error).__name__}", code="upstream_unreachable"
            ) from None
        return bytes(held)

    def _refusal(self, response: httpx.Response) -> UpstreamError:
        status = response.status_code
        if status in (401, 403):
            code, hint = "upstream_auth", "; check the key (rerank.api_key_env)"
        elif status == 404:
            code, hint = "upstream_model_or_path_unknown", "; check rerank.model and rerank.base_url"
        elif status == 429:
            code, hint = "upstream_rate_limited", ""
        elif status >= 500:
            code, hint = "upstream_unavailable", ""
        else:
            code, hint = "upstream_refused", "; check rerank.model, and rerank.candidates against what it takes at once"
        value = response.headers.get("retry-after", "")
        wait = float(value) if value.isascii() and value.isdigit() else None
        return UpstreamError(
            f"{self._shown} answered {status}{hint}", code=code, upstream_status=status, retry_after=wait
        )


def _sent(text: str, most: int) -> str:
    """Cut, and without the halves of characters that JSON cannot hold."""
    return text[:most].encode("utf-8", "replace").decode()
