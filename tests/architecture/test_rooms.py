"""ARCHITECTURE.md draws the code as it stands: every room, every file, every function that a walk passes."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
SOURCE = ROOT / "src" / "tidewire"
TEXT = (ROOT / "ARCHITECTURE.md").read_text(encoding="utf-8")
_ROOM = re.compile(r"^### `(\w+)/`: .+$", re.MULTILINE)
_FILE = re.compile(r"^\| `(\w+\.py)` \| (\S.*) \|$", re.MULTILINE)


def rooms() -> dict[str, list[tuple[str, str]]]:
    part = TEXT.partition("\n## Rooms\n")[2].partition("\n## ")[0]
    _, *pieces = _ROOM.split(part)
    return {name: _FILE.findall(body) for name, body in zip(pieces[::2], pieces[1::2], strict=True)}


def test_every_room_is_drawn():
    folders = {path.parent.name for path in SOURCE.glob("*/__init__.py")}
    assert set(rooms()) == folders


@pytest.mark.parametrize("room", sorted(rooms()))
def test_every_file_of_a_room_is_named_once_with_a_line(room):
    named = [file for file, _ in rooms()[room]]
    there = sorted(path.name for path in (SOURCE / room).glob("*.py") if not path.name.startswith("__"))
    assert sorted(named) == there


def defined() -> set[str]:
    """Class, Class.method and function names of the whole package; attributes set in a method count too."""
    names: set[str] = set()
    for path in SOURCE.rglob("*.py"):
        for node in ast.parse(path.read_text(encoding="utf-8")).body:
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                names.add(node.name)
            elif isinstance(node, ast.ClassDef):
                names.add(node.name)
                for inner in ast.walk(node):
                    if isinstance(inner, ast.FunctionDef | ast.AsyncFunctionDef):
                        names.add(f"{node.name}.{inner.name}")
                    elif isinstance(inner, ast.Attribute) and isinstance(inner.ctx, ast.Store):
                        names.add(f"{node.name}.{inner.attr}")
    return names


def test_every_function_that_is_named_exists():
    named = set(re.findall(r"`([A-Z]\w+\.\w+)`", TEXT)) - {"ARCHITECTURE.md", "CONTRIBUTING.md", "PROTOCOL.md"}
    python = {"Task.cancel"}
    assert sorted(named - python - defined()) == []


def test_every_row_of_a_walk_names_a_file_and_what_is_in_it():
    walks = re.findall(r"^\| \d \| (.+?) \| ", TEXT, re.MULTILINE)
    assert len(walks) > 20
    for step in walks:
        ticked = re.findall(r"`([^`]+)`", step)
        files = [name for name in ticked if name.endswith(".py")]
        assert files, step
        text = "".join((SOURCE / file).read_text(encoding="utf-8") for file in files)
        for name in set(ticked) - set(files):
            for word in name.split("."):
                assert re.search(rf"\b{word}\b", text), f"{name} is not in {files}"
