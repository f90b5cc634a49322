from __future__ import annotations

import re
import tomllib
from pathlib import Path
from typing import Any

import pytest

from tidewire.core.errors import SettingsError
from tidewire.server.reference import ANY, default_file, describe, table
from tidewire.server.settings import Settings
from tidewire.server.sources import Loaded, load


@pytest.fixture
def file(tmp_path: Path):
    def write(text: str) -> Path:
        path = tmp_path / "tidewire.toml"
        path.write_text(text)
        return path

    return write


def refusal(**given: Any) -> str:
    with pytest.raises(SettingsError) as wrong:
        load(**given)
    return wrong.value.message


def test_without_any_source_the_defaults_hold():
    loaded = load()
    assert loaded == Loaded(Settings(), {})
    assert (loaded.settings.server.host, loaded.settings.server.port, loaded.settings.data) == (
        "127.0.0.1",
        8400,
        ".tidewire",
    )


def test_a_flag_beats_the_environment_beats_the_file_beats_the_default(file):
    path = file("[server]\nport = 1\ndrain_s = 5\nbacklog = 7\n")
    loaded = load(
        path,
        environ={"TIDEWIRE_SERVER__PORT": "2", "TIDEWIRE_SERVER__DRAIN_S": "6.5"},
        flags={"server.port": 3, "server.host": None},
    )
    server = loaded.settings.server
    assert (server.port, server.drain_s, server.backlog, server.host) == (3, 6.5, 7, "127.0.0.1")
    assert loaded.origins == {
        "server.port": "--port",
        "server.drain_s": "TIDEWIRE_SERVER__DRAIN_S",
        "server.backlog": f"{path} line 4",
    }


def test_the_file_in_the_folder_is_found_and_one_that_is_named_must_exist(file, tmp_path):
    file("data = 'here'")
    assert load(folder=tmp_path).settings.data == "here"
    assert "there is no settings file" in refusal(config=tmp_path / "absent.toml")
    assert "there is no settings file" in refusal(environ={"TIDEWIRE_CONFIG": str(tmp_path / "absent.toml")})


def test_an_unknown_key_names_the_nearest_and_the_line(file):
    path = file("# mine\n[limits]\nheader_bites = 5\n")
    assert (
        refusal(config=path)
        == f"limits.header_bites ({path} line 3): there is no such setting; the nearest is limits.header_bytes"
    )


def test_a_name_that_is_given_nothing_is_said_and_an_empty_group_is_none(file):
    for name in ("routes.x", "providers.openai", "tools.y", "cascades.z", "sources.docs", "plans.chat"):
        path = file(f"[{name}]\n# candidates = []\n")
        assert refusal(config=path).startswith(f"{name} ({path} line 1) is empty, so that there is none of that name")
    assert load(config=file("[server]\n[streams.disconnect]\n[context.intents]\n")).settings == Settings()


def test_a_name_with_a_dot_is_said_to_be_one(file):
    for text in ("[routes.'gpt-4.1']\nchoose = 'price'", "[providers.a.b]\nkind = 'vllm'"):
        assert re.search(r"the name '[^']+' has a dot in it, which a name of \w+ cannot", refusal(config=file(text)))


@pytest.mark.parametrize(
    ("text", "nearest"),
    [
        ("[sever]\nport = 1", "server.port"),
        ("[sever]", "server."),
        ("port = 1", "server.port"),
        ("[providers.mine]\nbase_ur = 'x'", "providers.mine.base_url"),
        ("[streams.disconnect]\nopenai = 'cancel'", "streams.disconnect.openai_chat"),
    ],
)
def test_the_nearest_is_found_in_every_table(file, text, nearest):
    assert f"the nearest is {nearest}" in refusal(config=file(text))


def test_an_unknown_variable_names_the_nearest_variable():
    assert refusal(environ={"TIDEWIRE_SERVER__PROT": "1"}) == (
        "TIDEWIRE_SERVER__PROT: there is no such setting; the nearest is TIDEWIRE_SERVER__PORT"
    )


