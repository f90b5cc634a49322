"""A client of Bedrock's ConverseStream that reads raw bytes: the messages by the parser of AWS's SDK, the events by the reference."""

from __future__ import annotations

import json
from typing import Any
from urllib.parse import quote

from botocore.eventstream import EventStreamBuffer

from matrix.cases import PROMPT, SCHEMA, TOOL, Answer, Question, Usage

NAME = "bedrock"
CANNOT: dict[str, str] = {}

SPEC = {"name": TOOL["name"], "description": TOOL["description"], "inputSchema": {"json": TOOL["parameters"]}}
FORMAT = {"type": "json_schema", "structure": {"jsonSchema": {"schema": json.dumps(SCHEMA), "name": "person"}}}
ASKS: dict[str, dict[str, Any]] = {
    "tool_call": {"toolConfig": {"tools": [{"toolSpec": SPEC}]}},
    "parallel_tool_calls": {"toolConfig": {"tools": [{"toolSpec": SPEC}], "toolChoice": {"auto": {}}}},
    "thinking": {"outputConfig": {"effort": "medium"}},
    "structured": {"outputConfig": {"textFormat": FORMAT}},
    "length": {"inferenceConfig": {"maxTokens": 2}},
}
FINISH = {
    "end_turn": "stop",
    "max_tokens": "length",
    "tool_use": "tool_calls",
    "content_filtered": "content_filter",
    "guardrail_intervened": "content_filter",
}


def question(case: str, model: str) -> Question:
    body = {"messages": [{"role": "user", "content": [{"text": PROMPT}]}]}
    return Question(f"/model/{quote(model, safe='')}/converse-stream", body | ASKS.get(case, {}))


def read(status: int, headers: dict[str, str], body: bytes) -> Answer:
    if status != 200:
        assert headers["x-amzn-errortype"].endswith("Exception")
        return Answer(finish="error", error=(status, json.loads(body)["message"]))
    assert headers["content-type"] == "application/vnd.amazon.eventstream"
    buffer = EventStreamBuffer()
    buffer.add_data(body)
    blocks: dict[int, dict[str, Any]] = {}
    over: set[int] = set()
    finish = ""
    usage = None
    for n, message in enumerate(buffer):
        said = json.loads(message.payload)
        if message.headers[":message-type"] == "exception":
            assert message.headers[":exception-type"].endswith("Exception")
            return Answer(**_said(blocks), finish="error", error=(None, said["message"]))
        assert message.headers[":content-type"] == "application/json"
        name = message.headers[":event-type"]
        assert (name == "messageStart") == (n == 0)
        match name:
            case "contentBlockStart":
                assert said["contentBlockIndex"] == len(blocks)
                blocks[said["contentBlockIndex"]] = {"text": "", "thinking": "", "input": "", **said["start"]}
            case "contentBlockDelta":
                assert said["contentBlockIndex"] not in over
                block = blocks.setdefault(said["contentBlockIndex"], {"text": "", "thinking": "", "input": ""})
                delta = said["delta"]
                block["text"] += delta.get("text", "")
                block["thinking"] += delta.get("reasoningContent", {}).get("text", "")
                block["input"] += delta.get("toolUse", {}).get("input", "")
            case "contentBlockStop":
                assert said["contentBlockIndex"] in blocks
                over.add(said["contentBlockIndex"])
            case "messageStop":
                assert over == set(blocks) == set(range(len(blocks)))
                finish = FINISH[said["stopReason"]]
            case "metadata":
                usage = _usage(said["usage"])
    calls = tuple((b["toolUse"]["name"], json.loads(b["input"])) for b in blocks.values() if "toolUse" in b)
    return Answer(**_said(blocks), calls=calls, finish=finish, usage=usage)


def _said(blocks: dict[int, dict[str, Any]]) -> dict[str, str]:
    return {field: "".join(block[field] for block in blocks.values()) for field in ("text", "thinking")}


def _usage(raw: dict[str, Any]) -> Usage:
    cached = raw.get("cacheReadInputTokens", 0)
    prompt = raw["inputTokens"] + cached + raw.get("cacheWriteInputTokens", 0)
    assert raw["totalTokens"] == prompt + raw["outputTokens"]
    return Usage(prompt, raw["outputTokens"], cached)
