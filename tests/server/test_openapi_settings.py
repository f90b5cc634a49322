"""What [tools.NAME] with kind = "openapi" comes to."""

import msgspec
import pytest

from tidewire.core.errors import SettingsError
from tidewire.server.openapi import openapi_tools
from tidewire.toolbox.names import Names
from tidewire.toolbox.openapi import Service
from tidewire.toolbox.openapi_document import Choice
from tidewire.toolbox.port import Terms


class Given(msgspec.Struct):
    document: str = "pets.json"
    base_url: str = "https://pets.example/v1"
    include: list[str] = []
    exclude: list[str] = []
    writes: bool = False
    headers: dict[str, str] = {}
    api_key_env: str = ""
    api_key_header: str = ""


def made(**fields):
    return openapi_tools("pets", Given(**fields), Terms(), Names(), {"KEY": "sk-1", "BROKEN": "a\nb"})


async def test_the_settings_say_where_what_and_with_which_key():
    tools = made(include=["dogs"], writes=True, headers={"X-Team": "a"}, api_key_env="KEY")
    headers = {"X-Team": "a", "Authorization": "Bearer sk-1"}
    assert tools._service == Service("pets.json", "https://pets.example/v1", headers, Choice(["dogs"], [], True))
    await tools.close()


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"document": ""}, "tools.pets of kind openapi needs document"),
        ({"base_url": ""}, "tools.pets.base_url is ''; it begins with http"),
        ({"base_url": "file:///etc"}, "it begins with http"),
        ({"base_url": "https://u:p@pets.example"}, "an address and a path alone"),
        ({"base_url": "https://pets.example/?key=k"}, "an address and a path alone"),
        ({"api_key_env": "NONE"}, "names NONE, which is not set"),
        ({"api_key_env": "BROKEN"}, "is none of a header"),
    ],
)
def test_what_cannot_be_is_said_at_start(fields, said):
    with pytest.raises(SettingsError, match=said):
        made(**fields)
