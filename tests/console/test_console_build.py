"""The files that ship are what the sources build: the same bytes, and what a strict page may hold."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

import pytest

from tidewire.console import ASSETS

WEB = Path(__file__).parents[2] / "web"
PAGES = ["documents.html", "index.html"]
FILES = [
    "app.css",
    "app.js",
    "documents.css",
    "documents.html",
    "documents.js",
    "first.js",
    "index.html",
    "tidewire.svg",
    "wave.svg",
]
ADDRESSES = {"/", "/documents"}


@pytest.fixture(scope="module")
def web() -> Path:
    """The npm workspace with what it needs installed."""
    if not (WEB / "package.json").is_file():
        pytest.skip("the console's sources are not in this installation")
    if shutil.which("node") is None or shutil.which("npm") is None:
        pytest.skip("node and npm are not installed: the shipped files cannot be built again here")
    if not (WEB / "node_modules" / "esbuild").is_dir():
        try:
            install = subprocess.run(
                ["npm", "ci", "--no-audit", "--no-fund"],
                cwd=WEB,
                capture_output=True,
                text=True,
                timeout=120,
                check=False,
            )
        except subprocess.TimeoutExpired:
            pytest.skip("npm ci did not end within 120 s: the shipped files cannot be built again here")
        if install.returncode:
            pytest.skip(f"npm ci failed, so that the shipped files cannot be built again here: {install.stderr[-300:]}")
    return WEB


@pytest.mark.slow
def test_a_rebuild_gives_the_files_that_ship_byte_by_byte(web, tmp_path):
    subprocess.run(["node", "build.mjs", "--out", str(tmp_path)], cwd=web, check=True, capture_output=True, timeout=60)
    built = {file.name: file.read_bytes() for file in tmp_path.iterdir()}
    shipped = {file.name: file.read_bytes() for file in ASSETS.iterdir()}
    assert sorted(built) == sorted(shipped) == FILES
    assert [name for name in FILES if built[name] != shipped[name]] == [], "run `npm run build` in web/ and commit"


@pytest.mark.slow
def test_the_client_and_the_text_reader_pass_their_own_tests(web):
    done = subprocess.run(["node", "test.mjs"], cwd=web, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stdout[-3000:]


@pytest.mark.slow
def test_the_sources_are_well_typed(web):
    done = subprocess.run(
        ["node", "node_modules/typescript/bin/tsc", "--noEmit", "-p", "."],
        cwd=web,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stdout[-3000:]


@pytest.mark.parametrize("name", PAGES)
def test_a_page_holds_nothing_inline_and_nothing_from_elsewhere(name):
    page = (ASSETS / name).read_text()
    assert re.findall(r"<script(?![^>]*\ssrc=)|<style|\sstyle=|\son\w+=|javascript:", page) == []
    links = re.findall(r'(?:src|href)="([^"]+)"', page)
    assert all(link.startswith(("/console/", "#")) or link in ADDRESSES for link in links)


def test_every_file_is_used_and_names_no_other_place():
    texts = {name: (ASSETS / name).read_text() for name in FILES}
    named = set(re.findall(r"/console/([\w.]+)", "".join(texts.values())))
    assert named == set(FILES) - set(PAGES)
    for name, text in texts.items():
        assert "sourceMappingURL" not in text
        assert set(re.findall(r"https?://[\w.]+", text)) <= {"http://www.w3.org"}, name


@pytest.mark.parametrize(("name", "kilobytes"), [("app.js", 60), ("documents.js", 50), ("first.js", 1)])
def test_a_script_stays_small(name, kilobytes):
    assert (ASSETS / name).stat().st_size <= kilobytes * 1024
