from __future__ import annotations

import msgspec
import pytest

from tidewire.client import Tidewire


@pytest.fixture
def stream(server) -> str:
    """One that has ended."""
    with Tidewire(server) as client, client.stream("simulated", "sim: tokens=4 ttft_ms=0 interval_ms=0") as answer:
        for _ in answer:
            pass
        return answer.stream


def test_a_stream_is_read_again_from_any_event(run, server, stream):
    lines = run("follow", stream, "--json", "--url", server).stdout.splitlines()
    events = [msgspec.json.decode(line) for line in lines]
    assert [event["seq"] for event in events] == list(range(1, len(events) + 1))
    assert events[-1]["type"] == "closed"
    assert run("follow", stream, "--after", "3", "--json", "--url", server).stdout.splitlines() == lines[3:]
    assert len(run("follow", stream, "--url", server).stdout.split()) == 4


def test_a_stream_that_never_was_is_a_failure(run, server):
    for command in ("follow", "cancel"):
        done = run(command, "nope", "--url", server)
        assert done.exit_code == 1
        assert done.stderr.startswith("tidewire: ")


def test_the_cache_is_counted_and_forgotten(run, server):
    assert run("cache", "--url", server).stdout == "0 answers kept, 0 bytes\n"
    assert run("cache", "--clear", "--url", server).stdout == "0 answers forgotten\n"


def test_cancel_says_whether_there_was_something_to_stop(run, server, stream):
    assert run("cancel", stream, "--url", server).stdout == "it had already ended\n"
    with Tidewire(server) as client, client.stream("simulated", "sim: tokens=100000 ttft_ms=0") as answer:
        next(iter(answer))
        assert run("cancel", answer.stream, "--url", server).stdout == "stopped\n"
        for _ in answer:
            pass
        assert answer.closed.status == "cancelled"


def test_models_lists_what_is_on_offer(run, server):
    done = run("models", "--url", server)
    assert [line.split()[0] for line in done.stdout.splitlines()] == ["simulated", "extractive"]


def test_the_server_of_the_folder_is_asked_unless_another_is_named(run, server, tmp_path):
    port = server.rpartition(":")[2]
    (tmp_path / "tidewire.toml").write_text(f"[server]\nport = {port}\n")
    assert "simulated" in run("models").stdout
    assert "simulated" in run("models", TIDEWIRE_SERVER__HOST="0.0.0.0", TIDEWIRE_SERVER__OPEN="true").stdout
    away = run("models", TIDEWIRE_URL="http://127.0.0.1:1")
    assert away.exit_code == 3
    assert "http://127.0.0.1:1 " in away.stderr


def test_settings_that_cannot_be_read_do_not_hide_where_the_server_is(run, server, tmp_path):
    (tmp_path / "tidewire.toml").write_text("[server\n")
    assert run("models").exit_code == 2
    assert run("models", "--url", server).exit_code == 0
