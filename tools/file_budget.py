"""No file of code grows past what one reads in a sitting, unless it is listed here with its reason."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Final

FOLDERS: Final = ("src", "web", "tools", "benchmarks", "examples", "tests")
KINDS: Final = frozenset({".py", ".ts", ".tsx", ".mjs", ".css", ".html", ".sh"})
LEFT_OUT: Final = frozenset({"node_modules", "assets", "dist", "__pycache__"})  # not written by hand
LINES: Final = 400
TEST_LINES: Final = 600  # a list of cases is read case by case

# path: (lines it may have, why)
LISTED: Final[dict[str, tuple[int, str]]] = {}


def files(root: Path) -> Iterator[Path]:
    """The files of code, with their paths relative to root."""
    for folder in FOLDERS:
        for path in sorted((root / folder).rglob("*")):
            inside = path.relative_to(root)
            if path.suffix in KINDS and path.is_file() and not LEFT_OUT & set(inside.parts):
                yield inside


def over(root: Path, listed: dict[str, tuple[int, str]]) -> list[str]:
    """What is wrong, a sentence each: a file over its budget, or a listing that is no longer needed."""
    said = []
    seen = set()
    for path in files(root):
        name = path.as_posix()
        usual = TEST_LINES if path.parts[0] == "tests" else LINES
        budget, _ = listed.get(name, (usual, ""))
        with (root / path).open(encoding="utf-8") as text:
            lines = sum(1 for _ in text)
        if lines > budget:
            said.append(f"{name} has {lines} lines, and its budget is {budget}: divide it, or list it with a reason")
        elif name in listed and lines <= usual:
            said.append(f"{name} has {lines} lines and is listed for nothing: take it off the list")
        seen.add(name)
    return said + [f"{name} is listed, and is not there" for name in listed if name not in seen]


if __name__ == "__main__":
    found = over(Path(__file__).parents[1], LISTED)
    sys.stderr.write("".join(f"{line}\n" for line in found))
    sys.exit(bool(found))
