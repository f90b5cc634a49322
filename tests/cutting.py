"""Clients of raw bytes that break off anywhere, and what each resumable dialect makes of a log.

    got = await exchange(port, sent, limit=700)     # send, read at most 700 bytes of the answer, leave
    whole(got)                                      # (status, body so far, True if the answer had come to its end)

A `Tongue` is one dialect as its client speaks it: the bytes of a start and of a return, the frames that have arrived whole, and the
frames that the log must give.
"""

from __future__ import annotations

import asyncio
import base64
import json
import os
import random
import socket
import struct
from collections.abc import Callable, Sequence
from typing import Any, Protocol

from serving import request
from tidewire.core.events import StoredEntry
from tidewire.core.ports import Meta
from tidewire.dialects.agui import AGUI
from tidewire.dialects.openai_responses import OpenAIResponses
from tidewire.dialects.ui_messages import UIMessages


async def exchange(
    port: int,
    sent: bytes | tuple[bytes, bytes],
    limit: int | None = None,
    *,
    rst: bool = False,
    over: Callable[[bytes], bool] | None = None,
) -> bytes:
    """The first `limit` bytes of the answer, or all of it. sent: where it is two, the second waits for the head of the answer.

    over: whether the answer has come to its end.
    """
    over = over or ended
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    got = b""
    try:
        first, second = sent if isinstance(sent, tuple) else (sent, b"")
        writer.write(first)
        if second:
            got = await reader.readuntil(b"\r\n\r\n")
            writer.write(second)
        while limit is None or len(got) < limit:
            data = await reader.read(65536 if limit is None else limit - len(got))
            got += data
            if not data or over(got):
                break
    finally:
        if rst:
            linger = struct.pack("ii", 1, 0)
            writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
            writer.transport.abort()
        else:
            writer.close()
    return got


def ended(got: bytes) -> bool:
    return whole(got)[2]


def whole(got: bytes) -> tuple[int, bytes, bool]:
    """Status, body as far as it has come, and whether that was all. Status 0: the head has not come yet."""
    head, end, rest = got.partition(b"\r\n\r\n")
    if not end:
        return 0, b"", False
    status = int(head.split(b" ")[1])
    lower = head.lower()
    if b"transfer-encoding: chunked" not in lower:
        if status in (101, 204):
            return status, rest, status == 204
        length = int(lower.partition(b"content-length: ")[2].partition(b"\r\n")[0])
        return status, rest, len(rest) >= length
    body = b""
    while True:
        size, line, rest = rest.partition(b"\r\n")
        if not line:
            return status, body, False
        if size == b"0":
            return status, body, rest == b"\r\n"
        body += rest[: int(size, 16)]
        rest = rest[int(size, 16) + 2 :]


def header(got: bytes, name: bytes) -> str:
    head = got.partition(b"\r\n\r\n")[0]
    for line in head.split(b"\r\n"):
        key, _, value = line.partition(b": ")
        if key.lower() == name:
            return value.decode()
    return ""


class Tongue(Protocol):
    """cursor: how many frames the client has. last: that of a client that has them all. over: the end of a stream is seen in frames."""

    name: str

    def start(self, stream: str, said: str) -> bytes | tuple[bytes, bytes]: ...

    def back(self, stream: str, cursor: int, rng: random.Random) -> bytes | tuple[bytes, bytes]: ...

    def frames(self, got: bytes) -> list[bytes]: ...

    def expected(self, meta: Meta, raws: Sequence[bytes]) -> list[bytes]: ...

    def over(self, got: bytes) -> bool:
        """Whether the answer has come to its end."""

    def refusal(self, got: bytes) -> tuple[int, str]:
        """Status and code of an error."""


def events(body: bytes) -> list[bytes]:
    """The whole Server-Sent Events of a body, comments and the retry line left out."""
    return [e for e in body.split(b"\n\n")[:-1] if not e.startswith((b"retry:", b":")) and e]


