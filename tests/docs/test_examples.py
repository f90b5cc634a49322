"""The examples run, each against a server."""

from __future__ import annotations

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
        [sys.executable, str(example)], env=client_environment, capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 0, done.stderr
    assert SAYS[example.name] in done.stdout


def test_functions_are_tools_of_the_server_and_a_model_calls_them(tmp_path):
    own = {"SERVER__PORT": "0", "DATA": str(tmp_path), "LOGGING__FORMAT": "json", "MODELS__DISCOVER": "0"}
    process = subprocess.Popen(
        [sys.executable, "-m", "tidewire.cli", "serve"],
        env=environment(**{f"TIDEWIRE_{name}": value for name, value in own.items()}),
        cwd=EXAMPLES / "tools",
        stderr=subprocess.PIPE,
    )
    try:
        lines = (json.loads(line) for line in process.stderr)
        address = next(line["address"] for line in lines if "address" in line)
        said = """sim: tool=tide,horn arguments='{"hour": 6}' text=Done. ttft_ms=0"""
        asked = {"model": "simulated", "input": said}
        answer = httpx.post(
            f"{address}/v1/streams", json=asked, headers={"accept": "application/json"}, timeout=30
        ).json()
    finally:
        process.terminate()
        process.stderr.close()
        process.wait()
    tide, horn = answer["server_calls"]
    assert json.loads(tide["result"]) == {"height": 0.51, "unit": "m"}
    assert horn["failed"]
    assert "hour" in horn["result"]
    assert answer["text"].endswith("Done.")


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
