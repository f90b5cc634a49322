"""Answers that ended with calls for the client, in which the server had run tools as well: what the client did not see is given
back to the model when the client returns with its results. In memory, bounded; one that is forgotten costs the model its results.
"""

from __future__ import annotations

import hashlib
import itertools
from collections.abc import Sequence
from typing import Final

import msgspec

from tidewire.core.request import Message, Request, ToolCall

MOST: Final = 1000  # answers
BYTES: Final = 16 * 1024 * 1024  # of all of them


class Unfinished:
    def __init__(self, most: int = MOST, limit: int = BYTES) -> None:
        self._most = most
        self._limit = limit
        self._kept: dict[bytes, tuple[Sequence[Message], int]] = {}
        self._size = 0

    def keep(self, request: Request, calls: Sequence[ToolCall], said: Sequence[Message]) -> None:
        """calls: for the client. said: the answer as the model should find it, the results of the server's tools included."""
        size = len(msgspec.json.encode(said))
        asked = [message.text for message in request.messages if message.role == "user"]
        key = _key(request.tenant, asked, calls)
        self._size += size - self._kept.pop(key, ((), 0))[1]
        self._kept[key] = said, size
        while self._kept and (len(self._kept) > self._most or self._size > self._limit):
            self._size -= self._kept.pop(next(iter(self._kept)))[1]

    def restored(self, request: Request) -> Request:
        """The request, with such answers in place of what the client knows of them."""
        if not self._kept:
            return request
        told = _calls(request.messages)
        out: list[Message] = []
        asked: list[str] = []  # so far: a host may give the same ids in every conversation
        for ours, run in itertools.groupby(request.messages, lambda message: message.role == "assistant"):
            messages = list(run)  # a dialect may tell one answer in several messages
            if ours:
                kept = self._kept.get(_key(request.tenant, asked, calls := _calls(messages)), (messages, 0))[0]
                more = {c.call for c in _calls(kept)} - {c.call for c in calls}
                shown = any(c.call in more for c in told)  # some dialects tell the client of ours
                out.extend(messages if shown else kept)
            else:
                asked += [message.text for message in messages if message.role == "user"]
                out.extend(messages)
        return msgspec.structs.replace(request, messages=out)


def _calls(messages: Sequence[Message]) -> list[ToolCall]:
    return [c for message in messages for c in message.content if isinstance(c, ToolCall)]


def _key(tenant: str, asked: Sequence[str], calls: Sequence[ToolCall]) -> bytes:
    said = (tenant, asked, [(call.call, call.name) for call in calls])
    return hashlib.sha256(msgspec.json.encode(said)).digest()
