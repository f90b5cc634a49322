"""What [tools.NAME] with kind = "mcp" comes to."""

import sys

import msgspec
import pytest

pytest.importorskip("mcp")

from tidewire.core.errors import SettingsError
from tidewire.server.mcp import mcp_tools
from tidewire.toolbox.mcp import Local, Remote
from tidewire.toolbox.names import Names
from tidewire.toolbox.port import Terms


class Given(msgspec.Struct):
    command: list[str] = []
    env: dict[str, str] = {}
    env_names: list[str] = []
    log_stderr: bool = False
    url: str = ""
    headers: dict[str, str] = {}
    api_key_env: str = ""
    api_key_header: str = ""
    revision: str = "auto"


def made(**fields):
    return mcp_tools("x", Given(**fields), Terms(), Names(), {"TOKEN": "t1", "EMPTY": "", "KEY": "sk-1"})


def test_a_program_gets_the_variables_that_are_named_and_those_that_are_given():
    server = made(command=[sys.executable, "-V"], env_names=["TOKEN"], env={"A": "b"})
    assert server._where == Local([sys.executable, "-V"], {"TOKEN": "t1", "A": "b"})
    assert "KEY" not in server._env


def test_a_key_becomes_a_header():
    server = made(url="https://far.example/mcp", headers={"X-Team": "a"}, api_key_env="KEY")
    assert server._where == Remote("https://far.example/mcp", {"X-Team": "a", "Authorization": "Bearer sk-1"})


def test_a_key_may_go_into_a_header_of_another_name():
    server = made(url="https://far.example/mcp", api_key_env="KEY", api_key_header="X-Api-Key")
    assert server._where.headers == {"X-Api-Key": "sk-1"}


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({}, "needs command .* or url"),
        ({"command": ["true"], "url": "http://x"}, "one of the two"),
        ({"url": "ftp://x"}, "begins with http"),
        ({"url": "http://x", "api_key_env": "NONE"}, "names NONE, which is not set"),
        ({"url": "http://x", "headers": {"X-A": "a\r\nX-B: b"}}, "is none of a header"),
        ({"command": [sys.executable], "env_names": ["EMPTY"]}, "names EMPTY, which is not set"),
        ({"command": ["no-such-program"]}, "no program 'no-such-program' is found"),
    ],
)
def test_what_cannot_be_is_said_at_start(fields, said):
    with pytest.raises(SettingsError, match=said):
        made(**fields)
