"""Every link in the pages leads somewhere: to a file, and to a heading in it. So does every path of a test that a page names."""

from __future__ import annotations

import re

import pytest
from pages import ROOT, name, pages

_LINK = re.compile(r"(?<!!)\[[^\]]*\]\(([^)\s]+)\)|!\[[^\]]*\]\(([^)\s]+)\)|src(?:set)?=\"([^\"]+)\"")
_PATH = re.compile(r"`((?:tests|src|web|tools|benchmarks|deploy|spec|docs|examples)/[\w./-]+)`")
_FENCED = re.compile(r"^```.*?^```$", re.MULTILINE | re.DOTALL)


def anchors(text: str) -> set[str]:
    """As GitHub makes them of headings."""
    headings = re.findall(r"^#+ (.+)$", _FENCED.sub("", text), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", h.strip().lower()).replace(" ", "-") for h in headings}


@pytest.mark.parametrize("page", pages(), ids=name)
def test_links_lead_somewhere(page):
    text = _FENCED.sub("", page.read_text(encoding="utf-8"))
    broken = []
    for found in _LINK.finditer(text):
        link = found[1] or found[2] or found[3]
        if link.startswith(("http://", "https://", "mailto:")):
            continue
        path, _, anchor = link.partition("#")
        target = (page.parent / path).resolve() if path else page
        there = target.exists() and target.is_relative_to(ROOT)
        if not there or (anchor and anchor not in anchors(target.read_text(encoding="utf-8"))):
            broken.append(link)
    assert broken == []


@pytest.mark.parametrize("page", pages(), ids=name)
def test_paths_that_are_named_are_there(page):
    worked_example = {"src/tidewire/providers/echo.py", "tests/providers/test_echo.py"} | {
        "src/tidewire/dialects/parrot_host.py",
        "tests/matrix/hosts/parrot.py",
        "tests/matrix/hosts/toucan.py",
    }
    text = _FENCED.sub("", page.read_text(encoding="utf-8"))
    named = set(_PATH.findall(text)) - worked_example
    assert [path for path in sorted(named) if not (ROOT / path).exists()] == []


def test_every_page_of_the_docs_can_be_reached_from_the_readme():
    seen, left = set(), [ROOT / "README.md"]
    while left:
        page = left.pop()
        if page in seen or page.suffix != ".md":
            continue
        seen.add(page)
        text = page.read_text(encoding="utf-8")
        links = [(found[1] or "").partition("#")[0] for found in _LINK.finditer(text)]
        left += [(page.parent / link).resolve() for link in links if link and "://" not in link]
    assert [name(page) for page in pages() if page.is_relative_to(ROOT / "docs") and page not in seen] == []
