"""Reads settings from their sources: defaults, then tidewire.toml, then the environment, then flags; the last one counts."""

from __future__ import annotations

import difflib
import re
import tomllib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Final

import msgspec
from msgspec import inspect

from tidewire.core.errors import SettingsError
from tidewire.server.group import masked
from tidewire.server.reference import ANY, PREFIX, Setting, describe
from tidewire.server.settings import Settings, check

FILE: Final = "tidewire.toml"
ALIASES: Final = {"TIDEWIRE_API_KEY": "server.api_key"}
NOT_SETTINGS: Final = frozenset({"TIDEWIRE_CONFIG", "TIDEWIRE_URL", "TIDEWIRE_DEMO_EXIT"})
# Kubernetes sets these in every pod beside a Service named tidewire.
_KUBERNETES: Final = re.compile(r"TIDEWIRE_(SERVICE_(HOST|PORT)(_\w+)?|PORT(_\d+_\w+)?)")
_HEADER: Final = re.compile(r"\s*\[{1,2}([^\[\]]+)\]{1,2}\s*(#.*)?$")
_KEY: Final = re.compile(r"""\s*([\w.\s"'-]+?)\s*=""")


class Loaded(msgspec.Struct, frozen=True):
    """Settings in force, and where each one that is not a default came from: dotted path to source, in words."""

    settings: Settings
    origins: dict[str, str]
    file: Path | None = None


class _Given(msgspec.Struct, frozen=True):
    """One value from one source. text: it came as text, and may be read as a number or a list."""

    path: str
    value: Any
    source: str
    text: bool = False


def load(
    config: str | Path | None = None,
    *,
    environ: Mapping[str, str] | None = None,
    flags: Mapping[str, Any] | None = None,
    folder: str | Path = ".",
) -> Loaded:
    """The settings in force. Raises SettingsError for an unknown name, a wrong value, or a file that cannot be read.

    config: a TOML file; without one, TIDEWIRE_CONFIG, or tidewire.toml in `folder` where it exists.
    flags: dotted path to value; None means not given.
    """
    environ = environ or {}
    file = _file(config or environ.get("TIDEWIRE_CONFIG"), Path(folder))
    tree: dict[str, Any] = {}
    origins: dict[str, str] = {}
    flagged = (
        _Given(path, value, f"--{_flag(path)}", text=True) for path, value in (flags or {}).items() if value is not None
    )
    for given in (*(_from_file(file) if file else ()), *_from_environment(environ), *flagged):
        setting = _known(given)
        _put(tree, given.path, _read(setting, given))
        origins[given.path] = given.source
    settings = msgspec.convert(tree, Settings)
    check(settings)
    return Loaded(settings, origins, file)


def _file(config: str | Path | None, folder: Path) -> Path | None:
    if config is None:
        return found if (found := folder / FILE).is_file() else None
    if not (chosen := Path(config)).is_file():
        raise SettingsError(
            f"there is no settings file {str(chosen)!r}; `tidewire config --default` prints one to start from"
        )
    return chosen


def _flag(path: str) -> str:
    return {"logging.level": "log-level"}.get(path, path.rpartition(".")[2].replace("_", "-"))


def _from_file(file: Path) -> Iterator[_Given]:
    try:
        text = file.read_text(encoding="utf-8")
        tree = tomllib.loads(text)
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as wrong:
        raise SettingsError(f"{file} cannot be read: {wrong}") from None
    lines = _lines(text)

    def leaves(table: dict[str, Any], prefix: str) -> Iterator[_Given]:
        for name, value in table.items():
            path = prefix + name
            source = f"{file} line {lines[path]}" if path in lines else str(file)
            if isinstance(value, dict) and not _leaf(path) and (value or _table(path)):
                if not value and _table(path, named=True):
                    raise SettingsError(
                        f"{path} ({source}) is empty, so that there is none of that name; say what it is, or take it out",
                        param=path,
                    )
                yield from leaves(value, f"{path}.")
            else:
                yield _Given(path, value, source)

    return leaves(tree, "")


