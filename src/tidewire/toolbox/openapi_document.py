"""The operations of an OpenAPI document (3.0 and 3.1) as tools: their names, one schema of arguments each, and where each argument goes.

Pure: a document in, operations out. What a document says of servers and of keys is not read: both come from the settings.
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Collection, Iterator, Mapping
from typing import Any, Final, Literal

import msgspec

from tidewire.core.errors import SettingsError
from tidewire.core.request import Tool
from tidewire.toolbox.names import valid
from tidewire.toolbox.openapi_schema import Invalid, References, Schemas
from tidewire.toolbox.port import declared

METHODS: Final = ("get", "head", "put", "post", "patch", "delete", "options", "trace")
SAFE: Final = frozenset({"GET", "HEAD"})
SENTENCE: Final = 1000  # characters of what is wrong: names in a document may be long
DESCRIPTION: Final = 4096  # characters; every request carries them all
SCHEMA: Final = 64 * 1024  # bytes of one operation's arguments
TOOLS: Final = 512  # as of an MCP server; a model is served best by a few
TEMPLATE: Final = re.compile(r"\{([^{}]*)\}")
_TOKEN: Final = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+\Z")  # the name of a header
OURS: Final = frozenset(  # headers that no argument may set: the settings do, or the connection
    {"accept", "accept-encoding", "authorization", "content-length", "content-type", "cookie", "idempotency-key"}
    | {"connection", "host", "proxy-authorization", "te", "trailer", "transfer-encoding", "upgrade"}
)
_STYLES: Final = {  # those that are spoken, the usual one first
    "path": ("simple",),
    "query": ("form", "deepObject", "spaceDelimited", "pipeDelimited"),
    "header": ("simple",),
}
Style = Literal["simple", "form", "deepObject", "spaceDelimited", "pipeDelimited", "json"]


class Parameter(msgspec.Struct, frozen=True):
    """Where an argument goes. json: its value is written as JSON text."""

    argument: str
    name: str
    place: Literal["path", "query", "header"]
    style: Style
    explode: bool
    required: bool


class Body(msgspec.Struct, frozen=True):
    """The argument that becomes the body. media: what it is written as."""

    argument: str
    media: str
    required: bool


class Operation(msgspec.Struct, frozen=True):
    """One method of one path. id: as the document calls it, or such as "GET /pets"."""

    id: str
    method: str
    path: str
    tags: frozenset[str]
    tool: Tool
    parameters: tuple[Parameter, ...]
    body: Body | None

    def chosen(self, words: Collection[str]) -> bool:
        """Whether one of the words is its id or one of its tags."""
        return self.id in words or not self.tags.isdisjoint(words)


class Unspoken(Exception):
    """An operation that is sound, and asks for what is not spoken here."""


class Choice(msgspec.Struct, frozen=True):
    """Which operations become tools. Words are ids of operations or tags; include: none for all. writes: also others than GET and HEAD."""

    include: Collection[str] = ()
    exclude: Collection[str] = ()
    writes: bool = False


def operations(
    document: Any, choice: Choice, where: str, headers: Collection[str] = ()
) -> tuple[list[Operation], list[str]]:
    """Those that were chosen, names unique; and sentences on those left out. headers: what the settings send, which no argument sets.

    Raises SettingsError that begins with `where`, and names the operation at fault.
    """
    known: set[str] = set()
    found: list[Operation] = []
    left: list[str] = []
    fixed = frozenset(name.lower() for name in headers)
    writing = chosen = 0
    try:
        references = References(_checked(document))
        for method, path, item, given in _all(document, references):
            name = _words(given.get("operationId")) or f"{method} {path}"
            tags = frozenset(tag for tag in _list(given.get("tags")) if isinstance(tag, str))
            known |= {name, *tags}
            one = Operation(name, method, path, tags, Tool(name=valid(name)), (), None)
            if (choice.include and not one.chosen(choice.include)) or one.chosen(choice.exclude):
                continue
            if method not in SAFE and not choice.writes:
                if name in choice.include:
                    raise Invalid(
                        f"operation {name!r} may change something ({method}); set writes = true to allow that"
                    )
                writing += 1
                continue
            chosen += 1
            if chosen > TOOLS:
                raise Invalid(f"more than {TOOLS} operations are chosen; choose with include and exclude")
            try:
                found.append(_whole(one, item, given, references, fixed))
            except Unspoken as reason:
                left.append(f"{where}: {name[:100]} is left out: {reason}"[:SENTENCE])
            except Invalid as wrong:
                raise Invalid(
                    f"operation {name!r}: {wrong}; correct the document, or name the operation in exclude"
                ) from None
        for setting, words in (("include", choice.include), ("exclude", choice.exclude)):
            if strange := [word for word in words if word not in known]:
                raise Invalid(f"{setting} names {strange[0]!r}, which is no operation and no tag of the document")
    except Invalid as wrong:
        raise SettingsError(f"{where}: {str(wrong)[:SENTENCE]}", param=where) from None
    if writing:
        left.append(f"{where}: {writing} operations that may change something are left out; writes = true allows them")
    return _told_apart(found), left


def _checked(document: Any) -> dict[str, Any]:
    if not isinstance(document, dict):
        raise Invalid("the document is no object")
    version = document.get("openapi")
    if not isinstance(version, str) or not version.startswith(("3.0", "3.1")):
        said = f"openapi is {version[:40]!r}" if isinstance(version, str) else "it has no field openapi that says so"
        raise Invalid(f"the document is not of OpenAPI 3.0 or 3.1: {said}")
    return document


def _all(document: dict[str, Any], references: References) -> Iterator[tuple[str, str, dict[str, Any], dict[str, Any]]]:
    paths = document.get("paths", {})
    if not isinstance(paths, dict):
        raise Invalid("paths is no object")
    for path, value in paths.items():
        if not isinstance(path, str) or not path.startswith("/"):
            raise Invalid(f"paths has a path that does not begin with /: {str(path)[:200]!r}")
        item = references.resolved(value, f"paths.{path}")
        for method in METHODS:
            if method in item:
                if not isinstance(item[method], dict):
                    raise Invalid(f"paths.{path}.{method} is no object")
                yield method.upper(), path, item, item[method]


def _whole(
    one: Operation, item: Mapping[str, Any], given: Mapping[str, Any], references: References, fixed: frozenset[str]
) -> Operation:
    schemas = Schemas(references)
    properties: dict[str, Any] = {}
    parameters: list[Parameter] = []
    for at, raw in _parameters(item, given, references).values():
        parameter = _parameter(at, raw, fixed, properties)
        if parameter is not None:
            schema = schemas.plain(_schema_of(raw, at), at)
            properties[parameter.argument] = _said(raw, schema)
            parameters.append(parameter)
    named = {p.name for p in parameters if p.place == "path"}
    for name in TEMPLATE.findall(one.path):
        if name not in named:
            raise Invalid(f"its path names {{{name}}}, and no parameter says what that is")
    body = _body(one, given, references, schemas, properties)
    required = [p.argument for p in parameters if p.required]
    if body is not None and body.required:
        required.append(body.argument)
    schema = {"type": "object", "properties": properties} | ({"required": required} if required else {})
    if len(msgspec.json.encode(schema)) > SCHEMA:
        raise Invalid(f"the schema of its arguments has more than {SCHEMA} bytes")
    words = dict.fromkeys(_words(given.get(word)).strip() for word in ("summary", "description"))
    text = "\n\n".join(word for word in words if word)
    tool = Tool(name=one.tool.name, description=text[:DESCRIPTION] or f"{one.method} {one.path}", parameters=schema)
    try:
        declared(tool, "")
    except SettingsError as error:
        raise Invalid(error.message.removeprefix(": ")) from None
    return msgspec.structs.replace(one, tool=tool, parameters=tuple(parameters), body=body)


def _parameters(
    item: Mapping[str, Any], given: Mapping[str, Any], references: References
) -> dict[tuple[str, str], tuple[str, dict[str, Any]]]:
    """By name and place; those of the operation instead of those of its path."""
    found: dict[tuple[str, str], tuple[str, dict[str, Any]]] = {}
    for source in (item, given):
        for i, value in enumerate(_list(source.get("parameters"))):
            at = f"parameters[{i}]"
            raw = references.resolved(value, at)
            name, place = raw.get("name"), raw.get("in")
            if not isinstance(name, str) or not name or place not in ("path", "query", "header", "cookie"):
                raise Invalid(f"{at} has no name, or is in none of path, query, header and cookie")
            found[name, place] = (f"the parameter {name}", raw)
    return found


def _parameter(at: str, raw: dict[str, Any], fixed: frozenset[str], taken: Mapping[str, Any]) -> Parameter | None:
    """None for one that is not the model's to say."""
    name, place = raw["name"], raw["in"]
    required = place == "path" or raw.get("required") is True
    if place == "cookie":
        if required:
            raise Unspoken(f"{at} is a cookie")
        return None
    if place == "header" and (name.lower() in OURS or name.lower() in fixed):
        return None
    if place == "header" and not _TOKEN.match(name):
        raise Invalid(f"{at} is no name of a header")
    if "content" in raw:
        style: Any = "json"
        explode = False
    else:
        style = raw.get("style", _STYLES[place][0])
        if style not in _STYLES[place]:
            raise Unspoken(f"{at} is written in the style {_words(style)[:40]!r}")
        explode = bool(raw.get("explode", style in ("form", "deepObject")))
    argument = _free(valid(name), place, taken)
    return Parameter(argument, name, place, style, explode, required)


