"""A value held against a JSON schema that a caller sent: a bounded amount of work, whatever the schema says.

The keywords are those of structured outputs, with the meanings of draft 2020-12. What is not looked at is told, never guessed.
Why this is not a library: docs/decisions/0007-schemas-of-callers.md.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from typing import Any, Final

import msgspec

from tidewire.stages.pattern import patience

STEPS: Final = 100_000  # visits of a value by a keyword, in all: about a tenth of a second
DEEP: Final = 200  # schemas within schemas
PROBLEMS: Final = 8  # that are told

_NAMES: Final = {
    "object": "an object",
    "array": "a list",
    "string": "text",
    "number": "a number",
    "integer": "a whole number",
    "boolean": "true or false",
    "null": "null",
}


class Verdict(msgspec.Struct, frozen=True):
    """problems: sentences, each beginning with the pointer of the place; the first few. unchecked: keywords that were not looked at."""

    problems: list[str]
    unchecked: list[str]


class _Exhausted(Exception):
    pass


def check(schema: dict[str, Any], value: Any) -> Verdict:
    checker = _Checker(schema)
    problems: list[str] = []
    try:
        for problem in checker.visit(schema, value, ""):
            problems.append(problem)
            if len(problems) == PROBLEMS:
                break
    except _Exhausted:
        checker.unchecked["the rest of it, which takes too much work"] = None
    return Verdict(problems, list(checker.unchecked))


class _Checker:
    def __init__(self, root: dict[str, Any]) -> None:
        self.unchecked: dict[str, None] = {}  # in the order in which they were met
        self._root = root
        self._left = STEPS
        self._depth = 0

    def visit(self, schema: Any, value: Any, path: str) -> Iterator[str]:
        """The problems of a value, one after the other."""
        if schema is True:
            return
        if schema is False:
            yield f"{_place(path)} may not be there"
            return
        if not isinstance(schema, dict):
            self.unchecked["a schema that is no object"] = None
            return
        self.spend(1)
        self._depth += 1
        if self._depth > DEEP:
            raise _Exhausted
        try:
            for keyword, said in schema.items():
                rule = _RULES.get(keyword)
                if rule is not None:
                    yield from rule(self, said, value, path, schema)
                elif keyword in _UNCHECKED:
                    self.unchecked[keyword] = None
        finally:
            self._depth -= 1

    def holds(self, schema: Any, value: Any, path: str) -> bool:
        return next(self.visit(schema, value, path), None) is None

    def spend(self, steps: int) -> None:
        self._left -= steps
        if self._left < 0:
            raise _Exhausted

    def find(self, reference: str) -> Any:
        """The schema that a local reference names. Raises LookupError for any other."""
        if not reference.startswith("#") or (reference != "#" and not reference.startswith("#/")):
            raise LookupError(reference)
        found: Any = self._root
        for name in reference.split("/")[1:]:
            name = name.replace("~1", "/").replace("~0", "~")
            found = found[int(name)] if isinstance(found, list) and name.isdecimal() else found[name]
        return found

    def plain(self, value: Any) -> Any:
        """Something hashable that is equal for values that JSON calls equal: 1 and 1.0, not 1 and true."""
        self.spend(1)
        if isinstance(value, dict):
            return "object", frozenset((name, self.plain(inside)) for name, inside in value.items())
        if isinstance(value, list):
            return "array", tuple([self.plain(inside) for inside in value])
        return isinstance(value, bool), value


_Rule = Callable[[_Checker, Any, Any, str, dict[str, Any]], Iterator[str]]


def _type(checker: _Checker, said: Any, value: Any, path: str, schema: dict[str, Any]) -> Iterator[str]:
    kinds = [said] if isinstance(said, str) else said
    if not isinstance(kinds, list) or not all(isinstance(kind, str) and kind in _NAMES for kind in kinds):
        checker.unchecked["type"] = None
    elif not any(_is(value, kind) for kind in kinds):
        yield f"{_place(path)} must be {' or '.join(_NAMES[kind] for kind in kinds)}, and is {_kind(value)}"


def _enum(checker: _Checker, said: Any, value: Any, path: str, schema: dict[str, Any]) -> Iterator[str]:
    if not isinstance(said, list):
        checker.unchecked["enum"] = None
    elif checker.plain(value) not in [checker.plain(one) for one in said]:
        yield f"{_place(path)} is none of the {len(said)} values that are allowed"


def _const(checker: _Checker, said: Any, value: Any, path: str, schema: dict[str, Any]) -> Iterator[str]:
    if checker.plain(value) != checker.plain(said):
        yield f"{_place(path)} is not the one value that is allowed"


def _properties(checker: _Checker, said: Any, value: Any, path: str, schema: dict[str, Any]) -> Iterator[str]:
    if not isinstance(said, dict):
        checker.unchecked["properties"] = None
    elif isinstance(value, dict):
        for name, inside in value.items():
            if name in said:
                yield from checker.visit(said[name], inside, _below(path, name))


def _required(checker: _Checker, said: Any, value: Any, path: str, schema: dict[str, Any]) -> Iterator[str]:
    if not isinstance(said, list):
        checker.unchecked["required"] = None
    elif isinstance(value, dict):
        checker.spend(len(said) // 10)
        for name in said:
            if isinstance(name, str) and name not in value:
                yield f"{_place(_below(path, name))} is missing"


def _additional(checker: _Checker, said: Any, value: Any, path: str, schema: dict[str, Any]) -> Iterator[str]:
    known = schema.get("properties", {})
    if not isinstance(value, dict) or not isinstance(known, dict) or "patternProperties" in schema:
        return
    for name, inside in value.items():
        if name not in known:
            if said is False:
                yield f"{_place(_below(path, name))} is a member that the schema does not allow"
            else:
                yield from checker.visit(said, inside, _below(path, name))


def _items(checker: _Checker, said: Any, value: Any, path: str, schema: dict[str, Any]) -> Iterator[str]:
    if isinstance(value, list):
        before = schema.get("prefixItems")
        for n in range(len(before) if isinstance(before, list) else 0, len(value)):
            yield from checker.visit(said, value[n], f"{path}/{n}")


def _prefix(checker: _Checker, said: Any, value: Any, path: str, schema: dict[str, Any]) -> Iterator[str]:
    if not isinstance(said, list):
        checker.unchecked["prefixItems"] = None
    elif isinstance(value, list):
        for n, (inside, one) in enumerate(zip(value, said, strict=False)):
            yield from checker.visit(one, inside, f"{path}/{n}")


def _unique(checker: _Checker, said: Any, value: Any, path: str, schema: dict[str, Any]) -> Iterator[str]:
    if said is True and isinstance(value, list) and len({checker.plain(one) for one in value}) < len(value):
        yield f"{_place(path)} holds the same value twice"


def _any_of(checker: _Checker, said: Any, value: Any, path: str, schema: dict[str, Any]) -> Iterator[str]:
    if not isinstance(said, list) or not said:
        checker.unchecked["anyOf"] = None
    elif not any(checker.holds(one, value, path) for one in said):
        yield f"{_place(path)} fits none of the {len(said)} schemas of anyOf"


def _one_of(checker: _Checker, said: Any, value: Any, path: str, schema: dict[str, Any]) -> Iterator[str]:
    if not isinstance(said, list) or not said:
        checker.unchecked["oneOf"] = None
    elif (fits := sum(checker.holds(one, value, path) for one in said)) != 1:
        yield f"{_place(path)} fits {fits} of the {len(said)} schemas of oneOf, and must fit one"


def _all_of(checker: _Checker, said: Any, value: Any, path: str, schema: dict[str, Any]) -> Iterator[str]:
    if not isinstance(said, list):
        checker.unchecked["allOf"] = None
        return
    for one in said:
        yield from checker.visit(one, value, path)


def _not(checker: _Checker, said: Any, value: Any, path: str, schema: dict[str, Any]) -> Iterator[str]:
    if checker.holds(said, value, path):
        yield f"{_place(path)} fits the schema of not"


def _ref(checker: _Checker, said: Any, value: Any, path: str, schema: dict[str, Any]) -> Iterator[str]:
    try:
        found = checker.find(str(said))
    except (LookupError, TypeError):
        checker.unchecked["$ref"] = None
        return
    yield from checker.visit(found, value, path)


def _pattern(checker: _Checker, said: Any, value: Any, path: str, schema: dict[str, Any]) -> Iterator[str]:
    if not isinstance(value, str):
        return
    effort = patience(said, len(value)) if isinstance(said, str) else None
    if effort is None:
        checker.unchecked["pattern"] = None
        return
    checker.spend(effort)
    try:
        found = re.search(said, value)
    except (re.error, OverflowError, RecursionError, FutureWarning, DeprecationWarning):  # not how Python writes it
        checker.unchecked["pattern"] = None
        return
    if found is None:
        yield f"{_place(path)} does not match the pattern that is asked for"


def _multiple(checker: _Checker, said: Any, value: Any, path: str, schema: dict[str, Any]) -> Iterator[str]:
    if not _number(said) or said <= 0:
        checker.unchecked["multipleOf"] = None
    elif _number(value):
        times = value / said
        exact = (
            value % said == 0 if isinstance(value, int) and isinstance(said, int) else abs(times - round(times)) < 1e-9
        )
        if not exact:
            yield f"{_place(path)} is no multiple of {said}"


def _bound(what: str, of: Callable[[Any], Any], meets: Callable[[Any, Any], bool]) -> _Rule:
    """A rule that compares a number. of: the number that a value has, None where the rule is not about it."""

    def rule(checker: _Checker, said: Any, value: Any, path: str, schema: dict[str, Any]) -> Iterator[str]:
        has = of(value)
        if has is not None and _number(said) and not meets(has, said):
            yield (
                f"{_place(path)} must {what} {said}, and has {has}"
                if has is not value
                else f"{_place(path)} must {what} {said}"
            )

    return rule


def _number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _itself(value: Any) -> Any:
    return value if _number(value) else None


def _length(kind: type[str | list[Any] | dict[str, Any]]) -> Callable[[Any], int | None]:
    return lambda value: len(value) if isinstance(value, kind) else None


_RULES: Final[dict[str, _Rule]] = {
    "type": _type,
    "enum": _enum,
    "const": _const,
    "properties": _properties,
    "required": _required,
    "additionalProperties": _additional,
    "items": _items,
    "prefixItems": _prefix,
    "uniqueItems": _unique,
    "anyOf": _any_of,
    "oneOf": _one_of,
    "allOf": _all_of,
    "not": _not,
    "$ref": _ref,
    "pattern": _pattern,
    "multipleOf": _multiple,
    "minimum": _bound("be at least", _itself, lambda has, said: has >= said),
    "maximum": _bound("be at most", _itself, lambda has, said: has <= said),
    "exclusiveMinimum": _bound("be more than", _itself, lambda has, said: has > said),
    "exclusiveMaximum": _bound("be less than", _itself, lambda has, said: has < said),
    "minLength": _bound("be no shorter than", _length(str), lambda has, said: has >= said),
    "maxLength": _bound("be no longer than", _length(str), lambda has, said: has <= said),
    "minItems": _bound("have no fewer items than", _length(list), lambda has, said: has >= said),
    "maxItems": _bound("have no more items than", _length(list), lambda has, said: has <= said),
    "minProperties": _bound("have no fewer members than", _length(dict), lambda has, said: has >= said),
    "maxProperties": _bound("have no more members than", _length(dict), lambda has, said: has <= said),
}
_UNCHECKED: Final = frozenset(  # format is not among them: it is a note in this draft, no rule
    (
        *(
            "if",
            "then",
            "else",
            "contains",
            "dependencies",
            "dependentRequired",
            "dependentSchemas",
            "patternProperties",
        ),
        *(
            "propertyNames",
            "additionalItems",
            "unevaluatedItems",
            "unevaluatedProperties",
            "$dynamicRef",
            "$recursiveRef",
        ),
    )
)


def _is(value: Any, kind: str) -> bool:
    match kind:
        case "object":
            return isinstance(value, dict)
        case "array":
            return isinstance(value, list)
        case "string":
            return isinstance(value, str)
        case "number":
            return _number(value)
        case "integer":
            return _number(value) and (isinstance(value, int) or value.is_integer())
        case "boolean":
            return isinstance(value, bool)
        case _:
            return value is None


def _kind(value: Any) -> str:
    return next(name for kind, name in _NAMES.items() if _is(value, kind))


def _place(path: str) -> str:
    return path[:200] or "the root"


def _below(path: str, name: str) -> str:
    return f"{path}/{name.replace('~', '~0').replace('/', '~1')}"
