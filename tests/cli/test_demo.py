from __future__ import annotations

import signal
import socket

import pytest


@pytest.fixture
def docs(tmp_path):
    folder = tmp_path / "notes"
    folder.mkdir()
    (folder / "backups.md").write_text("# Backups\n\nBackups are made at night. They are kept for thirty days.\n")
    return str(folder)


EXTRACTIVE = {
    "TIDEWIRE_MODELS__DEFAULT": "extractive",
    "TIDEWIRE_RETRIEVAL__PACE": "5000",
    "TIDEWIRE_SERVER__PORT": "0",
}


def test_the_whole_walk_to_its_end(spawn, docs):
    process = spawn("demo", docs, env={**EXTRACTIVE, "TIDEWIRE_DEMO_EXIT": "1"})
    out, err = (text.decode() for text in process.communicate(timeout=60))
    assert process.returncode == 0, err
    assert "1 files indexed" in out
    assert "The model extractive answers." in out
    assert "> What is Backups about?" in out
    assert "Backups are made at night." in out
    assert "no direct answer" not in out
    assert "[1] Backups" in out
    assert "tokens/s" in err


def test_it_stays_until_ctrl_c_and_takes_another_port_where_its_own_is_taken(spawn, docs):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        process = spawn(
            "demo",
            docs,
            "--question",
            "How long are backups kept?",
            env={**EXTRACTIVE, "TIDEWIRE_SERVER__PORT": str(port)},
        )
        out = ""
        while "Ctrl-C stops the server" not in out:
            line = process.stdout.readline().decode()
            assert line, process.stderr.read().decode()
            out += line
    assert "The console is open at http://127.0.0.1:" in out
    assert f":{port}/" not in out
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=60)
    assert process.returncode == 0
    assert f"Port {port} is taken; using " in err.decode()


def test_a_port_that_was_asked_for_and_is_taken_is_an_error(run, docs):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        done = run("demo", docs, "--port", str(taken.getsockname()[1]))
    assert done.exit_code == 2
    assert "is taken" in done.stderr


def test_it_only_listens_on_loopback(run, docs):
    done = run("demo", docs, TIDEWIRE_SERVER__HOST="0.0.0.0", TIDEWIRE_API_KEY="k")
    assert done.exit_code == 2
    assert "loopback" in done.stderr


def test_a_folder_without_anything_to_read_is_said_to_be_one(run, tmp_path):
    (tmp_path / "empty").mkdir()
    done = run("demo", "empty")
    assert done.exit_code == 2
    assert "nothing in that folder could be read" in done.stderr