def _schema_of(raw: dict[str, Any], at: str) -> Any:
    if "content" not in raw:
        return raw.get("schema", {})
    content = raw["content"]
    if not isinstance(content, dict) or len(content) != 1:
        raise Invalid(f"{at}.content has not exactly one media type")
    media, value = next(iter(content.items()))
    if not _json(media):
        raise Unspoken(f"{at} is written as {str(media)[:80]}")
    return value.get("schema", {}) if isinstance(value, dict) else {}


def _body(
    one: Operation, given: Mapping[str, Any], references: References, schemas: Schemas, properties: dict[str, Any]
) -> Body | None:
    if one.method in SAFE or "requestBody" not in given:
        return None
    raw = references.resolved(given["requestBody"], "requestBody")
    content = raw.get("content", {})
    if not isinstance(content, dict):
        raise Invalid("requestBody.content is no object")
    required = raw.get("required") is True
    media = next((m for m in content if _json(m)), None) or next(
        (m for m in content if _essence(m) in ("application/x-www-form-urlencoded", "text/plain")), None
    )
    if media is None:
        if required or not content:
            raise Unspoken(f"its body is written as {', '.join(map(str, content))[:200] or 'nothing that it says'}")
        return None
    value = content[media]
    schema = schemas.plain(value.get("schema", {}) if isinstance(value, dict) else {}, "requestBody")
    argument = _free("body", "json", properties)
    properties[argument] = _said(raw, schema)
    return Body(argument, "application/json" if "*" in _essence(media) else _essence(media), required)


