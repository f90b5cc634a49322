"""The project's pages of Markdown, and the blocks of code in them."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).parents[2]
SERVER = "http://127.0.0.1:8400"  # as the pages call it
_FENCE = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)


class Block(NamedTuple):
    language: str
    text: str
    line: int


def pages() -> list[Path]:
    folders = (ROOT / "docs", ROOT / "examples", ROOT / "spec", ROOT / "benchmarks", ROOT / "deploy")
    found = [*ROOT.glob("*.md"), *(page for folder in folders for page in folder.rglob("*.md"))]
    return sorted(found)


def name(page: Path) -> str:
    return page.relative_to(ROOT).as_posix()


def blocks(page: Path, language: str) -> Iterator[Block]:
    text = page.read_text(encoding="utf-8")
    for found in _FENCE.finditer(text):
        if found[1] == language:
            yield Block(found[1], found[2], text.count("\n", 0, found.start(2)) + 1)


def with_blocks(language: str) -> list[Path]:
    return [page for page in pages() if any(blocks(page, language))]


def table(page: Path, heading: str) -> list[list[str]]:
    """The cells of the rows of every table under a heading (any level), without header rows."""
    text = page.read_text(encoding="utf-8")
    start = re.search(rf"^(#+) {re.escape(heading)}$", text, re.MULTILINE)
    assert start is not None, f"{name(page)} has no heading {heading!r}"
    below = text[start.end() :]
    end = re.search(rf"^#{{1,{len(start[1])}}} ", below, re.MULTILINE)
    lines = (below[: end.start()] if end else below).splitlines()
    rows = []
    for number, line in enumerate(lines):
        header = number + 1 < len(lines) and lines[number + 1].startswith("|---")
        if line.startswith("|") and not line.startswith("|---") and not header:
            rows.append([cell.strip() for cell in re.split(r"(?<!\\)\|", line.strip().strip("|"))])
    return rows