class _Http:
    def refusal(self, got: bytes) -> tuple[int, str]:
        status, body, over = whole(got)
        assert over
        return status, json.loads(body)["error"]["code"]

    def frames(self, got: bytes) -> list[bytes]:
        return events(whole(got)[1])

    def over(self, got: bytes) -> bool:
        return whole(got)[2]


class NativeSse(_Http):
    name = "native sse"

    def start(self, stream: str, said: str) -> bytes:
        return request("POST", "/v1/streams", {"model": "simulated", "input": said, "stream": stream})

    def back(self, stream: str, cursor: int, rng: random.Random) -> bytes:
        if rng.random() < 0.5:
            return request("GET", f"/v1/streams/{stream}/events?after={cursor}")
        return request("GET", f"/v1/streams/{stream}/events", last_event_id=str(cursor))

    def expected(self, meta: Meta, raws: Sequence[bytes]) -> list[bytes]:
        return [
            b"id: %d\nevent: %s\ndata: %s" % (n, json.loads(raw)["type"].encode(), raw) for n, raw in enumerate(raws, 1)
        ]


class NativeLines(NativeSse):
    name = "native ndjson"

    def start(self, stream: str, said: str) -> bytes:
        body = {"model": "simulated", "input": said, "stream": stream}
        return request("POST", "/v1/streams", body, accept="application/x-ndjson")

    def back(self, stream: str, cursor: int, rng: random.Random) -> bytes:
        return request("GET", f"/v1/streams/{stream}/events?as=ndjson&after={cursor}")

    def frames(self, got: bytes) -> list[bytes]:
        return [line for line in whole(got)[1].split(b"\n")[:-1] if line]

    def expected(self, meta: Meta, raws: Sequence[bytes]) -> list[bytes]:
        return list(raws)


class Responses(_Http):
    """starting_after names the sequence_number seen last: one less than the count."""

    name = "responses"

    def start(self, stream: str, said: str) -> bytes:
        body = {"model": "simulated", "input": said, "stream": True, "background": True}
        return request("POST", "/v1/responses", body)

    def back(self, stream: str, cursor: int, rng: random.Random) -> bytes:
        after = f"&starting_after={cursor - 1}" if cursor else ""
        return request("GET", f"/v1/responses/{stream}?stream=true{after}")

    def expected(self, meta: Meta, raws: Sequence[bytes]) -> list[bytes]:
        return _rendered(OpenAIResponses(), meta, raws)


class Ui(_Http):
    """startIndex counts chunks; [DONE] is none."""

    name = "ui startIndex"

    def start(self, stream: str, said: str) -> bytes:
        messages = [{"id": "u1", "role": "user", "parts": [{"type": "text", "text": said}]}]
        return request("POST", "/api/chat", {"id": stream, "messages": messages})

    def back(self, stream: str, cursor: int, rng: random.Random) -> bytes:
        return request("GET", f"/api/chat/{stream}/stream?startIndex={cursor}")

    def frames(self, got: bytes) -> list[bytes]:
        return [e for e in super().frames(got) if e != b"data: [DONE]"]

    def expected(self, meta: Meta, raws: Sequence[bytes]) -> list[bytes]:
        return [e for e in _rendered(UIMessages(), meta, raws) if e != b"data: [DONE]"]


class Agents(_Http):
    """AG-UI counts events; each has its number in a line of its own."""

    name = "ag-ui"

    def start(self, stream: str, said: str) -> bytes:
        messages = [{"id": "u1", "role": "user", "content": said}]
        asked = {"threadId": "t1", "runId": stream, "messages": messages, "forwardedProps": {"model": "simulated"}}
        return request("POST", "/agui", asked)

    def back(self, stream: str, cursor: int, rng: random.Random) -> bytes:
        if rng.random() < 0.5:
            return request("GET", f"/agui/{stream}?after={cursor}")
        return request("GET", f"/agui/{stream}", last_event_id=str(cursor))

    def expected(self, meta: Meta, raws: Sequence[bytes]) -> list[bytes]:
        return _rendered(AGUI(), meta, raws)

    def refusal(self, got: bytes) -> tuple[int, str]:
        status, body, over = whole(got)
        assert over
        return status, json.loads(body)["code"]


