"""Server-Sent Events as a byte framer, both ways. After the WHATWG HTML standard, section 9.2.

Lines may end in LF, CR or CRLF and be cut anywhere; fields other than data and event are dropped, comments too.
"""

from __future__ import annotations

from tidewire.core.errors import UpstreamError


class Frames:
    """Reads a byte stream as SSE. feed(bytes) gives the (event name, data) pairs that these bytes complete.

    limit: bytes that one unfinished event may hold; beyond it UpstreamError is raised.
    """

    __slots__ = ("_clean", "_data", "_event", "_limit", "_more", "_rest", "_size", "_skip_lf", "_started")

    def __init__(self, limit: int = 8 * 1024 * 1024) -> None:
        self._rest = b""
        self._more = bytearray()  # what else has come of a line that goes on: joined once, when it ends
        self._data: list[bytes] = []
        self._event = b""
        self._limit = limit
        self._size = 0
        self._skip_lf = False
        self._started = False
        self._clean = False  # nothing is left over from before

    def feed(self, data: bytes) -> list[tuple[bytes, bytes]]:
        if self._clean and data[-2:] == b"\n\n" and b"\r" not in data:
            if data.find(b"\n") == len(data) - 2 and data[:6] == b"data: ":
                return [(b"", data[6:-2])]  # the usual read: one whole event of one data line
            out: list[tuple[bytes, bytes]] = []
            for piece in data[:-2].split(b"\n\n"):
                if piece[:6] != b"data: " or b"\n" in piece:
                    break
                out.append((b"", piece[6:]))
            else:
                return out  # or several of them
        if self._rest and self._started and b"\n" not in data and b"\r" not in data and not self._skip_lf:
            self._more += data
            self._bound(len(self._rest) + len(self._more))
            return []
        events = self._feed(data)
        self._clean = self._started and not (self._rest or self._skip_lf or self._data or self._event)
        return events

    def _feed(self, data: bytes) -> list[tuple[bytes, bytes]]:
        if not self._started:
            data = self._rest + data
            if b"\xef\xbb\xbf".startswith(data):  # a byte order mark may still be growing
                self._rest = data
                return []
            self._rest, self._started = b"", True
            data = data.removeprefix(b"\xef\xbb\xbf")
        if self._skip_lf and data:
            self._skip_lf = False
            if data[0] == 10:
                data = data[1:]
        if self._rest:
            data = b"".join((self._rest, self._more, data))
            self._rest = b""
            self._more.clear()
        if b"\r" in data:
            if data[-1] == 13:
                self._skip_lf = True
            data = data.replace(b"\r\n", b"\n").replace(b"\r", b"\n")
        lines = data.split(b"\n")
        self._rest = lines.pop()
        self._bound(len(self._rest))
        out: list[tuple[bytes, bytes]] = []
        pending = self._data
        for line in lines:
            if not line:
                if pending:
                    out.append((self._event, pending[0] if len(pending) == 1 else b"\n".join(pending)))
                    pending.clear()
                    self._size = 0
                self._event = b""
            elif line[:6] == b"data: ":
                pending.append(line[6:])
                self._size += len(line)
            elif line[:5] == b"data:":
                pending.append(line[5:])
                self._size += len(line)
            elif line[:6] == b"event:":
                self._event = line[6:].removeprefix(b" ")
            elif line == b"data":  # a field's name alone: its value is empty
                pending.append(b"")
                self._size += 1
            elif line == b"event":
                self._event = b""
        return out

    def _bound(self, rest: int) -> None:
        if rest + self._size > self._limit:
            raise UpstreamError(
                f"the host sent an event of more than {self._limit} bytes", code="upstream_event_too_large"
            )


def frame(data: bytes, *, event: str = "", number: int | None = None) -> bytes:
    """One event for the wire. data holds no line break (JSON never does)."""
    head = b"" if number is None else b"id: %d\n" % number
    if event:
        head += b"event: %s\n" % event.encode()
    return b"%sdata: %s\n\n" % (head, data)


def comment(text: str = "") -> bytes:
    """A line that clients ignore: the heartbeat."""
    return b": %s\n\n" % text.encode()
