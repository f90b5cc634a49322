from __future__ import annotations

import os
import pty
import re
import signal
import subprocess


def test_a_question_is_answered_and_its_figures_shown(run, server):
    done = run("chat", "--stats", "-m", "simulated", "sim: tokens=12 ttft_ms=0 interval_ms=0", "--url", server)
    assert done.exit_code == 0
    assert len(done.stdout.split()) == 12
    assert "first token after" in done.stderr
    assert "12 tokens" in done.stderr


def test_a_question_may_come_from_standard_input_and_no_question_is_an_error(run, server):
    done = run("chat", "--url", server, stdin="sim: tokens=3 ttft_ms=0 interval_ms=0")
    assert len(done.stdout.split()) == 3
    assert run("chat", "--url", server, stdin="").exit_code == 2
    assert run("chat", " ", "--url", server).exit_code == 2


def test_an_answer_that_fails_says_why_and_is_a_failure(run, server):
    done = run("chat", "sim: error=auth ttft_ms=0", "--url", server)
    assert done.exit_code == 1
    assert "failed: " in done.stderr


def test_an_unknown_model_and_a_missing_server_have_their_exit_codes(run, server):
    assert (done := run("chat", "-m", "nope", "hi", "--url", server)).exit_code == 1
    assert "there is no model 'nope'" in done.stderr
    assert (done := run("chat", "hi", "--url", "http://127.0.0.1:9")).exit_code == 3
    assert "tidewire serve" in done.stderr


def test_an_address_or_a_key_that_cannot_be_one_is_wrong_usage(run):
    for given, said in ((("--url", "nonsense"), "must look like http://"), (("--key", "\u00fc"), "no header can hold")):
        done = run("chat", "hi", *given)
        assert done.exit_code == 2
        assert said in done.stderr


def test_ctrl_c_stops_the_answer_at_the_server(spawn, run, server):
    process = spawn("chat", "sim: tokens=100000 ttft_ms=0 interval_ms=5")
    assert process.stdout.read(1)  # it is writing
    process.send_signal(signal.SIGINT)
    _, said = process.communicate(timeout=60)
    assert process.returncode == 130
    assert b"stopped (client)" in said


def test_talking_carries_what_was_said_before(spawn):
    ours, theirs = pty.openpty()
    process = spawn("chat", stdin=theirs)
    os.close(theirs)
    os.write(ours, b"sim: tokens=2 ttft_ms=0 interval_ms=0\n\nsim: tokens=3 ttft_ms=0 interval_ms=0\n\x04")
    out, _ = process.communicate(timeout=60)
    os.close(ours)
    assert process.returncode == 0
    assert len([word for word in re.split(r"\s+", out.decode().replace("> ", " ")) if word]) == 5


def test_help_teaches_every_command(run):
    listed = run("--help").output
    for name in ("demo", "serve", "chat", "ingest", "follow", "cancel", "models", "doctor", "config"):
        assert re.search(rf"^  {name} ", listed, re.MULTILINE)
        help_text = run(name, "--help").output
        assert re.search(r"Examples?:\n +tidewire", help_text), name
        assert "Exit codes: 0 " in " ".join(help_text.split()), name


def test_an_unknown_command_is_wrong_usage(run):
    assert run("chatt").exit_code == 2


def test_the_module_runs_as_the_script_does(spawn):
    out, _ = spawn("--version", stdout=subprocess.PIPE).communicate(timeout=60)
    assert out.startswith(b"tidewire, version ")
