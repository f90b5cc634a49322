"""The client for ordinary code: a thin body around reading.py."""

from __future__ import annotations

import time
from collections.abc import Callable, Generator, Iterator, Sequence
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


class Answer:
    """The events of one stream; iterate over it once. Use it in `with`, so that leaving early closes the connection.

    Leaving early is not a stop: what happens to the stream then is its own disconnect policy. cancel() stops it.
    To go on another day, keep the `seq` of the last event that was dealt with, and follow() from there.
    """

    def __init__(self, client: Tidewire, reading: Reading) -> None:
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

    def cancel(self) -> bool:
        """Stop the answer; True if it was running. Iterating on gives the rest, up to the closed event."""
        return self._client.cancel(self.stream)

    def close(self) -> None:
        self._events.close()

    def __iter__(self) -> Iterator[AnyEvent]:
        return self._events

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.close()


class Tidewire:
    """A server to ask. base_url: without one, TIDEWIRE_URL, or this machine's port 8400. key: or TIDEWIRE_API_KEY.

    tries: how often in a row a connection may fail before ConnectionLost is raised. sleep: waits between tries.
    """

    def __init__(
        self,
        base_url: str | None = None,
        key: str | None = None,
        *,
        tries: int = 8,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self.url = calls.address(base_url)
        self._tries = tries
        self._sleep = sleep
        self._http = httpx.Client(
            base_url=self.url,
            headers=calls.headers(key),
            timeout=httpx.Timeout(calls.SILENCE, connect=calls.CONNECT),
            trust_env=not calls.local(self.url),
        )

    def stream(
        self, model: str, given: str | list[dict[str, Any]], *, stream: str | None = None, **fields: Any
    ) -> Answer:
        """Ask. given: the question, or a list of messages; fields: those of PROTOCOL.md section 5, as chat=, max_tokens=."""
        stream = stream or ids.new("s")
        return Answer(self, Reading(stream, calls.question(model, given, stream, fields), tries=self._tries))

    def follow(self, stream: str, after: int = 0) -> Answer:
        """Read a stream that exists, from behind event `after`."""
        return Answer(self, Reading(stream, after=after, tries=self._tries))

    def text(self, model: str, given: str | list[dict[str, Any]], **fields: Any) -> str:
        """The whole text of an answer. Raises the error that it failed with."""
        with self.stream(model, given, **fields) as answer:
            for _ in answer:
                pass
        if answer.closed and answer.closed.error:
            raise calls.from_info(answer.closed.error)
        return answer.text

    def cancel(self, stream: str) -> bool:
        """Stop a stream; True if it was running."""
        return calls.cancelled(self.ask(calls.cancel(stream)))

    def models(self) -> Sequence[ModelInfo]:
        """The models on offer."""
        return calls.models(self.ask(Call("GET", "/v1/models")))

    def kept(self) -> tuple[int, int]:
        """How many answers the server's cache keeps for you, and their bytes."""
        return calls.kept(self.ask(Call("GET", "/v1/cache")))

    def forget(self) -> int:
        """Empty that cache; returns how many answers were in it."""
        return calls.forgotten(self.ask(Call("DELETE", "/v1/cache")))

    def close(self) -> None:
        self._http.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.close()

    def ask(self, call: Call) -> bytes:
        """The body that answers a plain request, as `client.documents` makes and reads them. Raises what the server answers."""
        try:
            answer = self._http.send(self._request(call))
        except httpx.TransportError as why:
            raise ConnectionLost(f"{shown(self.url)} cannot be reached ({type(why).__name__})") from why
        if answer.status_code >= 400:
            raise calls.refusal(answer.status_code, answer.content)
        return answer.content

    def _request(self, call: Call) -> httpx.Request:
        sent = {"accept": call.accept, **({"content-type": "application/json"} if call.body else {})}
        return self._http.build_request(call.method, call.path, content=call.body or None, headers=sent)

    def _read(self, reading: Reading) -> Generator[AnyEvent]:
        while not reading.ended:
            wait = 0.0
            try:
                answer = self._http.send(self._request(reading.call()), stream=True)
                try:
                    if answer.status_code >= 400:
                        wait = reading.refused(answer.status_code, answer.read())
                    else:
                        reading.accepted(answer.status_code)
                        for data in answer.iter_raw():
                            yield from reading.feed(data)
                            if reading.ended or reading.broken:
                                break
                        if not reading.ended:
                            wait = reading.lost()
                finally:
                    answer.close()
            except httpx.ConnectError:
                wait = reading.lost(f"{shown(self.url)} cannot be reached", reached=False)
            except httpx.TransportError as why:
                wait = reading.lost(type(why).__name__)
            if wait:
                self._sleep(wait)
