"""The server's own messages: JSON lines or text, in which no word of a question or an answer can appear.

Four rules keep it so: of a record's extra fields only FIELDS are written; arguments of a message are written only when
they are numbers or short words; of an exception only our own tree's message, which is safe to show, is written, for
others the type and the places; and what other libraries put into one text is cut before the values.
"""

from __future__ import annotations

import logging
import re
import sys
import time
import traceback
from typing import Any, Final, Literal, TextIO

import msgspec

from tidewire.core.errors import TidewireError

FIELDS: Final = frozenset(
    {
        "stream", "tenant", "model", "provider", "dialect", "door", "method", "route", "peer", "code", "status", "reason",
        "attempt", "upstream_status", "seconds", "ms", "tokens", "events", "bytes", "count", "limit", "signal", "host", "port",
        "version", "durability", "address", "streams", "path", "error", "source",
    }
)  # fmt: skip
_WORD: Final = re.compile(r"[\w.:/@%+=,\[\]-]{1,120}", re.ASCII)
_OURS: Final = ("tidewire", "uvicorn")
Format = Literal["auto", "json", "text"]


def setup(level: str = "info", form: Format = "auto", stream: TextIO | None = None) -> None:
    """Write everything that is logged to `stream` (standard error), uvicorn's messages included; its access log is off.

    Give uvicorn log_config=None, or it puts its own handlers back.
    """
    out = stream if stream is not None else sys.stderr
    handler = logging.StreamHandler(out)
    terminal = form == "text" or (form == "auto" and out.isatty())
    handler.setFormatter(TextFormatter(colour=out.isatty()) if terminal else JsonFormatter())
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(level.upper())
    for name in ("uvicorn", "uvicorn.error", "uvicorn.asgi", "uvicorn.access"):
        logger = logging.getLogger(name)
        logger.handlers.clear()
        logger.propagate = True
    logging.getLogger("uvicorn.access").disabled = True  # it writes query strings, and a query may carry ?key=
    for name in (
        "httpx",
        "httpcore",
        "httpx2",
        "httpcore2",
        "mcp",
        "websockets",
        "asyncio",
    ):  # at debug they write what they carry
        logging.getLogger(name).setLevel(max(logging.WARNING, root.level))


def message(record: logging.LogRecord) -> str:
    """What the record says, without anything that a caller or a model may have written."""
    text = str(record.msg)
    if not record.name.startswith(_OURS):
        return text.partition("\n")[0].partition("(")[0].strip()  # asyncio puts the repr of arguments in its message
    if not record.args:
        return text
    given = record.args
    try:
        if isinstance(given, dict):
            return text % {name: _argument(value) for name, value in given.items()}
        return text % tuple(_argument(value) for value in given)
    except (TypeError, ValueError):
        return text


def fields(record: logging.LogRecord) -> dict[str, Any]:
    """The extra fields that may be written."""
    out: dict[str, Any] = {}
    for name in FIELDS & record.__dict__.keys():
        value = record.__dict__[name]
        if isinstance(value, TidewireError):
            out[name] = {"code": value.kind, "message": value.message}
        elif isinstance(value, BaseException):
            out[name] = type(value).__name__
        else:
            out[name] = _argument(value)
    return dict(sorted(out.items()))


def trace(error: BaseException) -> str:
    """Type and places of an exception and of what caused it; the message only of our own tree."""
    lines: list[str] = []
    link: BaseException | None = error
    while link is not None and len(lines) < 200:
        said = f": {link.message}" if isinstance(link, TidewireError) else ""
        lines.append(f"{type(link).__module__}.{type(link).__qualname__}{said}")
        lines += [
            f"  {frame.filename}:{frame.lineno} {frame.name}" for frame in traceback.extract_tb(link.__traceback__)
        ]
        link = link.__cause__ or (None if link.__suppress_context__ else link.__context__)
    return "\n".join(lines)


def _argument(value: Any) -> Any:
    if value is None or isinstance(value, bool | int | float):
        return value
    text = str(value) if not isinstance(value, BaseException) else type(value).__name__
    return text if _WORD.fullmatch(text) else f"<{len(text)} characters>"


class JsonFormatter(logging.Formatter):
    """One JSON object a line: time, level, logger, message, and the fields."""

    def format(self, record: logging.LogRecord) -> str:
        stamp = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(record.created))
        line: dict[str, Any] = {
            "time": f"{stamp}.{int(record.msecs):03d}Z",
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": message(record),
            **fields(record),
        }
        if record.exc_info and record.exc_info[1]:
            line["trace"] = trace(record.exc_info[1])
        return msgspec.json.encode(line).decode()


class TextFormatter(logging.Formatter):
    """For a terminal: time, level, message, field=value."""

    COLOURS: Final = {"WARNING": "33", "ERROR": "31", "CRITICAL": "31"}

    def __init__(self, *, colour: bool = False) -> None:
        super().__init__()
        self._colour = colour

    def format(self, record: logging.LogRecord) -> str:
        level = f"{record.levelname.lower():7}"
        if self._colour and record.levelname in self.COLOURS:
            level = f"\x1b[{self.COLOURS[record.levelname]}m{level}\x1b[0m"
        extra = "".join(f" {name}={_plain(value)}" for name, value in fields(record).items())
        text = f"{time.strftime('%H:%M:%S', time.localtime(record.created))} {level} {message(record)}{extra}"
        if record.exc_info and record.exc_info[1]:
            text += "\n" + trace(record.exc_info[1])
        return text


def _plain(value: Any) -> str:
    return f"{value['code']} ({value['message']})" if isinstance(value, dict) else str(value)
