"""[tools.NAME] of every kind becomes its toolset, and what no kind is asked for is not imported."""

import subprocess
import sys

import pytest

from tidewire.core.errors import SettingsError
from tidewire.server.tools import toolsets
from tidewire.server.tools_settings import Tools
from tidewire.toolbox.mcp import McpTools
from tidewire.toolbox.openapi import OpenApiTools
from tidewire.toolbox.threads import Threads


async def test_each_kind_becomes_its_toolset_and_names_are_shared():
    pytest.importorskip("mcp")
    pets, files = toolsets(
        {
            "pets": Tools(kind="openapi", document="pets.json", base_url="https://pets.example", timeout_s=5.0),
            "files": Tools(kind="mcp", command=[sys.executable, "-V"]),
        },
        Threads(1),
    )
    assert isinstance(pets, OpenApiTools)
    assert isinstance(files, McpTools)
    assert pets.terms.timeout == 5.0
    assert pets._names is files._names
    await pets.close()


def test_a_kind_that_is_none_is_said_with_those_there_are():
    with pytest.raises(SettingsError, match="function, openapi, mcp"):
        toolsets({"x": Tools(kind="soap")}, Threads(1))


def test_no_kind_is_imported_before_it_is_asked_for():
    code = "import sys, tidewire.server.tools; print([m for m in ('mcp', 'httpx2', 'yaml') if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"


def test_the_mcp_package_that_is_missing_is_said_with_the_command_that_brings_it(monkeypatch):
    monkeypatch.setattr("importlib.util.find_spec", lambda name, *rest: None)
    with pytest.raises(SettingsError, match=r"tools.x needs the mcp package: pip install 'tidewire\[mcp\]'"):
        toolsets({"x": Tools(kind="mcp", url="http://127.0.0.1:1/mcp")}, Threads(1))
