from __future__ import annotations

import http.server
import os
import sys
import threading
from pathlib import Path

import pytest

from tidewire.cli import checks
from tidewire.cli.tool_checks import tools
from tidewire.server.settings import Limits, Models, Provider, Server, Settings
from tidewire.server.tools_settings import Tools
from tidewire.stores.lock import DataLock

ALONE = Models(discover=False)


def test_a_machine_that_can_run_a_server_passes(run):
    done = run("doctor", TIDEWIRE_SERVER__PORT="0", TIDEWIRE_MODELS__DISCOVER="0")
    assert done.exit_code == 0
    assert done.stdout.startswith("ok    settings: valid")
    for name in (
        "python",
        "event loop",
        "sqlite",
        "data folder",
        "disk",
        "port",
        "open files",
        "clock",
        "console",
        "providers",
    ):
        assert f"  {name}: " in done.stdout or name == "providers"


def test_wrong_settings_fail_and_the_rest_is_looked_at_all_the_same(run):
    done = run("doctor", TIDEWIRE_SERVER__PROT="1")
    assert done.exit_code == 1
    assert "fail  settings: TIDEWIRE_SERVER__PROT" in done.stdout
    assert "  python: " in done.stdout
    assert "of 1" in done.stderr


def test_a_folder_in_use_or_not_writable_is_seen(tmp_path):
    assert checks.data_folder(tmp_path / "new" / "one").level == "ok"
    lock = DataLock(tmp_path)
    lock.acquire()
    held = checks.data_folder(tmp_path)
    lock.release()
    assert (held.level, str(os.getpid()) in held.said) == ("warn", True)
    assert checks.data_folder(tmp_path).level == "ok"
    assert checks.data_folder(Path("/proc")).level == "fail"


def test_a_taken_port_fails_unless_the_server_there_is_ours(server, host):
    other = checks.port(Settings(server=Server(port=int(host.split(":")[2].partition("/")[0]))))
    assert (other.level, "cannot be listened on" in other.said) == ("fail", True)
    ours = checks.port(Settings(server=Server(port=int(server.rpartition(":")[2]))))
    assert (ours.level, "Tidewire" in ours.said) == ("warn", True)


def test_too_few_open_files_is_a_warning_with_the_command():
    found = checks.open_files(Settings(limits=Limits(connections=1_000_000, streams=1_000_000)))
    assert found.level == "warn"
    assert found.todo.startswith("ulimit -n 2000100")


@pytest.fixture
def host():
    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(401 if "authorization" not in self.headers else 200)
            body = b'{"data": []}'
            self.send_header("content-length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *args: object) -> None: ...

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield f"http://127.0.0.1:{server.server_address[1]}/v1"
        server.shutdown()
        thread.join()


def test_configured_hosts_are_tried(host, monkeypatch):
    monkeypatch.setenv("HOST_KEY", "k")
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    given = {
        "open": Provider(base_url=host, api_key_env="HOST_KEY"),
        "shut": Provider(base_url=host),
        "unset": Provider(base_url=host, api_key_env="NO_SUCH_KEY"),
        "gone": Provider(base_url="http://127.0.0.1:9/v1"),
        "built": Provider(kind="simulated"),
    }
    found = {finding.name: finding.level for finding in checks.providers(Settings(providers=given, models=ALONE))}
    assert found == {
        "provider open": "ok", "provider shut": "fail", "provider unset": "fail", "provider gone": "warn", "provider built": "ok",
    }  # fmt: skip


def test_a_host_that_lists_no_models_is_not_called_reachable(monkeypatch):
    monkeypatch.setenv("AWS_BEARER_TOKEN_BEDROCK", "k")
    given = {"aws": Provider(kind="bedrock", region="us-east-1")}
    [found] = checks.providers(Settings(providers=given, models=ALONE))
    assert (found.level, "was not asked" in found.said) == ("ok", True)


def test_tool_servers_are_asked_what_they_bring(tmp_path):
    pytest.importorskip("mcp")
    (tmp_path / "pets.json").write_text('{"openapi": "3.1.0", "paths": {"/pets": {"get": {"operationId": "pets"}}}}')
    official = str(Path(__file__).parents[1] / "toolbox" / "mcp_official.py")
    given = {
        "pets": Tools(kind="openapi", document=str(tmp_path / "pets.json"), base_url="http://127.0.0.1:1"),
        "none": Tools(kind="openapi", document=str(tmp_path / "none.json"), base_url="http://127.0.0.1:1"),
        "sums": Tools(kind="mcp", command=[sys.executable, official]),
        "dead": Tools(kind="mcp", command=[sys.executable, "-c", "raise SystemExit(3)"]),
    }
    found = {one.name: one for one in tools(Settings(tools=given))}
    assert (found["tools pets"].level, found["tools pets"].said) == ("ok", "1 tools: pets")
    assert (found["tools none"].level, "No such file" in found["tools none"].said) == ("fail", True)
    assert (found["tools sums"].level, "10 tools: add, " in found["tools sums"].said) == ("ok", True)
    assert (found["tools dead"].level, "3" in found["tools dead"].said) == ("warn", True)
