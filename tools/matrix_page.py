"""Writes docs/matrix.md from the modules of tests/matrix: python tools/matrix_page.py [--check]

What a module says is impossible is impossible, and everything else works: tests/matrix/test_matrix.py tries all of it.
"""

from __future__ import annotations

import sys
from collections.abc import Iterable, Mapping
from pathlib import Path

ROOT = Path(__file__).parents[1]
FILE = ROOT / "docs" / "matrix.md"
sys.path.insert(0, str(ROOT / "tests"))

from matrix.cases import CASES  # noqa: E402
from matrix.discovery import Client, Host, clients, hosts, lacking  # noqa: E402

MEANS = {
    "text": "text, with letters of more than one byte",
    "tool_call": "a tool call, its arguments in pieces",
    "parallel_tool_calls": "two calls in one answer",
    "thinking": "thoughts before the text",
    "structured": "an answer in JSON, asked for with a schema",
    "usage": "tokens of the prompt, of the answer, and from the cache",
    "length": "an answer that ends at the token limit",
    "refusal": "an answer that a content filter ended",
    "error_before": "the host refuses with 429 before the first byte",
    "error_after": "the host fails after the first words",
}


def text() -> str:
    rows, columns = hosts(), clients()
    pairs = [(lacking(host, client)) for host in rows.values() for client in columns.values()]
    works = sum(len(CASES) - len(lacks) for lacks in pairs)
    head = f"""# Every host in every dialect

Each model host is asked in each dialect that Tidewire serves, in {len(CASES)} cases: {len(rows)} hosts, {len(columns)} dialects, {len(pairs) * len(CASES)} combinations, of which {works} work. The hosts are scripted ones that write the bytes of
their protocols as public documentation and recorded streams have them; the clients read raw bytes, by the rules of theirs, and between the two are real sockets and this server. No host on the internet was called. The tests try all of it
(`tests/matrix`), what cannot work too, and this page is written by `tools/matrix_page.py`.

"""
    return head + "\n".join(
        (
            *_table(("case", "what happens"), ((_code(case), MEANS[case]) for case in CASES)),
            "",
            "## The table",
            "",
            "The second column names the cases that a host has no word for, a cell those that are missing for the dialect's sake; all others work.",
            "",
            *_table(
                ("host", "in no dialect", *(_code(name) for name in columns)),
                (
                    (
                        _code(name),
                        ", ".join(_code(case) for case in CASES if case in host.CANNOT) or "-",
                        *(_cell(host, client) for client in columns.values()),
                    )
                    for name, host in rows.items()
                ),
            ),
            "",
            "## What a host has no word for",
            "",
            *_why("host", rows),
            "",
            "## What a dialect has no word for",
            "",
            *_why("dialect", columns),
            "",
        )
    )


def _cell(host: Host, client: Client) -> str:
    lacks = [case for case in lacking(host, client) if case not in host.CANNOT]
    return "not " + ", ".join(_code(case) for case in lacks) if lacks else "✓"


def _why(what: str, modules: Mapping[str, Host] | Mapping[str, Client]) -> Iterable[str]:
    reasons = [
        (_code(name), _code(case), module.CANNOT[case])
        for name, module in modules.items()
        for case in CASES
        if case in module.CANNOT
    ]
    return _table((what, "case", "why"), reasons) if reasons else (f"Every {what} has a word for every case.",)


def _table(heads: Iterable[str], rows: Iterable[Iterable[str]]) -> Iterable[str]:
    heads = tuple(heads)
    yield _row(heads)
    yield "|---" * len(heads) + "|"
    for row in rows:
        yield _row(cell.replace("|", "\\|").replace("\n", " ") for cell in row)


def _row(cells: Iterable[str]) -> str:
    return f"| {' | '.join(cells)} |"


def _code(name: str) -> str:
    return f"`{name}`"


def main() -> int:
    if "--check" in sys.argv[1:]:
        return 0 if FILE.read_text(encoding="utf-8") == text() else 1
    FILE.write_text(text(), encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
