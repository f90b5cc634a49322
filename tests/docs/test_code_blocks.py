"""The code in the pages runs as it stands: `bash` and `python` page by page, as a reader pastes it; `js` in a browser; `ts` and `tsx` in node."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys

import pytest
from pages import ROOT, blocks, name, with_blocks

CHROMIUM = next((p for n in ("chromium", "chromium-browser", "google-chrome") if (p := shutil.which(n))), None)
FLAGS = "--headless=new --no-sandbox --disable-gpu --disable-background-networking --disable-component-update --disable-sync --no-first-run"
AI_SDK = ROOT / "tests" / "end_to_end" / "ai_sdk"
ESBUILD = ROOT / "web" / "node_modules" / ".bin" / "esbuild"


@pytest.mark.parametrize("page", with_blocks("bash"), ids=name)
def test_the_commands_of_a_page_run_one_after_another(page, here, client_environment, tmp_path):
    if shutil.which("curl") is None:
        pytest.skip("curl is not installed")
    steps = [f"echo '--- {name(page)} line {b.line}' >&2\n{b.text}" for b in blocks(page, "bash")]
    script = "set -eu\n" + here("\n".join(steps))
    done = subprocess.run(
        ["bash", "-c", script],
        env=client_environment,
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stderr + done.stdout
    assert done.stdout.strip()
    assert '{"error":' not in done.stdout


@pytest.mark.parametrize("page", with_blocks("python"), ids=name)
def test_the_python_of_a_page_runs(page, here, client_environment, tmp_path):
    program = "\n".join(
        here(b.text).replace("from __future__ import annotations\n", "") for b in blocks(page, "python")
    )
    done = subprocess.run(
        [sys.executable, "-W", "error::SyntaxWarning", "-c", program],
        env=client_environment,
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() or name(page) == "CONTRIBUTING.md"


@pytest.mark.browser
@pytest.mark.parametrize("page", with_blocks("js"), ids=name)
async def test_the_browser_code_of_a_page_prints_the_answer(page, address, here):
    if CHROMIUM is None:
        pytest.skip("no chromium on this machine")
    playwright = pytest.importorskip("playwright.async_api", reason="the playwright package is not installed")
    async with playwright.async_playwright() as driver:
        browser = await driver.chromium.launch(executable_path=CHROMIUM, args=FLAGS.split())
        tab = await browser.new_page()
        await tab.goto(f"{address}/healthz")
        for block in blocks(page, "js"):
            said = []
            tab.on("console", lambda message, said=said: said.append(message.text))
            ended = "await new Promise((end) => events.addEventListener('closed', end));"
            await tab.evaluate(f"async () => {{ {here(block.text)} {ended} }}")
            assert len("".join(said).split()) > 5
        await browser.close()


@pytest.mark.parametrize("page", with_blocks("ts"), ids=name)
def test_the_typescript_of_a_page_reads_an_answer(page, here, node, client_environment, tmp_path):
    if not ESBUILD.exists():
        pytest.skip("the packages of web/ are not installed: npm ci in web/")
    source, built = tmp_path / "page.ts", tmp_path / "page.mjs"
    screen = "globalThis.document = { body: { textContent: '' } };\n"
    code = "".join(b.text for b in blocks(page, "ts")).replace("'./web/", f"'{ROOT.as_posix()}/web/")
    source.write_text(here(screen + code) + "console.log(document.body.textContent);\nprocess.exit(0);\n")
    bundle = [str(ESBUILD), str(source), "--bundle", "--format=esm", "--platform=node", f"--outfile={built}"]
    subprocess.run(bundle, check=True, capture_output=True, timeout=60)
    done = subprocess.run(
        [node, str(built)], env=client_environment, capture_output=True, text=True, timeout=120, check=False
    )
    assert done.returncode == 0, done.stderr
    *states, text = done.stdout.strip().split("\n")
    assert states[:2] == ["connecting", "live"]
    assert len(text.split()) > 5


@pytest.mark.parametrize("page", ["README.md", "examples/usechat/page.tsx"])
def test_the_transport_of_use_chat_streams(page, here, node, client_environment):
    if not (AI_SDK / "node_modules" / "ai").is_dir():
        pytest.skip("the AI SDK is not installed: npm ci in tests/end_to_end/ai_sdk")
    text = (
        (ROOT / page)
        .read_text(encoding="utf-8")
        .replace("`${server}", "'http://127.0.0.1:8400")
        .replace("chat`", "chat'")
    )
    transport = re.search(r"new DefaultChatTransport\(\{.*\}\)", text)
    assert transport is not None
    program = (
        "import { DefaultChatTransport } from 'ai';\n"
        f"const transport = {here(transport[0])};\n"
        "const parts = [{ type: 'text', text: 'How do I resume a stream?' }];\n"
        "const ask = { chatId: 'c', trigger: 'submit-message', messages: [{ id: 'u', role: 'user', parts }] };\n"
        "let text = '';\n"
        "for await (const chunk of await transport.sendMessages(ask)) if (chunk.type === 'text-delta') text += chunk.delta;\n"
        "console.log(text);\n"
    )
    done = subprocess.run(
        [node, "--input-type=module", "-e", program],
        env=client_environment,
        cwd=AI_SDK,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert len(done.stdout.split()) > 5
