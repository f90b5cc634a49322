"""Which model hosts are there without being configured: servers on their usual local ports, and hosts whose key is set."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Final

import msgspec

from tidewire.core.errors import TidewireError
from tidewire.core.ports import ModelInfo
from tidewire.providers.http import Host, Timeouts

PORTS: Final[Mapping[str, int]] = {"ollama": 11434, "vllm": 8000, "llamacpp": 8080, "lmstudio": 1234}
TITLES: Final[Mapping[str, str]] = {
    "ollama": "Ollama",
    "vllm": "vLLM",
    "llamacpp": "llama.cpp",
    "lmstudio": "LM Studio",
    "openai": "OpenAI",
    "anthropic": "Anthropic",
}
PROBE: Final = 0.3  # seconds; a server on this machine answers in a few milliseconds


class Found(msgspec.Struct, frozen=True):
    """A host on offer. models: what it listed; [] for one that is not asked before it is used.

    kind: of provider. key_env: the environment variable that holds its key. why: a sentence to show.
    """

    name: str
    base_url: str
    models: list[str]
    why: str
    kind: str = "compatible"
    key_env: str | None = None


async def discover(
    environ: Mapping[str, str],
    listed: Callable[[bytes], Sequence[ModelInfo]],
    keys: Mapping[str, tuple[str, str]],
    *,
    own_ports: Collection[int] = (),
    ports: Mapping[str, int] = PORTS,
    deadline: float = PROBE,
) -> list[Found]:
    """Local servers first, in the order of `ports`; then the hosts whose key is set. Takes `deadline` seconds at most.

    listed: reads what a local server answers at /models. keys: kind of host -> its variable and its address; the address may be set in
    the environment too, as OPENAI_BASE_URL. own_ports are those that this server listens on; it is never offered to itself.
    """
    probes = [_probe(name, port, listed, deadline) for name, port in ports.items() if port not in own_ports]
    found = [one for one in await asyncio.gather(*probes) if one is not None]
    for kind, (variable, url) in keys.items():
        if environ.get(variable):
            base_url = environ.get(variable.removesuffix("_API_KEY") + "_BASE_URL") or url
            why = f"{TITLES.get(kind, kind)}, because {variable} is set"
            found.append(Found(kind, base_url, [], why, kind=kind, key_env=variable))
    return found


async def _probe(name: str, port: int, listed: Callable[[bytes], Sequence[ModelInfo]], deadline: float) -> Found | None:
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
