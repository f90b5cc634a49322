"""The examples run, each against a server."""

from __future__ import annotations

import contextlib
import functools
import http.server
import json
import shutil
import subprocess
import sys
import threading

import httpx
import pytest
from pages import ROOT

from docs.conftest import environment

EXAMPLES = ROOT / "examples"
CHROMIUM = next((p for n in ("chromium", "chromium-browser", "google-chrome") if (p := shutil.which(n))), None)
ESBUILD = EXAMPLES.parent / "web" / "node_modules" / ".bin" / "esbuild"
FLAGS = "--headless=new --no-sandbox --disable-gpu --disable-background-networking --disable-component-update --disable-sync --no-first-run"
SAYS = {
    "openai_chat.py": " tokens",
    "openai_responses.py": "completed",
    "resume.py": "completed at event",
    "websocket.py": "'a': 'completed'",
}


@pytest.mark.parametrize("example", sorted(EXAMPLES.glob("python/*.py")), ids=lambda path: path.name)
def test_a_python_example_runs_to_its_end(example, client_environment):
    done = subprocess.run(
        [sys.executable, str(example)], env=client_environment, capture_output=True, text=True, timeout=120, check=False
    )
    assert done.returncode == 0, done.stderr
    assert SAYS[example.name] in done.stdout


@contextlib.contextmanager
def _served(folder: str, data):
    """A server with the settings of an example's folder: its address."""
    own = {"SERVER__PORT": "0", "DATA": str(data), "LOGGING__FORMAT": "json", "MODELS__DISCOVER": "0"}
    process = subprocess.Popen(
        [sys.executable, "-m", "tidewire.cli", "serve"],
        env=environment(**{f"TIDEWIRE_{name}": value for name, value in own.items()}, TIDEWIRE_EMBEDDING__KIND="none"),
        cwd=EXAMPLES / folder,
        stderr=subprocess.PIPE,
    )
    try:
        lines = (json.loads(line) for line in process.stderr)
        yield next(line["address"] for line in lines if "address" in line)
    finally:
        process.terminate()
        process.stderr.close()
        process.wait()


def test_functions_are_tools_of_the_server_and_a_model_calls_them(tmp_path):
    with _served("tools", tmp_path) as address:
        said = """sim: tool=tide,horn arguments='{"hour": 6}' text=Done. ttft_ms=0"""
        asked = {"model": "simulated", "input": said}
        answer = httpx.post(
            f"{address}/v1/streams", json=asked, headers={"accept": "application/json"}, timeout=30
        ).json()
    tide, horn = answer["server_calls"]
    assert json.loads(tide["result"]) == {"height": 0.51, "unit": "m"}
    assert horn["failed"]
    assert "hour" in horn["result"]
    assert answer["text"].endswith("Done.")


def test_an_answer_from_documents_cites_them_and_marks_what_has_changed(tmp_path):
    with _served("documents", tmp_path) as address:
        run = functools.partial(
            subprocess.run,
            env=environment(TIDEWIRE_URL=address),
            capture_output=True,
            text=True,
            timeout=120,
            check=True,
        )
        asked = run([sys.executable, str(EXAMPLES / "documents" / "ask.py")]).stdout
        assert asked.startswith("given: [1] Days of leave, [2] At the end of the year\nYou have 30 days")
        assert "Days of leave: A year has 30 days of leave." in asked
        assert "superseded: Days of leave has changed" in asked
        assert asked.endswith("2 passages given, 2 cited, 1 superseded\n")
        annotated = run([sys.executable, str(EXAMPLES / "documents" / "openai_client.py")]).stdout
        assert "'Up to five move into the next year' is from At the end of the year (rest.md)" in annotated
        node = shutil.which("node")
        if node is None or not ESBUILD.exists():
            return
        bundled = run(
            [str(ESBUILD), str(EXAMPLES / "documents" / "ask.ts"), "--bundle", "--format=esm", "--platform=node"]
        )
        told = run([node, "--input-type=module", "-"], input=bundled.stdout).stdout.splitlines()
    assert told[1].startswith("1. Days of leave, changed while this was being written: A year has 30 days")
    assert told[2].startswith("2. At the end of the year: Up to five days")


class _Quiet(http.server.SimpleHTTPRequestHandler):
    def log_message(self, *_):
        pass


@pytest.fixture
def elsewhere():
    """The page of the example, on an origin of its own."""
    handler = functools.partial(_Quiet, directory=str(EXAMPLES / "browser-eventsource"))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}/"
        server.shutdown()
        thread.join()


@pytest.mark.browser
async def test_a_page_on_another_origin_asks_reloads_and_still_has_the_answer(address, elsewhere):
    if CHROMIUM is None:
        pytest.skip("no chromium on this machine")
    playwright = pytest.importorskip("playwright.async_api", reason="the playwright package is not installed")
    async with playwright.async_playwright() as driver:
        browser = await driver.chromium.launch(executable_path=CHROMIUM, args=FLAGS.split())
        page = await browser.new_page()
        await page.goto(f"{elsewhere}?server={address}")
        await page.click("text=Ask")
        ended = page.locator("#state", has_text="completed (stop)")
        await ended.wait_for()
        before = await page.inner_text("#answer")
        await page.reload()
        await ended.wait_for()
        assert await page.inner_text("#answer") == before
        assert len(before.split()) > 5
        await browser.close()
