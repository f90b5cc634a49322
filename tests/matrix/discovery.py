"""The hosts and the clients of the matrix: every module in `hosts/` and `clients/`, as cases.py says what is in them."""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Protocol

from matrix.cases import CASES, Answer, Question, Reply

HERE = Path(__file__).parent


class Host(Protocol):
    KIND: str
    SETTINGS: dict[str, Any]
    BASE: str
    MODEL: str
    CANNOT: dict[str, str]

    def reply(self, case: str) -> Reply: ...


class Client(Protocol):
    NAME: str
    CANNOT: dict[str, str]

    def question(self, case: str, model: str) -> Question: ...

    def read(self, status: int, headers: dict[str, str], body: bytes) -> Answer: ...


def hosts() -> dict[str, Host]:
    """By the name of the module: two kinds of host may answer for one kind of provider."""
    return _modules("hosts", ("KIND", "BASE", "MODEL", "CANNOT", "reply"))


def clients() -> dict[str, Client]:
    return {module.NAME: module for module in _modules("clients", ("NAME", "CANNOT", "question", "read")).values()}


def _modules(folder: str, names: tuple[str, ...]) -> dict[str, Any]:
    found = {}
    for path in sorted((HERE / folder).glob("[!_]*.py")):
        module = importlib.import_module(f"matrix.{folder}.{path.stem}")
        missing = [name for name in names if not hasattr(module, name)]
        if missing:
            raise AttributeError(f"{path.name} has no {' and no '.join(missing)}; cases.py says what belongs in it")
        unknown = set(module.CANNOT) - set(CASES)
        if unknown:
            raise ValueError(f"{path.name} cannot {', '.join(sorted(unknown))}, which is no case")
        found[path.stem] = module
    return found


def lacking(host: Host, client: Client) -> Mapping[str, str]:
    """The cases that this pair cannot do, and why, in the order of the cases."""
    both = {**client.CANNOT, **host.CANNOT}
    return {case: both[case] for case in CASES if case in both}
