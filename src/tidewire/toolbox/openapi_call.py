"""Arguments as the HTTP request of an operation, and its answer as the result of a call. Pure.

An argument stays where it belongs: in a path it cannot become another path, in a query or a form no further field, in a header no further
header. The one exception is an object that the document itself wants to be written as fields of a query.
"""

from __future__ import annotations

import base64
import re
from collections.abc import Iterator
from typing import Any, Final
from urllib.parse import quote

import msgspec

from tidewire.core.request import Image
from tidewire.toolbox.openapi_document import TEMPLATE, Operation, Parameter
from tidewire.toolbox.port import ToolOutput

EXCERPT: Final = 2_000  # characters of the answer that says why not
_SEPARATORS: Final = {"spaceDelimited": "%20", "pipeDelimited": "%7C"}
_CHARSET: Final = re.compile(r"charset=[\"']?([A-Za-z0-9_.:-]{1,40})", re.IGNORECASE)


class Asked(msgspec.Struct, frozen=True):
    """target: path and query, percent-encoded, to be put behind the base address."""

    method: str
    target: str
    headers: dict[str, str]
    body: bytes | None


class Unfit(Exception):
    """Arguments that make no request, as a sentence for the model."""


def asked(operation: Operation, arguments: dict[str, Any]) -> Asked:
    """Raises Unfit."""
    body = operation.body
    taken = {p.argument: p.required for p in operation.parameters} | ({body.argument: body.required} if body else {})
    if strange := [name for name in arguments if name not in taken]:
        raise Unfit(f"there is no argument {strange[0][:80]!r}; it takes {', '.join(sorted(taken)) or 'none'}")
    given = {name: v for name, v in arguments.items() if v is not None or (body is not None and name == body.argument)}
    if missing := [name for name, required in taken.items() if required and name not in given]:
        raise Unfit(f"the argument {missing[0]} is missing")
    parts: dict[str, str] = {}
    query: list[str] = []
    headers: dict[str, str] = {}
    for parameter in operation.parameters:
        if parameter.argument not in given:
            continue
        value = given[parameter.argument]
        if parameter.place == "path":
            parts[parameter.name] = _segment(parameter, value)
        elif parameter.place == "query":
            query += [f"{_quoted(name)}={text}" for name, text in _query(parameter, value)]
        else:
            headers[parameter.name] = _header(parameter, value)
    path = TEMPLATE.sub(lambda found: parts[found[1]], operation.path)
    if any(piece in (".", "..") for piece in path.split("/")):
        raise Unfit("the arguments of the path come to . or .., which would be another path")
    data = None
    if body is not None and body.argument in given:
        headers["Content-Type"] = body.media
        data = _body(body.media, given[body.argument])
    return Asked(
        operation.method, path + (("&" if "?" in path else "?") + "&".join(query) if query else ""), headers, data
    )


def output(status: int, reason: str, media: str, data: bytes) -> ToolOutput:
    """media: the Content-Type of the answer, or ""."""
    kind = media.partition(";")[0].strip().lower()
    if not 200 <= status < 300:
        said = _text(media, data)[:EXCERPT].strip() if not kind.startswith(("image/", "audio/", "video/")) else ""
        return ToolOutput(
            f"the service answered {status} {reason}".rstrip() + (f": {said}" if said else ""), failed=True
        )
    if not data:
        return ToolOutput(f"done; the service answered {status} and nothing else")
    if kind.startswith("image/") and kind != "image/svg+xml":
        return ToolOutput("", images=[Image(url=f"data:{kind};base64,{base64.b64encode(data).decode()}")])
    if written(kind):
        return ToolOutput(_text(media, data))
    return ToolOutput(f"[{kind or 'an answer of no known type'}, {len(data)} bytes, which cannot be shown]")


def written(kind: str) -> bool:
    """Whether an answer of this type is text. One that says no type is taken for text."""
    return (
        not kind
        or kind.startswith("text/")
        or kind.endswith(("+json", "+xml"))
        or kind.rpartition("/")[2]
        in ("json", "xml", "yaml", "x-yaml", "javascript", "x-ndjson", "jsonl", "x-www-form-urlencoded")
    )


def _text(media: str, data: bytes) -> str:
    found = _CHARSET.search(media)
    try:
        return data.decode(found[1] if found else "utf-8", "replace")
    except LookupError:
        return data.decode("utf-8", "replace")


def _segment(parameter: Parameter, value: Any) -> str:
    text = ",".join(_quoted(piece) for piece in _simple(parameter, value))
    plain = [piece for one in _simple(parameter, value) for piece in re.split(r"[/\\]", one)]
    if not text or "." in plain or ".." in plain:  # a server may decode %2F and then go up
        raise Unfit(f"the argument {parameter.argument} may not be empty, nor hold . or .. as a piece of a path")
    return text


def _query(parameter: Parameter, value: Any) -> Iterator[tuple[str, str]]:
    name = parameter.name
    if parameter.style == "json":
        yield name, _quoted(msgspec.json.encode(value).decode())
    elif isinstance(value, dict):
        if parameter.style == "deepObject":
            for key, one in value.items():
                yield f"{name}[{key}]", _quoted(_scalar(one))
        elif parameter.explode:
            for key, one in value.items():
                yield key, _quoted(_scalar(one))
        else:
            yield name, ",".join(_quoted(piece) for piece in _simple(parameter, value))
    elif isinstance(value, list):
        if parameter.explode:
            for one in value:
                yield name, _quoted(_scalar(one))
        else:
            yield name, _SEPARATORS.get(parameter.style, ",").join(_quoted(_scalar(one)) for one in value)
    else:
        yield name, _quoted(_scalar(value))


def _header(parameter: Parameter, value: Any) -> str:
    text = ",".join(_simple(parameter, value))
    if not (text.isascii() and text.isprintable()):
        raise Unfit(f"the argument {parameter.argument} goes into a header, which takes printable ASCII in one line")
    return text


def _simple(parameter: Parameter, value: Any) -> list[str]:
    if parameter.style == "json":
        return [msgspec.json.encode(value).decode()]
    if isinstance(value, list):
        return [_scalar(one) for one in value]
    if isinstance(value, dict):
        pairs = [(key, _scalar(one)) for key, one in value.items()]
        return [f"{k}={v}" for k, v in pairs] if parameter.explode else [piece for pair in pairs for piece in pair]
    return [_scalar(value)]


def _body(media: str, value: Any) -> bytes:
    if media == "text/plain":
        return _scalar(value).encode("utf-8", "replace")
    if media == "application/x-www-form-urlencoded":
        if not isinstance(value, dict):
            raise Unfit("the body is a form: an object whose values are texts, numbers, or lists of them")
        pairs = [(k, one) for k, v in value.items() for one in (v if isinstance(v, list) else [v]) if one is not None]
        return "&".join(f"{_quoted(k)}={_quoted(_scalar(one))}" for k, one in pairs).encode()
    return msgspec.json.encode(value)


def _scalar(value: Any) -> str:
    """A text as it is, anything else as JSON."""
    return value if isinstance(value, str) else msgspec.json.encode(value).decode()


def _quoted(text: str) -> str:
    return quote(text, safe="", errors="replace")
