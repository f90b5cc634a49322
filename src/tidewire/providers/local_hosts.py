"""Which model hosts are there without being configured: servers on their usual local ports, and hosts whose key is set."""

from __future__ import annotations

import asyncio
from collections.abc import Collection, Mapping
from typing import Final

import msgspec

from tidewire.core.errors import TidewireError
from tidewire.providers.compatible import listed
from tidewire.providers.http import Host, Timeouts

PORTS: Final[Mapping[str, int]] = {"ollama": 11434, "vllm": 8000, "llamacpp": 8080, "lmstudio": 1234}
TITLES: Final[Mapping[str, str]] = {
    "ollama": "Ollama",
    "vllm": "vLLM",
    "llamacpp": "llama.cpp",
    "lmstudio": "LM Studio",
}
PROBE: Final = 0.3  # seconds; a server on this machine answers in a few milliseconds


class Found(msgspec.Struct, frozen=True):
    """A host on offer. models: what it listed; [] for one that is not asked before it is used.

    key_env: the environment variable that holds its key. why: a sentence to show.
    """

    name: str
    base_url: str
    models: list[str]
    why: str
    key_env: str | None = None


async def discover(
    environ: Mapping[str, str],
    *,
    own_ports: Collection[int] = (),
    ports: Mapping[str, int] = PORTS,
    deadline: float = PROBE,
) -> list[Found]:
    """Local servers first, in the order of `ports`; then OpenAI where OPENAI_API_KEY is set. Takes `deadline` seconds at most.

    own_ports are those that this server listens on; it is never offered to itself.
    """
    probes = [_probe(name, port, deadline) for name, port in ports.items() if port not in own_ports]
    found = [one for one in await asyncio.gather(*probes) if one is not None]
    if environ.get("OPENAI_API_KEY"):
        base_url = environ.get("OPENAI_BASE_URL") or "https://api.openai.com/v1"
        found.append(Found("openai", base_url, [], "OpenAI, because OPENAI_API_KEY is set", key_env="OPENAI_API_KEY"))
    return found


async def _probe(name: str, port: int, deadline: float) -> Found | None:
    """What answers GET /v1/models there with a list, and is not a Tidewire."""
    base_url = f"http://127.0.0.1:{port}/v1"
    host = Host(base_url, timeouts=Timeouts(connect=deadline), proxy="", idle_connections=0)
    try:
        status, headers, body = await host.fetch("GET", "/models", deadline=deadline)
        models = [row.id for row in listed(body)] if status == 200 else []
    except TidewireError:  # nobody there, or somebody else
        return None
    if not models or headers.get("server", "").lower().startswith("tidewire"):
        return None
    title = TITLES.get(name, name)
    return Found(name, base_url, models, f"found on port {port}, where {title} listens")
