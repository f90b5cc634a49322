"""What a client asks and how it understands a refusal. Sans-I/O; shared by both bodies."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import Any, Final, TypeVar
from urllib.parse import quote

import msgspec

from tidewire.core import errors
from tidewire.core.addresses import shown
from tidewire.core.errors import SettingsError, TidewireError
from tidewire.core.events import ErrorInfo
from tidewire.core.ports import ModelInfo

DEFAULT_URL: Final = "http://127.0.0.1:8400"
# Seconds. The server breaks every silence after 15 s: three missed heartbeats mean a dead connection.
CONNECT: Final = 10.0
SILENCE: Final = 45.0

T = TypeVar("T")


class Call(msgspec.Struct, frozen=True):
    """One HTTP request. path: behind the server's address."""

    method: str
    path: str
    body: bytes = b""
    accept: str = "application/json"


class ConnectionLost(TidewireError):
    """The server could not be reached any more. stream and cursor: where to go on from, where a stream was being read."""

    code = "connection_lost"
    status = 503
    retryable = True

    def __init__(self, message: str, *, stream: str | None = None, cursor: int = 0) -> None:
        super().__init__(message)
        self.stream = stream
        self.cursor = cursor


class _ErrorBody(msgspec.Struct):
    error: ErrorInfo


class _Model(msgspec.Struct):
    id: str
    created: int = 0
    owned_by: str = ""
    provider: str = ""
    note: str = ""


class _Models(msgspec.Struct):
    data: list[_Model]


class _Kept(msgspec.Struct):
    answers: int
    bytes: int


class _Forgotten(msgspec.Struct):
    deleted: int


class _Cancelled(msgspec.Struct):
    cancelled: bool


def address(base_url: str | None) -> str:
    """The server's address: as given, or TIDEWIRE_URL, or this machine's default port. Raises SettingsError."""
    url = (base_url or os.environ.get("TIDEWIRE_URL") or DEFAULT_URL).rstrip("/")
    if not url.startswith(("http://", "https://")):
        raise SettingsError(f"the server's address is {shown(url)!r}; it must look like {DEFAULT_URL}")
    return url


def local(url: str) -> bool:
    """Whether a proxy of the environment has no business with this address."""
    host = url.partition("://")[2].partition("/")[0].rpartition("@")[2]
    return host.startswith(("127.", "localhost", "[::1]"))


def headers(key: str | None) -> dict[str, str]:
    """Raises SettingsError for a key that no header can hold."""
    key = key or os.environ.get("TIDEWIRE_API_KEY")
    if key and not (key.isascii() and key.isprintable()):
        raise SettingsError("the API key holds a character that no header can hold; was all of it copied, and only it?")
    sent = {"accept-encoding": "identity"}
    return {**sent, "authorization": f"Bearer {key}"} if key else sent


def refusal(status: int, body: bytes) -> TidewireError:
    """The error that the server answered with, as the same class that the server raised."""
    try:
        info = msgspec.json.decode(body, type=_ErrorBody).error
    except msgspec.DecodeError:
        info = ErrorInfo(
            code="unexpected_answer",
            message=f"the server answered {status} without an error of Tidewire; is something else listening at this address?",
            status=status,
            retryable=status in (429, 502, 503, 504),
        )
    return from_info(info)


def from_info(info: ErrorInfo) -> TidewireError:
    """The error of a refusal, or of the last event of a failed stream."""
    kind = _class(info)
    error = kind(info.message, code=info.code, param=info.param, retry_after=info.retry_after)
    error.status, error.retryable = info.status, info.retryable
    return error


def _class(info: ErrorInfo) -> type[TidewireError]:
    kinds = [kind for kind in vars(errors).values() if isinstance(kind, type) and issubclass(kind, TidewireError)]
    by_code = [kind for kind in kinds if kind.code == info.code]
    by_status = [kind for kind in kinds if kind.status == info.status]
    return (by_code or by_status or [TidewireError])[0]


def cancel(stream: str) -> Call:
    return Call("POST", f"/v1/streams/{quote(stream, safe='')}/cancel")


def cancelled(body: bytes) -> bool:
    return _decoded(body, _Cancelled).cancelled


def kept(body: bytes) -> tuple[int, int]:
    found = _decoded(body, _Kept)
    return found.answers, found.bytes


def forgotten(body: bytes) -> int:
    return _decoded(body, _Forgotten).deleted


def models(body: bytes) -> Sequence[ModelInfo]:
    found = _decoded(body, _Models).data
    return [ModelInfo(id=m.id, provider=m.provider or m.owned_by, created=m.created, note=m.note) for m in found]


def _decoded(body: bytes, kind: type[T]) -> T:
    try:
        return msgspec.json.decode(body, type=kind)
    except msgspec.DecodeError:
        raise refusal(200, b"") from None


def question(model: str, given: str | list[dict[str, Any]], stream: str, fields: dict[str, Any]) -> bytes:
    """The body of a start. given: the text of one user message, or a list of messages. Fields of None are left out."""
    told = {name: value for name, value in fields.items() if value is not None}
    key = "input" if isinstance(given, str) else "messages"
    return msgspec.json.encode({"model": model, key: given, "stream": stream, **told})