def _free(name: str, more: str, taken: Mapping[str, Any]) -> str:
    """The name of an argument that no other has."""
    several = (valid(f"{name}_{more}_{n}") for n in itertools.count(2))
    return next(one for one in itertools.chain((name, valid(f"{name}_{more}")), several) if one not in taken)


def _told_apart(found: list[Operation]) -> list[Operation]:
    """A name that two of them have gets a number: an operationId that is there twice, or two that are the same once they are valid."""
    taken: set[str] = set()
    out: list[Operation] = []
    for one in found:
        name, again = one.tool.name, 1
        while name in taken:
            again += 1
            name = valid(f"{one.tool.name}_{again}")
        taken.add(name)
        out.append(msgspec.structs.replace(one, tool=msgspec.structs.replace(one.tool, name=name)))
    return out


def _said(raw: Mapping[str, Any], schema: dict[str, Any]) -> dict[str, Any]:
    """The schema, with what was said beside it where it says nothing itself."""
    text = _words(raw.get("description"))
    return schema | {"description": text[:DESCRIPTION]} if text and "description" not in schema else schema


def _words(value: Any) -> str:
    return value if isinstance(value, str) else ""


def _essence(media: Any) -> str:
    return str(media).partition(";")[0].strip().lower()


def _json(media: Any) -> bool:
    kind = _essence(media)
    return kind == "application/json" or kind.endswith("+json") or kind in ("*/*", "application/*")


def _list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else []
