"""An OpenAPI document out of its bytes: JSON, or YAML where the extra `openapi` is installed."""

from __future__ import annotations

import importlib.util
import re
from typing import Any, Final

import msgspec

from tidewire.core.errors import SettingsError

DOCUMENT: Final = 16 * 1024 * 1024  # bytes
LEVELS: Final = 200  # of lists and objects in each other
_CORE: Final = (  # what a plain word is in YAML 1.2, which OpenAPI asks for; 1.1 makes false of "no" and a date of 2026-01-01
    ("bool", r"true|True|TRUE|false|False|FALSE", "tTfF"),
    ("null", r"~|null|Null|NULL|", ["~", "n", "N", ""]),
    ("int", r"[-+]?(?:0|[1-9][0-9]*)", "-+0123456789"),
    ("float", r"[-+]?(?:(?:\.[0-9]+|[0-9]+\.[0-9]*)(?:[eE][-+]?[0-9]+)?|[0-9]+[eE][-+]?[0-9]+)", "-+.0123456789"),
)


def read(data: bytes, where: str) -> Any:
    """Raises SettingsError that begins with `where`."""
    data = data.removeprefix(b"\xef\xbb\xbf")
    if data.lstrip()[:1] == b"{":
        try:
            return msgspec.json.decode(data)
        except (msgspec.DecodeError, UnicodeDecodeError) as error:
            raise SettingsError(f"{where}: the document is no JSON: {error}", param=where) from None
        except RecursionError:
            raise SettingsError(f"{where}: the document is nested too deep to be read", param=where) from None
    if importlib.util.find_spec("yaml") is None:
        raise SettingsError(
            f"{where}: the document is no JSON; YAML needs a package more: pip install 'tidewire[openapi]'", param=where
        )
    return _yaml(data, where)


def _yaml(data: bytes, where: str) -> Any:
    import yaml  # noqa: PLC0415 - an extra

    class Loader(getattr(yaml, "CSafeLoader", yaml.SafeLoader)):  # type: ignore[misc]
        """YAML 1.2's core schema, of which JSON is a part."""

    Loader.yaml_implicit_resolvers = {}
    for kind, pattern, first in _CORE:
        Loader.add_implicit_resolver(f"tag:yaml.org,2002:{kind}", re.compile(rf"(?:{pattern})\Z"), list(first))
    try:
        depth = 0
        for event in yaml.parse(data, Loader):
            depth += isinstance(event, yaml.CollectionStartEvent) - isinstance(event, yaml.CollectionEndEvent)
            if depth > LEVELS:  # libyaml's own recursion would end the process
                raise SettingsError(f"{where}: the document is nested more than {LEVELS} deep", param=where)
        return yaml.load(data, Loader)  # noqa: S506 - a safe one
    except (yaml.YAMLError, ValueError) as error:
        said = " ".join(str(error).split())[:300]
        raise SettingsError(f"{where}: the document is neither JSON nor YAML: {said}", param=where) from None
    except RecursionError:
        raise SettingsError(f"{where}: the document is nested too deep to be read", param=where) from None
