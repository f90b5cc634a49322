from __future__ import annotations


def test_each_setting_is_shown_with_where_it_comes_from(run, tmp_path):
    (tmp_path / "tidewire.toml").write_text(
        "[limits]\nstreams = 9\n[providers.mine]\nbase_url = 'http://h/v1'\nheaders = {X-Key = 'sesame'}\n"
    )
    with (tmp_path / "tidewire.toml").open("a") as file:
        file.write("[sources.news]\nkind = 'url'\nurls = ['https://anna:sesame@h/a']\n")
    done = run("config", "--data", "here", TIDEWIRE_API_KEY="sesame")
    lines = done.stdout.splitlines()
    assert 'data = "here"  # --data' in lines
    assert "limits.streams = 9  # tidewire.toml line 2" in lines
    assert 'server.api_key = "***"  # TIDEWIRE_API_KEY' in lines
    assert 'providers.mine.base_url = "http://h/v1"  # tidewire.toml line 4' in lines
    assert 'providers.mine.headers = {"X-Key" = "***"}  # tidewire.toml line 5' in lines
    assert 'sources.news.urls = ["https://***@h/a"]  # tidewire.toml line 8' in lines
    assert "sesame" not in done.stdout
    assert "server.port = 8400" in lines
    assert len(run("config", "--data", "here", "--changed").stdout.splitlines()) == 6


def test_wrong_settings_are_wrong_usage(run):
    done = run("config", TIDEWIRE_SERVER__PORT="x")
    assert done.exit_code == 2
    assert done.stderr.startswith("tidewire: TIDEWIRE_SERVER__PORT is 'x'")
    assert run("serve", TIDEWIRE_SERVER__PROT="1").exit_code == 2


def test_the_file_to_start_from_is_a_valid_one(run, tmp_path):
    (tmp_path / "mine.toml").write_text(run("config", "--default").stdout)
    assert run("config", "--config", "mine.toml", "--changed").stdout == ""


def test_the_table_is_markdown(run):
    assert run("config", "--table").stdout.startswith("| setting | default |")
