"""A server of its own process whose extractive model has this project's own documents to quote."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys

import msgspec
import pytest
from pages import ROOT, SERVER

COMMAND = [sys.executable, "-m", "tidewire.cli"]
SETTINGS = {
    "TIDEWIRE_MODELS__DISCOVER": "0",
    "TIDEWIRE_EMBEDDING__KIND": "none",
    "TIDEWIRE_LOG__DURABILITY": "memory",
    "TIDEWIRE_PROVIDERS__SIMULATED__KIND": "simulated",
    "TIDEWIRE_SERVER__ORIGINS": "*",
    "TIDEWIRE_RETRIEVAL__PACE": "1000",
    "TIDEWIRE_SERVER__PORT": "0",
    "TIDEWIRE_LOGGING__FORMAT": "json",
}
OWN = ("README.md", "ARCHITECTURE.md", "CONTRIBUTING.md", "docs", "spec")


def environment(**more: str) -> dict[str, str]:
    """Without the settings and proxies of whoever runs the tests; `tidewire` and `python` are those of the tests."""
    bare = {k: v for k, v in os.environ.items() if not k.startswith("TIDEWIRE_") and not k.lower().endswith("_proxy")}
    folder = os.path.dirname(sys.executable)
    return {**bare, "PATH": f"{folder}{os.pathsep}{bare.get('PATH', '')}", **more}


@pytest.fixture(scope="session")
def address(tmp_path_factory):
    folder = tmp_path_factory.mktemp("server")
    settings = environment(**SETTINGS, TIDEWIRE_DATA=str(folder))
    own = folder / "own"
    own.mkdir()
    for page in OWN:
        copy = shutil.copytree if (ROOT / page).is_dir() else shutil.copy
        copy(ROOT / page, own / page)
    subprocess.run([*COMMAND, "ingest", str(own)], env=settings, cwd=folder, check=True, capture_output=True)
    process = subprocess.Popen([*COMMAND, "serve"], env=settings, cwd=folder, stderr=subprocess.PIPE)
    try:
        lines = (msgspec.json.decode(line) for line in process.stderr)
        yield next(line["address"] for line in lines if "address" in line)
    finally:
        process.terminate()
        process.stderr.close()
        process.wait()


@pytest.fixture
def client_environment(address):
    return environment(TIDEWIRE_URL=address)


@pytest.fixture
def here(address):
    """A page's code, with the address of this test's server in it."""
    return lambda code: code.replace(SERVER, address)


@pytest.fixture(scope="session")
def node():
    found = shutil.which("node")
    if found is None:
        pytest.skip("node is not installed")
    return found
