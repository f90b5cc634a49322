"""Which model hosts are there without being configured: servers on their usual local ports, and hosts whose key is set."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Final

import msgspec

from tidewire.core.errors import TidewireError
from tidewire.core.ports import ModelInfo, Speaker
from tidewire.providers.http import Host, Timeouts

PORTS: Final[Mapping[str, int]] = {"ollama": 11434, "vllm": 8000, "llamacpp": 8080, "lmstudio": 1234}
TITLES: Final[Mapping[str, str]] = {
    "ollama": "Ollama",
    "vllm": "vLLM",
    "llamacpp": "llama.cpp",
    "lmstudio": "LM Studio",
    "cohere": "Cohere",
    "openai": "OpenAI",
    "mistral": "Mistral",
    "groq": "Groq",
    "together": "Together AI",
    "openrouter": "OpenRouter",
    "deepseek": "DeepSeek",
    "xai": "xAI",
    "fireworks": "Fireworks AI",
    "perplexity": "Perplexity",
    "cerebras": "Cerebras",
    "nvidia": "NVIDIA",
    "moonshot": "Moonshot AI",
    "anthropic": "Anthropic",
}
PROBE: Final = 0.3  # seconds; a server on this machine answers in a few milliseconds

Listed = Callable[[bytes], Sequence[ModelInfo]]


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
    listed: Listed,
    keys: Mapping[str, tuple[str, str]],
    spoken: Mapping[str, Speaker],
    *,
    own_ports: Collection[int] = (),
    ports: Mapping[str, int] = PORTS,
    deadline: float = PROBE,
) -> list[Found]:
    """Local servers first, in the order of `ports`; then the hosts whose key is set. Takes `deadline` seconds at most.

    listed: reads what a local server answers at /v1/models. keys: kind of host -> its variable and its address; the address may be set
    in the environment too, as OPENAI_BASE_URL. spoken: local servers that have a protocol of their own, which is asked for before the
    one that all have. own_ports are those that this server listens on; it is never offered to itself.
    """
    probes = [
        _probe(name, port, listed, spoken.get(name), deadline) for name, port in ports.items() if port not in own_ports
    ]
    found = [one for one in await asyncio.gather(*probes) if one is not None]
    for kind, (variable, url) in keys.items():
        if environ.get(variable):
            base_url = environ.get(variable.removesuffix("_API_KEY") + "_BASE_URL") or url
            why = f"{TITLES.get(kind, kind)}, because {variable} is set"
            found.append(Found(kind, base_url, [], why, kind=kind, key_env=variable))
    return found


async def _probe(name: str, port: int, listed: Listed, own: Speaker | None, deadline: float) -> Found | None:
    """What lists models there, in its own protocol or at /v1/models, and is not a Tidewire."""
    root = f"http://127.0.0.1:{port}"
    why = f"found on port {port}, where {TITLES.get(name, name)} listens"
    asked = [_ask(root, own.listing, own.models, deadline)] if own is not None else []
    *natively, models = await asyncio.gather(*asked, _ask(root, "/v1/models", listed, deadline))
    if natively and natively[0]:
        return Found(name, root, natively[0], why, kind=name)
    return Found(name, f"{root}/v1", models, why) if models else None


async def _ask(root: str, path: str, listed: Listed, deadline: float) -> list[str]:
    """The models that are listed at a path; [] where nobody is, or somebody else."""
    host = Host(root, timeouts=Timeouts(connect=deadline), proxy="", idle_connections=0)
    try:
        status, headers, body = await host.fetch("GET", path, deadline=deadline)
        if status != 200 or headers.get("server", "").lower().startswith("tidewire"):
            return []
        return [row.id for row in listed(body)]
    except TidewireError:
        return []
