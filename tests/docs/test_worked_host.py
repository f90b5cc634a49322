"""The model hosts of CONTRIBUTING.md: its blocks are put where it says, in a copy of the project, and are tested, fuzzed and measured there."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys

import pytest
from pages import ROOT

PAGE = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
PART = PAGE.partition("\n## Add a model host\n")[2].partition("\n## ")[0]
_STEP = re.compile(r"^\d\. (.*?)\n\n```py\n(.*?)^```$", re.MULTILINE | re.DOTALL)
HOSTS = "src/tidewire/server/hosts.py"


def steps() -> list[tuple[str, str, str]]:
    """(the file that a step names first, what it says, its block)"""
    return [(re.search(r"`((?:src|tests)/[\w/]+\.py)`", says)[1], says, block) for says, block in _STEP.findall(PART)]


@pytest.fixture(scope="module")
def copy(tmp_path_factory):
    """The project with both hosts in it, and of the other hosts of the matrix only the one that they build on."""
    folder = tmp_path_factory.mktemp("copy")
    for name in ("src", "tests/matrix", "tools", "benchmarks"):
        shutil.copytree(ROOT / name, folder / name, ignore=shutil.ignore_patterns("__pycache__", "results", "hosts"))
    (folder / "tests/matrix/hosts").mkdir()
    for name in (
        "pyproject.toml",
        *(f"tests/{path.name}" for path in (ROOT / "tests").glob("*.py")),
        "tests/matrix/hosts/compatible.py",
    ):
        shutil.copy(ROOT / name, folder / name)
    for file, says, block in steps():
        target = folder / file
        if file == HOSTS:
            text = target.read_text(encoding="utf-8")
            table = re.search(r"^HOSTS: .*= \{\n", text, re.MULTILINE)
            text = text[: table.end()] + block + text[table.end() :]
            for line in re.findall(r"the import `(.*?)`", says):
                text = text.replace("import msgspec\n", f"import msgspec\n\n{line}\n", 1)
            target.write_text(text, encoding="utf-8")
        else:
            assert not target.exists(), file
            target.write_text(block, encoding="utf-8")
    return folder


def run(copy, *command: str) -> str:
    env = os.environ | {"PYTHONPATH": str(copy / "src"), "PYTHONDONTWRITEBYTECODE": "1"}
    done = subprocess.run(
        [sys.executable, *command], cwd=copy, env=env, capture_output=True, text=True, timeout=120, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_the_steps_are_those_of_a_row_and_of_a_protocol():
    assert [file for file, _, _ in steps()] == [
        HOSTS,
        "tests/matrix/hosts/toucan.py",
        "src/tidewire/dialects/parrot_host.py",
        HOSTS,
        "tests/matrix/hosts/parrot.py",
    ]


def test_the_copy_is_what_is_tested(copy):
    said = run(copy, "-c", "import tidewire, tidewire.dialects.parrot_host as p; print(tidewire.__file__, p.__file__)")
    assert all(path.startswith(str(copy)) for path in said.split())


def test_every_dialect_asks_the_new_hosts(copy):
    said = run(copy, "-m", "pytest", "-p", "no:cacheprovider", "tests/matrix/test_matrix.py", "-k", "asks", "-vv")
    for host in ("parrot", "toucan"):
        clients = len(list((copy / "tests/matrix/clients").glob("*.py")))
        assert len(re.findall(rf"asks {host}\] PASSED", said)) == clients


def test_the_new_decoder_is_fuzzed(copy):
    assert "ParrotDecoder            inputs 0 to 1999, seed 1: 0 found" in run(
        copy, "tools/fuzz", "--only", "ParrotDecoder", "--inputs", "2000"
    )


def test_the_new_decoder_is_measured(copy):
    assert "decode parrot" in run(copy, "benchmarks/dialects.py", "--only", "parrot", "--tokens", "300", "--no-gate")


def test_the_new_files_are_clean(copy):
    for tool in (
        ["ruff", "check", "-q"],
        ["ruff", "format", "--check", "-q"],
        ["mypy", "--no-incremental", "--follow-imports=silent"],
    ):
        paths = ["src/tidewire/dialects/parrot_host.py"]
        if tool[0] == "ruff":
            paths += ["tests/matrix/hosts/parrot.py", "tests/matrix/hosts/toucan.py"]
        run(copy, "-m", *tool, *paths)
