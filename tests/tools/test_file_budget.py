from __future__ import annotations

import importlib.util
from pathlib import Path

import pytest

PATH = Path(__file__).parents[2] / "tools" / "file_budget.py"


@pytest.fixture
def budget():
    spec = importlib.util.spec_from_file_location("file_budget", PATH)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def tree(tmp_path):
    def write(name: str, lines: int) -> Path:
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("x\n" * lines)
        return tmp_path

    return write


def test_a_file_over_its_budget_is_named_with_both_numbers(budget, tree):
    tree("src/a.py", 400)
    tree("tests/test_a.py", 600)
    tree("web/node_modules/x.ts", 5000)
    root = tree("web/b.ts", 401)
    assert budget.over(root, {}) == [
        "web/b.ts has 401 lines, and its budget is 400: divide it, or list it with a reason"
    ]


def test_a_listed_file_may_be_longer_but_not_without_end(budget, tree):
    root = tree("src/a.py", 450)
    assert budget.over(root, {"src/a.py": (460, "a table")}) == []
    assert len(budget.over(root, {"src/a.py": (440, "a table")})) == 1


def test_a_listing_that_is_not_needed_is_an_error_too(budget, tree):
    root = tree("src/a.py", 10)
    said = budget.over(root, {"src/a.py": (460, "a table"), "src/gone.py": (500, "a table")})
    assert [line.split(" ")[0] for line in said] == ["src/a.py", "src/gone.py"]
