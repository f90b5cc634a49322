"""docs/matrix.md is what the modules of the matrix say."""

from __future__ import annotations

import importlib.util
from pathlib import Path

PATH = Path(__file__).parents[2] / "tools" / "matrix_page.py"
spec = importlib.util.spec_from_file_location("tidewire_matrix_page", PATH)
page = importlib.util.module_from_spec(spec)
spec.loader.exec_module(page)


def test_the_page_is_up_to_date():
    assert page.FILE.read_text(encoding="utf-8") == page.text(), "write it again: make matrix"


def test_every_case_is_explained():
    assert list(page.MEANS) == list(page.CASES)