def _rendered(dialect: Any, meta: Meta, raws: Sequence[bytes]) -> list[bytes]:
    """The frames of a log, fed entry by entry, as no server feeds it."""
    renderer = dialect.stream(meta)
    return events(b"".join(renderer.feed([StoredEntry(n, raw)]) for n, raw in enumerate(raws, 1)))


# WebSocket


class Sockets:
    """The native protocol over a WebSocket, written out by hand so that it can break off inside a frame."""

    name = "native websocket"

    def start(self, stream: str, said: str) -> tuple[bytes, bytes]:
        asked = {"model": "simulated", "input": said, "stream": stream}
        return handshake(), frame({"do": "start", "id": "a", "request": asked})

    def back(self, stream: str, cursor: int, rng: random.Random) -> tuple[bytes, bytes]:
        return handshake(), frame({"do": "follow", "id": 'é"1', "stream": stream, "after": cursor})

    def frames(self, got: bytes) -> list[bytes]:
        out = []
        for text in messages(got.partition(b"\r\n\r\n")[2]):
            _, mark, rest = text.partition(b'"event":')
            if mark:
                out.append(rest[:-1])
        return out

    def expected(self, meta: Meta, raws: Sequence[bytes]) -> list[bytes]:
        return list(raws)

    def over(self, got: bytes) -> bool:
        said = messages(got.partition(b"\r\n\r\n")[2])
        return bool(said) and (said[-1].endswith(b'"done":true}') or b'"error":{' in said[-1][:30])

    def refusal(self, got: bytes) -> tuple[int, str]:
        [answer] = [json.loads(m) for m in messages(got.partition(b"\r\n\r\n")[2])]
        return answer["error"]["status"], answer["error"]["code"]


def handshake(path: str = "/v1/ws") -> bytes:
    key = base64.b64encode(os.urandom(16)).decode()
    return (
        f"GET {path} HTTP/1.1\r\nhost: localhost\r\nupgrade: websocket\r\nconnection: upgrade\r\n"
        f"sec-websocket-version: 13\r\nsec-websocket-key: {key}\r\n\r\n"
    ).encode()


def frame(value: Any, *, opcode: int = 1, mask: bytes = b"\1\2\3\4") -> bytes:
    """A masked frame of the client. value: bytes as they are, anything else as JSON."""
    data = value if isinstance(value, bytes) else json.dumps(value).encode()
    size = len(data)
    if size < 126:
        head = bytes([0x80 | opcode, 0x80 | size])
    elif size < 65536:
        head = bytes([0x80 | opcode, 0x80 | 126]) + struct.pack(">H", size)
    else:
        head = bytes([0x80 | opcode, 0x80 | 127]) + struct.pack(">Q", size)
    return head + mask + bytes(b ^ mask[i % 4] for i, b in enumerate(data))


def messages(data: bytes) -> list[bytes]:
    """The whole text messages of a server, which masks and splits nothing."""
    out = []
    while len(data) >= 2:
        opcode, size, at = data[0] & 15, data[1] & 127, 2
        if size == 126:
            size, at = int.from_bytes(data[2:4], "big"), 4
        elif size == 127:
            size, at = int.from_bytes(data[2:10], "big"), 10
        if len(data) < at + size:
            break
        if opcode == 1:
            out.append(data[at : at + size])
        data = data[at + size :]
    return out


TONGUES: dict[str, Any] = {t.name: t for t in (NativeSse(), NativeLines(), Sockets(), Responses(), Ui(), Agents())}
