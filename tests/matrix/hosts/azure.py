"""Chat Completions as Azure writes it: a first event without choices, filter results in every chunk. After recorded streams of its model router."""

from __future__ import annotations

from typing import Any

from matrix.cases import Reply
from matrix.hosts import compatible as openai

KIND = "azure"
SETTINGS: dict[str, Any] = {"api_version": "2024-10-21"}
BASE = ""
MODEL = "my deployment"
CANNOT: dict[str, str] = {}

FILTERED = {name: {"filtered": False, "severity": "safe"} for name in ("hate", "self_harm", "sexual", "violence")}
FIRST = {
    "choices": [],
    "created": 0,
    "id": "",
    "model": "",
    "object": "",
    "prompt_filter_results": [{"prompt_index": 0, "content_filter_results": FILTERED}],
}


def reply(case: str) -> Reply:
    if case == "error_before":
        return openai.busy(code="429", type=None)
    said = openai.reply(case)
    body = said.body.replace(
        b'"choices":[{"index"', b'"obfuscation":"q7","choices":[{"content_filter_results":{},"index"'
    )
    return Reply(said.status, said.headers, openai.event(FIRST) + body)