def _lines(text: str) -> dict[str, int]:
    """Where each key stands; for messages only, so a key inside a multi-line text may mislead it."""
    found: dict[str, int] = {}
    table = ""
    for number, line in enumerate(text.splitlines(), 1):
        if header := _HEADER.match(line):
            table = _bare(header[1]) + "."
            found.setdefault(table[:-1], number)
        elif key := _KEY.match(line):
            found.setdefault(table + _bare(key[1]), number)
    return found


def _bare(key: str) -> str:
    return re.sub(r"""["'\s]""", "", key)


def _from_environment(environ: Mapping[str, str]) -> Iterator[_Given]:
    for variable in sorted(environ):
        if not variable.startswith(PREFIX) or variable in NOT_SETTINGS or _KUBERNETES.fullmatch(variable):
            continue
        path = ALIASES.get(variable) or variable.removeprefix(PREFIX).lower().replace("__", ".")
        yield _Given(path, environ[variable], variable, text=True)


def _leaf(path: str) -> Setting | None:
    return next((setting for setting in describe() if _pattern(setting.path).fullmatch(path)), None)


def _table(path: str, *, named: bool = False) -> bool:
    """named: only one whose name is the user's to give."""
    tables = (setting.path.rpartition(".")[0] for setting in describe())
    return any(_pattern(table).fullmatch(path) for table in tables if not named or table.endswith(ANY))


def _pattern(path: str) -> re.Pattern[str]:
    return re.compile(re.escape(path).replace(ANY, r"[^.]+"))


def _known(given: _Given) -> Setting:
    if setting := _leaf(given.path):
        return setting
    named = f"{given.source}: " if given.source.startswith(PREFIX) else f"{given.path} ({given.source}): "
    groups = sorted({setting.path.split(".")[0] for setting in describe() if "." in setting.path})
    if given.path in groups:
        raise SettingsError(f"{named}{given.path} is a table of settings, not a value", param=given.path)
    table, _, rest = given.path.partition(".")
    name, _, last = rest.rpartition(".")
    if "." in name and not _table(f"{table}.{name}") and _leaf(f"{table}.{ANY}.{last}"):
        raise SettingsError(
            f"{named}the name {name!r} has a dot in it, which a name of {table} cannot", param=given.path
        )
    raise SettingsError(f"{named}there is no such setting; {_nearest(given)}", param=given.path)


def _nearest(given: _Given) -> str:
    names = [setting.path for setting in describe()]
    parts = given.path.split(".")
    if len(parts) > 2 and parts[0] in ("providers", "routes", "cascades", "tools"):
        names = [name.replace(ANY, parts[1]) for name in names]
    near = difflib.get_close_matches(given.path, names, n=1, cutoff=0.0)[0]
    same = [name for name in names if name.rpartition(".")[2] == parts[-1]]  # the right name in the wrong table
    near = same[0] if same else near
    if given.source.startswith(PREFIX):
        near = PREFIX + near.upper().replace(".", "__")
    return f"the nearest is {near}"


def _read(setting: Setting, given: _Given) -> Any:
    value = given.value
    if given.text and isinstance(value, str):
        if isinstance(setting.type, inspect.ListType):
            value = [item.strip() for item in value.split(",") if item.strip()]
        elif isinstance(setting.type, inspect.DictType):
            pairs = (item.split("=", 1) for item in value.split(",") if "=" in item)
            value = {name.strip(): item.strip() for name, item in pairs}
        elif isinstance(setting.type, inspect.BoolType):
            value = {"1": "true", "0": "false"}.get(value, value.lower())
    try:
        return msgspec.convert(value, setting.annotation, strict=not given.text)
    except msgspec.ValidationError as wrong:
        name = given.source if given.source.startswith(PREFIX) else f"{given.path} ({given.source})"
        shown = masked(given.path.rpartition(".")[2], given.value)
        if "tables" in setting.allowed:  # what is amiss in one of them, rather than all of it
            raise SettingsError(f"{name} must be {setting.allowed}: {wrong}", param=given.path) from None
        raise SettingsError(f"{name} is {shown!r}; it must be {setting.allowed}", param=given.path) from None


def _put(tree: dict[str, Any], path: str, value: Any) -> None:
    *tables, name = path.split(".")
    for table in tables:
        tree = tree.setdefault(table, {})
    tree[name] = value
