"""What is mutated: the replies of the matrix's hosts, recorded streams where they are at hand, and lists of models."""

from __future__ import annotations

import base64
import re
import sys
from collections import defaultdict
from pathlib import Path
from typing import Any, Final

from tidewire.core.ports import Speaker
from tidewire.core.request import Message, Request, Text, Thinking, Tool
from tidewire.dialects.openai_images_host import ImagesDecoder, ImagesHost
from tidewire.server.hosts import HOSTS
from tidewire.server.settings import Provider

ROOT = Path(__file__).parents[2]
RECORDINGS = ROOT.parent / "shared" / "recordings"
sys.path.insert(0, str(ROOT / "tests"))

from matrix.cases import CASES  # noqa: E402
from matrix.discovery import hosts  # noqa: E402

EVENTS: Final = 24  # of a recording
RECORDED: Final = {  # word in the name of a decoder -> folders of RECORDINGS
    "anthropic": ("vercel-ai/anthropic", "openllmetry/anthropic"),
    "gemini": ("vercel-ai/google",),
    "bedrock": ("openllmetry/bedrock",),
    "cohere": ("vercel-ai/cohere", "openllmetry/cohere"),
    "ollama": ("openllmetry/ollama",),
    "responses": ("vercel-ai/openai", "vercel-ai/open-responses", "vercel-ai/azure", "vercel-ai/xai"),
    "openai": tuple(f"vercel-ai/{name}" for name in ("openai", "groq", "mistral", "deepseek", "moonshotai", "alibaba", "cerebras", "perplexity", "xai")),
}  # fmt: skip
LISTS: Final = (
    b'{"object":"list","data":[{"id":"m","created":1,"object":"model","owned_by":"x"},{"id":"n"}],"has_more":false}',
    b'{"models":[{"name":"models/m","displayName":"M","supportedGenerationMethods":["generateContent"]}],"nextPageToken":"x"}',
    b'{"models":[{"name":"m:latest","model":"m:latest","modified_at":"2026-01-01T00:00:00Z","size":1,"details":{}}]}',
    b'{"modelSummaries":[{"modelId":"m","responseStreamingSupported":true}]}',
)
IMAGES: Final = (  # after the reference of OpenAI's image streaming
    (
        b'data: {"type":"image_generation.partial_image","b64_json":"aGVsbG8=","partial_image_index":0,"output_format":"png"}\n\n'
        b'data: {"type":"image_generation.completed","b64_json":"aGVsbG8gdGhlcmU=","output_format":"png","usage":{"total_tokens":3,'
        b'"input_tokens":1,"output_tokens":2,"input_tokens_details":{"text_tokens":1,"image_tokens":0}}}\n\n'
    ),
    (
        b'{"created":1790000000,"output_format":"webp","data":[{"b64_json":"aGVsbG8="},{"b64_json":"d29ybGQ="}],"usage":{"total_tokens":3,'
        b'"input_tokens":1,"output_tokens":2}}'
    ),
    b'event: error\ndata: {"type":"error","error":{"type":"image_generation_user_error","code":"moderation_blocked","message":"no"}}\n\n',
)
REQUESTS: Final = (
    Request(model="m", messages=[]),
    Request(
        record={"stream": True},
        model="m",
        messages=[Message("user", [Text("Hello?")])],
        tools=[Tool("get_weather", "", {"type": "object"})],
        response_format={"type": "json_schema", "json_schema": {"name": "x", "schema": {"type": "object"}}},
        thinking=Thinking(effort="low"),
        logprobs=1,
        n=2,
    ),
)


def speakers() -> dict[str, list[tuple[str, Speaker]]]:
    """The decoders by name, each with the rows of HOSTS that use it."""
    settings: dict[str, dict[str, Any]] = {host.KIND: getattr(host, "SETTINGS", {}) for host in hosts().values()}
    out: dict[str, list[tuple[str, Speaker]]] = defaultdict(list)
    for kind, row in HOSTS.items():
        given = Provider(**{"kind": kind, "base_url": "http://127.0.0.1:1", "project": "p"} | settings.get(kind, {}))
        speaker = row.speaker(given)
        out[type(speaker.decoder(REQUESTS[0])).__qualname__].append((kind, speaker))
        if row.images:
            out[ImagesDecoder.__qualname__].append((kind, ImagesHost()))
    return dict(out)


def answers(kinds: set[str], decoder: type) -> list[bytes]:
    """The good and the bad answers that these kinds of host give, as the matrix has them, and recorded ones for their decoder."""
    if decoder is ImagesDecoder:
        return list(IMAGES)
    out = []
    for host in hosts().values():
        if host.KIND in kinds:
            for case in CASES:
                try:
                    reply = host.reply(case)
                except Exception:  # noqa: BLE001, S112 - a case that the host has no words for
                    continue
                if reply.status == 200:
                    out.append(reply.body)
    name = decoder.__module__.rpartition(".")[2]
    for word, folders in RECORDED.items():
        if word in name:
            for folder in folders:
                out += recorded(RECORDINGS / folder)
            break
    return out or [b"data: {}\n\n", b"{}\n"]


def recorded(folder: Path) -> list[bytes]:
    """Short forms of the streams in a folder: of files with an event a line, and of whole HTTP answers."""
    out = []
    for file in sorted(folder.rglob("*.chunks.txt")):
        lines = [line for line in file.read_text().splitlines() if line.strip()]
        out.append(b"".join(_framed(line) for line in _shortened(lines)))
    for file in sorted(folder.rglob("*.yaml")):
        text = file.read_text()
        for body in re.findall(r"string: '((?:data|event): (?:[^']|'')*)'", text):
            said = re.sub(r" *\n(?: *\n)* *", lambda m: "\n" * (m.group().count("\n") - 1) or " ", body)
            frames = said.replace("''", "'").split("\n\n")
            out.append("\n\n".join(_shortened(frames)).encode() + b"\n\n")
        for body in re.findall(r"string: !!binary \|\n((?: +[\w+/=]+\n)+)", text):
            out.append(base64.b64decode("".join(body.split()))[:16_384])
    return out


def _shortened(lines: list[str]) -> list[str]:
    return lines if len(lines) <= EVENTS else lines[: EVENTS // 2] + lines[-EVENTS // 2 :]


def _framed(line: str) -> bytes:
    named = re.match(r'\{"type": ?"([\w.-]+)"', line)
    head = f"event: {named[1]}\n" if named else ""
    return f"{head}data: {line}\n\n".encode()
