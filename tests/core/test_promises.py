"""Each promise of spec/PROTOCOL.md, section 2, has a test that shows it; no test shows a promise that is not made.

A test says which it shows: @pytest.mark.promise("P4").
"""

from __future__ import annotations

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
_MARK = re.compile(r'@pytest\.mark\.promise\("(\w+)"\)')


def made() -> set[str]:
    section = (ROOT / "spec" / "PROTOCOL.md").read_text().partition("## 2.")[2].partition("## 3.")[0]
    return set(re.findall(r"^- \*\*(P\d+)\*\*", section, re.MULTILINE))


def shown() -> dict[str, set[str]]:
    """The files of the tests that show each promise."""
    out: dict[str, set[str]] = {}
    for file in (ROOT / "tests").rglob("test_*.py"):
        if "node_modules" not in file.parts and file != Path(__file__):
            for name in _MARK.findall(file.read_text()):
                out.setdefault(name, set()).add(file.name)
    return out


def test_promises_are_numbered_without_a_gap():
    assert made() == {f"P{n}" for n in range(1, len(made()) + 1)}
    assert len(made()) >= 8


@pytest.mark.parametrize("name", sorted(made()))
def test_a_promise_has_a_test(name):
    assert shown().get(name), f'no test is marked @pytest.mark.promise("{name}")'


def test_no_test_shows_what_nobody_promised():
    assert set(shown()) <= made()
