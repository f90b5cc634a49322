"""How far the estimate of tokens is off, against what hosts counted of their own answers in recorded streams."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tidewire.core.tokens import of_text

RECORDINGS = Path(__file__).parents[3] / "shared" / "recordings" / "vercel-ai"
# Whole answers of nothing but text, with the share of the host's count that the estimate comes to, rounded.
WHOLE = {
    "alibaba-text": 1.10,
    "anthropic-clear-tool-uses.1": 0.91,
    "anthropic-json-output-format.1": 1.00,
    "deepseek-text": 1.06,
    "groq-text": 1.07,
    "lmstudio-basic.1": 1.09,
    "openai-text": 1.36,
}


def answer(path):
    """The text, and the tokens that the host counted: Chat Completions, Messages and Responses, one event a line."""
    text, tokens = "", 0
    for line in path.read_text(encoding="utf-8").splitlines():
        event = json.loads(line)
        for choice in event.get("choices") or []:
            text += choice["delta"].get("content") or ""
        tokens = (event.get("usage") or {}).get("completion_tokens", tokens)
        match event.get("type"):
            case "content_block_delta":
                text += event["delta"].get("text", "")
            case "message_delta":
                tokens = event["usage"]["output_tokens"]
            case "response.output_text.delta":
                text += event["delta"]
            case "response.completed":
                tokens = event["response"]["usage"]["output_tokens"]
            case _:
                pass
    return text, tokens


@pytest.mark.skipif(not RECORDINGS.is_dir(), reason=f"no recorded answers at {RECORDINGS}")
@pytest.mark.parametrize("name", WHOLE)
def test_the_estimate_is_as_far_off_as_is_written(name):
    (path,) = RECORDINGS.rglob(f"{name}.chunks.txt")
    text, tokens = answer(path)
    assert tokens > 100
    assert of_text(text) / tokens == pytest.approx(WHOLE[name], abs=0.006)
