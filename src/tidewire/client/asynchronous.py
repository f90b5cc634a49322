"""The client for asyncio: a thin body around reading.py."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Sequence
from types import TracebackType
from typing import Any, Self

import httpx

from tidewire.client import calls
from tidewire.client.calls import Call, ConnectionLost
from tidewire.client.reading import Reading
from tidewire.core import ids
from tidewire.core.addresses import shown
from tidewire.core.events import AnyEvent, Closed
from tidewire.core.ports import ModelInfo


class AsyncAnswer:
    """The events of one stream; iterate over it once. Use it in `async with`, so that leaving early closes the connection.

    Leaving early is not a stop: what happens to the stream then is its own disconnect policy. cancel() stops it.
    To go on another day, keep the `seq` of the last event that was dealt with, and follow() from there.
    """

    def __init__(self, client: AsyncTidewire, reading: Reading) -> None:
        self.reading = reading
        self._client = client
        self._events = client._read(reading)  # noqa: SLF001

    @property
    def stream(self) -> str:
        """The stream's id."""
        return self.reading.stream

    @property
    def text(self) -> str:
        """The text so far."""
        return self.reading.text

    @property
    def closed(self) -> Closed | None:
        """The last event, once it was read."""
        return self.reading.closed

    async def cancel(self) -> bool:
        """Stop the answer; True if it was running. Iterating on gives the rest, up to the closed event."""
        return await self._client.cancel(self.stream)

    async def close(self) -> None:
        await self._events.aclose()

    def __aiter__(self) -> AsyncIterator[AnyEvent]:
        return self._events

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None
    ) -> None:
        await self.close()


class AsyncTidewire:
    """A server to ask. base_url: without one, TIDEWIRE_URL, or this machine's port 8400. key: or TIDEWIRE_API_KEY.

    tries: how often in a row a connection may fail before ConnectionLost is raised. sleep: waits between tries.
    """

    def __init__(
        self,
        base_url: str | None = None,
        key: str | None = None,
        *,
        tries: int = 8,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        self.url = calls.address(base_url)
        self._tries = tries
        self._sleep = sleep
        self._http = httpx.AsyncClient(
            base_url=self.url,
            headers=calls.headers(key),
            timeout=httpx.Timeout(calls.SILENCE, connect=calls.CONNECT),
            trust_env=not calls.local(self.url),
        )

    def stream(
        self, model: str, given: str | list[dict[str, Any]], *, stream: str | None = None, **fields: Any
    ) -> AsyncAnswer:
        """Ask. given: the question, or a list of messages; fields: those of PROTOCOL.md section 5, as chat=, max_tokens=."""
        stream = stream or ids.new("s")
        return AsyncAnswer(self, Reading(stream, calls.question(model, given, stream, fields), tries=self._tries))

    def follow(self, stream: str, after: int = 0) -> AsyncAnswer:
        """Read a stream that exists, from behind event `after`."""
        return AsyncAnswer(self, Reading(stream, after=after, tries=self._tries))

    async def text(self, model: str, given: str | list[dict[str, Any]], **fields: Any) -> str:
        """The whole text of an answer. Raises the error that it failed with."""
        async with self.stream(model, given, **fields) as answer:
            async for _ in answer:
                pass
        if answer.closed and answer.closed.error:
            raise calls.from_info(answer.closed.error)
        return answer.text

    async def cancel(self, stream: str) -> bool:
        """Stop a stream; True if it was running."""
        return calls.cancelled(await self.ask(calls.cancel(stream)))

    async def models(self) -> Sequence[ModelInfo]:
        """The models on offer."""
        return calls.models(await self.ask(Call("GET", "/v1/models")))

    async def kept(self) -> tuple[int, int]:
        """How many answers the server's cache keeps for you, and their bytes."""
        return calls.kept(await self.ask(Call("GET", "/v1/cache")))

    async def forget(self) -> int:
        """Empty that cache; returns how many answers were in it."""
        return calls.forgotten(await self.ask(Call("DELETE", "/v1/cache")))

    async def close(self) -> None:
        await self._http.aclose()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None
    ) -> None:
        await self.close()

    async def ask(self, call: Call) -> bytes:
        """The body that answers a plain request, as `client.documents` makes and reads them. Raises what the server answers."""
        try:
            answer = await self._http.send(self._request(call))
        except httpx.TransportError as why:
            raise ConnectionLost(f"{shown(self.url)} cannot be reached ({type(why).__name__})") from why
        if answer.status_code >= 400:
            raise calls.refusal(answer.status_code, answer.content)
        return answer.content

    def _request(self, call: Call) -> httpx.Request:
        sent = {"accept": call.accept, **({"content-type": "application/json"} if call.body else {})}
        return self._http.build_request(call.method, call.path, content=call.body or None, headers=sent)

    async def _read(self, reading: Reading) -> AsyncGenerator[AnyEvent, None]:
        while not reading.ended:
            wait = 0.0
            try:
                answer = await self._http.send(self._request(reading.call()), stream=True)
                try:
                    if answer.status_code >= 400:
                        wait = reading.refused(answer.status_code, await answer.aread())
                    else:
                        reading.accepted(answer.status_code)
                        async for data in answer.aiter_raw():
                            for event in reading.feed(data):
                                yield event
                            if reading.ended or reading.broken:
                                break
                        if not reading.ended:
                            wait = reading.lost()
                finally:
                    await answer.aclose()
            except httpx.ConnectError:
                wait = reading.lost(f"{shown(self.url)} cannot be reached", reached=False)
            except httpx.TransportError as why:
                wait = reading.lost(type(why).__name__)
            if wait:
                await self._sleep(wait)
