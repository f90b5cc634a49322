"""What settings there are, in words: for error messages, the default tidewire.toml and the table in docs/settings.md."""

from __future__ import annotations

from functools import cache
from typing import Any

import msgspec
from msgspec import inspect

from tidewire.server.group import SECRETS
from tidewire.server.settings import Settings

PREFIX = "TIDEWIRE_"
ANY = "NAME"  # stands for the name that a table of tables is keyed by, as in providers.NAME.base_url


class Setting(msgspec.Struct, frozen=True):
    """One setting. path: dotted, as in tidewire.toml. allowed: what it may hold, in words, unit included.

    annotation: its type with its bounds, to convert by.
    """

    path: str
    type: inspect.Type
    annotation: Any
    default: Any
    description: str
    unit: str
    allowed: str

    @property
    def variable(self) -> str:
        """The environment variable that sets it."""
        return PREFIX + self.path.upper().replace(".", "__")

    @property
    def secret(self) -> bool:
        return self.path.rpartition(".")[2] in SECRETS


@cache
def describe() -> tuple[Setting, ...]:
    """Every setting, in the order in which they are declared."""
    found: list[Setting] = []
    _walk(Settings, "", found)
    return tuple(found)


def _walk(group: type[msgspec.Struct], prefix: str, found: list[Setting]) -> None:
    for field in msgspec.structs.fields(group):
        kind, description, unit, allowed = _plain(inspect.type_info(field.type))
        path = prefix + field.name
        if isinstance(kind, inspect.StructType):
            _walk(kind.cls, f"{path}.", found)
        elif isinstance(kind, inspect.DictType) and isinstance(kind.value_type, inspect.StructType):
            _walk(kind.value_type.cls, f"{path}.{ANY}.", found)
        else:
            default = field.default_factory() if callable(field.default_factory) else field.default
            found.append(Setting(path, kind, field.type, default, description, unit, allowed or _allowed(kind, unit)))


def _plain(kind: inspect.Type) -> tuple[inspect.Type, str, str, str]:
    """The type without its notes, and from the notes the description, the unit, and what it may hold where its type does not say."""
    description = unit = allowed = ""
    while isinstance(kind, inspect.Metadata):
        description = (kind.extra_json_schema or {}).get("description", description)
        unit = (kind.extra or {}).get("unit", unit)
        allowed = (kind.extra or {}).get("allowed", allowed)
        kind = kind.type
    return kind, description, unit, allowed


def _allowed(kind: inspect.Type, unit: str = "") -> str:
    match kind:
        case inspect.BoolType():
            return "true or false"
        case inspect.IntType() | inspect.FloatType():
            noun = "a whole number" if isinstance(kind, inspect.IntType) else "a number"
            return noun + _bounds(kind) + (f" ({unit})" if unit else "")
        case inspect.LiteralType():
            return "one of " + ", ".join(str(value) for value in kind.values)
        case inspect.ListType(item_type=inspect.StructType()):
            return "a list of tables"
        case inspect.ListType():
            return "a list of texts"
        case inspect.DictType():
            value, _, unit, _ = _plain(kind.value_type)
            numbers = isinstance(value, inspect.IntType | inspect.FloatType)
            return f"a table, each value {_allowed(value, unit)}" if numbers else "a table of texts"
        case inspect.StrType(min_length=least, max_length=most):
            return "a text" + (f" of {least} to {most} characters" if most else " that is not empty" if least else "")
    return str(kind)


def _bounds(kind: inspect.IntType | inspect.FloatType) -> str:
    low = f" above {kind.gt:g}" if kind.gt is not None else f" from {kind.ge}" if kind.ge is not None else ""
    high = f" up to {kind.le}" if kind.gt is not None else f" to {kind.le}"
    return low + (high if kind.le is not None else "")


def toml(value: Any) -> str:
    """The value as TOML."""
    if isinstance(value, msgspec.Struct):
        value = msgspec.to_builtins(value)
    if isinstance(value, dict):
        return "{" + ", ".join(f"{toml(key)} = {toml(item)}" for key, item in value.items()) + "}"
    if isinstance(value, list):
        return "[" + ", ".join(toml(item) for item in value) + "]"
    return msgspec.json.encode(value).decode()  # numbers, booleans and texts are written alike in both


def default_file() -> str:
    """A tidewire.toml that changes nothing: every setting with its default, commented out, and what it means."""
    lines = ["# Settings of Tidewire. A line behind # and no space is a setting with its default.", ""]
    table = ""
    for setting in describe():
        head, _, name = setting.path.rpartition(".")
        if head != table:
            table = head
            lines += ["", f"#[{head}]" if ANY in head else f"[{head}]"]
        lines += [f"# {setting.description}" + (f" ({setting.unit})" if setting.unit else "")]
        lines += [f"#{name} = {toml(setting.default)}"]
    return "\n".join(lines) + "\n"


def table() -> str:
    """The same as a Markdown table, for docs/settings.md."""
    rows = ["| setting | default | what it is | allowed |", "|---|---|---|---|"]
    for setting in describe():
        rows.append(f"| `{setting.path}` | `{toml(setting.default)}` | {setting.description} | {setting.allowed} |")
    return "\n".join(rows) + "\n"
