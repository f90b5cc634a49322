"""Schemas of an OpenAPI document as the JSON schemas that model hosts take: whole, without references, and of a bounded size.

References are followed inside the document only. What refers to itself is cut where it comes around: there any value is allowed.
"""

from __future__ import annotations

from typing import Any, Final
from urllib.parse import unquote

from tidewire.toolbox.port import DEPTH

PARTS: Final = (
    2_000  # schemas inside one operation's, references followed; a document of a few lines can ask for billions
)
LETTERS: Final = (
    64 * 1024
)  # characters in them, names and descriptions included; one long text may be referred to by many
HOPS: Final = 32  # references that lead to references
_PLAIN: Final = frozenset(  # keywords that are taken over as they stand
    {"type", "title", "description", "default", "enum", "const", "format", "required", "pattern", "multipleOf"}
    | {"maximum", "minimum", "exclusiveMaximum", "exclusiveMinimum", "maxLength", "minLength"}
    | {"maxItems", "minItems", "uniqueItems", "maxProperties", "minProperties"}
)
_MANY: Final = ("anyOf", "oneOf", "allOf", "prefixItems")
_ONE: Final = ("items", "additionalProperties", "not")


class Invalid(Exception):
    """What is wrong with a document, and where, as a sentence without its end."""


class References:
    """Where a document's references lead. Raises Invalid."""

    def __init__(self, document: dict[str, Any]) -> None:
        self._document = document

    def resolved(self, value: Any, at: str) -> dict[str, Any]:
        """The object at this place, or the one that it refers to."""
        for _ in range(HOPS):
            if not isinstance(value, dict):
                raise Invalid(f"{at} is no object")
            if "$ref" not in value:
                return value
            value = self.target(value["$ref"], at)
        raise Invalid(f"{at} refers to itself, or through more than {HOPS} references")

    def target(self, reference: Any, at: str) -> Any:
        if not isinstance(reference, str):
            raise Invalid(f"{at}.$ref is no text")
        if reference != "#" and not reference.startswith("#/"):
            raise Invalid(f"{at} refers to {reference[:200]!r}, and only references inside the document are followed")
        found: Any = self._document
        for step in reference.split("/")[1:]:
            step = unquote(step).replace("~1", "/").replace("~0", "~")
            if isinstance(found, dict) and step in found:
                found = found[step]
            elif isinstance(found, list) and step.isdecimal() and int(step) < len(found):
                found = found[int(step)]
            else:
                raise Invalid(f"{at} refers to {reference[:200]!r}, and the document has nothing there")
        return found


class Schemas:
    """The schemas of one operation. parts is counted over all of them."""

    def __init__(self, references: References) -> None:
        self._references = references
        self._parts = 0
        self._letters = 0

    def plain(self, schema: Any, at: str) -> dict[str, Any]:
        """The schema without references, in the words of JSON schema, whichever version of OpenAPI wrote it."""
        out = self._plain(schema, at, ())
        return out if isinstance(out, dict) else {}

    def _plain(self, schema: Any, at: str, inside: tuple[str, ...]) -> Any:
        self._count(at)
        if isinstance(schema, bool):
            return schema
        if not isinstance(schema, dict):
            raise Invalid(f"{at} is no object")
        if len(inside) > DEPTH:
            raise Invalid(f"{at} is nested more than {DEPTH} deep")
        if "$ref" in schema:
            return self._referred(schema, at, inside)
        out = {word: value for word, value in schema.items() if word in _PLAIN}
        within = (*inside, "")
        for word, value in out.items():
            self._weigh(value, f"{at}.{word}", len(inside))
        for word in _MANY:
            if word in schema:
                out[word] = [
                    self._plain(one, f"{at}.{word}[{i}]", within)
                    for i, one in enumerate(_list(schema[word], f"{at}.{word}"))
                ]
        for word in _ONE:
            if word in schema:
                out[word] = self._plain(schema[word], f"{at}.{word}", within)
        if "properties" in schema:
            self._properties(schema, out, at, within)
        return _of_3_0(schema, out)

    def _referred(self, schema: dict[str, Any], at: str, inside: tuple[str, ...]) -> Any:
        reference = schema["$ref"]
        target = self._references.target(reference, at)
        said = {
            word: schema[word] for word in ("description", "default", "title") if word in schema
        }  # 3.1 allows them beside it
        self._weigh(said, at, len(inside))
        if reference in inside:
            return {"description": f"as {str(reference).rpartition('/')[2]} above"} | said
        out = self._plain(target, at, (*inside, reference))
        return out | said if isinstance(out, dict) else out

    def _properties(self, schema: dict[str, Any], out: dict[str, Any], at: str, within: tuple[str, ...]) -> None:
        properties = schema["properties"]
        if not isinstance(properties, dict):
            raise Invalid(f"{at}.properties is no object")
        out["properties"] = {}
        for name, one in properties.items():
            if not isinstance(name, str):
                raise Invalid(f"{at}.properties has a name that is no text")
            self._weigh(name, at, 0)
            if not (isinstance(one, dict) and one.get("readOnly") is True):  # which only answers hold
                out["properties"][name] = self._plain(one, f"{at}.properties.{name}", within)
        if isinstance(out.get("required"), list):
            out["required"] = [name for name in out["required"] if name not in properties or name in out["properties"]]

    def _weigh(self, value: Any, at: str, depth: int) -> None:
        """A value that is taken over as it stands. YAML can write one that holds another a billion times, or holds itself."""
        if isinstance(value, str):
            self._letters += len(value)
            if self._letters > LETTERS:
                raise Invalid(f"{at[:200]}: the schemas of the operation come to more than {LETTERS} characters")
        elif isinstance(value, list | dict):
            if depth > DEPTH:
                raise Invalid(f"{at} is nested more than {DEPTH} deep")
            for one in (*value, *value.values()) if isinstance(value, dict) else value:
                self._count(at)
                self._weigh(one, at, depth + 1)

    def _count(self, at: str) -> None:
        self._parts += 1
        if self._parts > PARTS:
            raise Invalid(f"{at}: the schemas of the operation come to more than {PARTS} parts")


def _of_3_0(schema: dict[str, Any], out: dict[str, Any]) -> dict[str, Any]:
    """OpenAPI 3.0 said some things in words of its own."""
    for word, bound in (("exclusiveMinimum", "minimum"), ("exclusiveMaximum", "maximum")):
        if isinstance(out.get(word), bool) and out.pop(word) and bound in out:
            out[word] = out.pop(bound)
    if schema.get("nullable") is True:
        if isinstance(out.get("type"), str):
            out["type"] = [out["type"], "null"]
        if isinstance(out.get("enum"), list) and None not in out["enum"]:
            out["enum"] = [*out["enum"], None]
    return out


def _list(value: Any, at: str) -> list[Any]:
    if not isinstance(value, list):
        raise Invalid(f"{at} is no list")
    return value