def test_the_variables_that_kubernetes_sets_are_no_settings():
    environ = {
        "TIDEWIRE_SERVICE_HOST": "10.0.0.1",
        "TIDEWIRE_SERVICE_PORT_HTTP": "8400",
        "TIDEWIRE_PORT": "tcp://10.0.0.1:8400",
        "TIDEWIRE_PORT_8400_TCP_ADDR": "10.0.0.1",
    }
    assert load(environ=environ).origins == {}


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("[server]\nport = 70000", "is 70000; it must be a whole number from 0 to 65535"),
        ("[server]\nport = '8400'", "is '8400'; it must be a whole number from 0 to 65535"),
        ("[limits]\nheader_s = 0", "is 0; it must be a number above 0 up to 604800 (s)"),
        ("[limits]\nheader_s = nan", "is nan; it must be a number above 0 up to 604800 (s)"),
        ("[log]\ndurability = 'redis'", "is 'redis'; it must be one of disk, memory, process"),
        ("[models]\ndiscover = 1", "is 1; it must be true or false"),
        ("[server]\norigins = [1]", "is [1]; it must be a list of texts"),
        ("[context]\nmodels = {x = -1}", "it must be a table, each value a whole number from 0 to 100000000"),
        ("[ingest.ttl]\n'text/html' = -1", "it must be a table, each value a number"),
        ("[models]\naliases = {x = 1}", "it must be a table of texts"),
        ("[retrieval]\nstore = 'sqlit'", "is 'sqlit'; it must be \"sqlite\" or a postgres:// address"),
        ("server = 5", "is a table of settings, not a value"),
        ("[server.port]\nx = 1", "it must be a whole number from 0 to 65535"),
        ("[server\n", "cannot be read: "),
    ],
)
def test_a_wrong_value_says_what_it_held_and_what_is_allowed(file, text, said):
    assert said in refusal(config=file(text))


def test_a_wrong_variable_says_so_too():
    assert refusal(environ={"TIDEWIRE_SERVER__PORT": "abc"}) == (
        "TIDEWIRE_SERVER__PORT is 'abc'; it must be a whole number from 0 to 65535"
    )


def test_variables_hold_lists_tables_booleans_and_providers():
    settings = load(
        environ={
            "TIDEWIRE_SERVER__ORIGINS": "https://a.example, https://b.example",
            "TIDEWIRE_MODELS__ALIASES": "fast=extractive,slow=big",
            "TIDEWIRE_MODELS__DISCOVER": "0",
            "TIDEWIRE_PROVIDERS__MINE__BASE_URL": "http://127.0.0.1:1/v1",
        }
    ).settings
    assert settings.server.origins == ["https://a.example", "https://b.example"]
    assert settings.models.aliases == {"fast": "extractive", "slow": "big"}
    assert settings.models.discover is False
    assert settings.providers["mine"].base_url == "http://127.0.0.1:1/v1"


def test_no_secret_is_shown():
    settings = load(
        environ={"TIDEWIRE_API_KEY": "sesame", "TIDEWIRE_PROVIDERS__P__BASE_URL": "http://u:sesame@h/v1"}
    ).settings
    assert settings.server.api_key == "sesame"
    assert "sesame" not in repr(settings)


def test_a_secret_of_the_wrong_type_is_not_shown_either(file):
    assert "4711" not in refusal(config=file("[server]\napi_key = 4711"))


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("[server]\ntls_cert = 'c.pem'", "server.tls_key is not; TLS needs both"),
        ("[server]\ntls_cert = 'c.pem'\ntls_key = 'k.pem'", "there is no such file"),
        ("[server]\nhost = '0.0.0.0'", "set TIDEWIRE_API_KEY"),
        ("[server]\napi_key = 'schl\u00fcssel'", "no header can hold"),
        ("[streams.disconnect]\nnative = 'sometimes'", "streams.disconnect.native is 'sometimes'"),
        ("[providers.x]\nmodels = ['m']", "providers.x.base_url is ''"),
    ],
)
def test_settings_that_do_not_go_together_are_refused(file, text, said):
    assert said in refusal(config=file(text))


def test_listening_beyond_loopback_takes_a_key_or_a_word():
    for more in ({"TIDEWIRE_API_KEY": "k"}, {"TIDEWIRE_SERVER__OPEN": "true"}):
        assert not load(environ={"TIDEWIRE_SERVER__HOST": "0.0.0.0", **more}).settings.loopback


def test_every_setting_has_a_sentence_and_every_number_its_bounds():
    for setting in describe():
        assert setting.description.endswith("."), setting.path
        if "number" in setting.allowed:
            assert any(char.isdigit() for char in setting.allowed), setting.path
        if setting.path.endswith(("_s", "_ms", "_bytes")):
            assert setting.unit, setting.path


def test_the_default_file_changes_nothing_as_it_is_and_with_every_line_uncommented(file):
    assert load(file(default_file())).settings == Settings()
    uncommented = re.sub(r"^#(?! )", "", default_file(), flags=re.MULTILINE)
    tree = tomllib.loads(uncommented)
    assert set(tree["providers"][ANY]) == {
        s.path.rpartition(".")[2] for s in describe() if s.path.startswith("providers.")
    }
    del tree["providers"]
    assert load(file(uncommented.partition("[providers")[0])).settings == Settings()


def test_the_table_of_the_docs_names_every_setting():
    assert all(f"| `{setting.path}` |" in table() for setting in describe())
