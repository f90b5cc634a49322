"""The model hosts that a configuration may name: a row each. To add one that speaks a known protocol: a row here, and a test."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Mapping
from typing import Final

import msgspec

from tidewire.core.errors import SettingsError
from tidewire.core.ports import Speaker
from tidewire.dialects import prompt_markers
from tidewire.dialects.anthropic_host import VERSION, MessagesHost
from tidewire.dialects.azure_openai_host import AzureHost
from tidewire.dialects.bedrock_host import ConverseHost
from tidewire.dialects.bedrock_invoke_host import InvokeHost
from tidewire.dialects.cohere_host import CohereHost
from tidewire.dialects.gemini_host import GeminiHost
from tidewire.dialects.ollama_host import OllamaHost
from tidewire.dialects.openai_chat_host import ChatHost
from tidewire.dialects.openai_images import OpenAIImages
from tidewire.dialects.openai_images_host import ImagesHost
from tidewire.dialects.openai_quirks import QUIRKS
from tidewire.dialects.openai_responses_host import ResponsesHost
from tidewire.dialects.tgi_host import TGIHost
from tidewire.dialects.triton_host import TritonHost
from tidewire.providers.answers import Timeouts
from tidewire.providers.background import Background
from tidewire.providers.hosted import Hosted, Signer
from tidewire.server import bedrock, vertex
from tidewire.server import settings as s

Headers = Mapping[str, str]

_PREFILLED: Final = re.compile(r"claude-(?:instant|v?[23]|(?:opus|sonnet|haiku)-4(?:-[0-5])?(?:[-@]20\d{6}|-v\d|$))")


def bearer(key: str) -> Headers:
    return {"Authorization": f"Bearer {key}"}


class HostKind(msgspec.Struct, frozen=True, kw_only=True):
    """One kind of host.

    speaker: its dialect, from its settings. base_url: where it is, unless the settings say; made from them where it has regions. key_env: the environment variable that
    holds its key, unless the settings say; where that is set the host is offered without being configured. keyed: headers that carry the
    key. signer: where headers differ from request to request, made from the settings, the key and the base URL. provider: what asks it.
    usual: offered without being configured where its key is set. images: whether it has OpenAI's images/generations. probe: the path that a
    warm host is asked, to see that it answers; None: its list of models; "" for none, where that is long, or no host's own. prefill: whether
    a model goes on, letter for letter, from the beginning of an answer.
    """

    speaker: Callable[[s.Provider], Speaker]
    base_url: str | Callable[[s.Provider], str] = ""
    key_env: str = ""
    keyed: Callable[[str], Headers] = bearer
    signer: Callable[[s.Provider, str | None], Signer | None] = lambda given, key: None
    provider: type[Hosted] = Hosted
    usual: bool = True
    images: bool = False
    probe: str | None = None
    prefill: Callable[[str], bool] = lambda model: False


def chat(
    quirks: str,
    base_url: str = "",
    key_env: str = "",
    *,
    usual: bool = True,
    images: bool = False,
    probe: str | None = None,
) -> HostKind:
    """A host that speaks Chat Completions. quirks: its row in dialects/openai_quirks.py."""
    return HostKind(
        speaker=lambda given: ChatHost(QUIRKS[quirks]),
        base_url=base_url,
        key_env=key_env,
        usual=usual,
        images=images,
        probe=probe,
        prefill=lambda model: QUIRKS[quirks].prefill is not None,
    )


def claude_prefills(model: str) -> bool:
    """Anthropic took it out with Claude 4.6: its models refuse a conversation that ends with a message of the assistant."""
    return _PREFILLED.search(model) is not None


def aws(speaker: type[Speaker], prefill: Callable[[str], bool] = lambda model: False) -> HostKind:
    """Bedrock, by one of its protocols."""
    return HostKind(
        prefill=prefill,
        speaker=lambda given: speaker(),
        base_url=bedrock.base_url,
        key_env="AWS_BEARER_TOKEN_BEDROCK",
        signer=bedrock.signer,
    )


HOSTS: Final[dict[str, HostKind]] = {
    "anthropic": HostKind(
        speaker=lambda given: MessagesHost(),
        base_url="https://api.anthropic.com",
        key_env="ANTHROPIC_API_KEY",
        keyed=lambda key: {"x-api-key": key, "anthropic-version": VERSION},
        probe="/v1/models?limit=1",
        prefill=claude_prefills,
    ),
    "cohere": HostKind(
        speaker=lambda given: CohereHost(),
        base_url="https://api.cohere.com",
        key_env="CO_API_KEY",
        probe="/v1/models?endpoint=chat&page_size=1",
    ),
    "ollama": HostKind(speaker=lambda given: OllamaHost(), base_url="http://127.0.0.1:11434"),
    "compatible": chat("compatible", images=True),
    "openai": chat("openai", "https://api.openai.com/v1", "OPENAI_API_KEY", images=True),
    "azure": HostKind(
        speaker=lambda given: AzureHost(given.api_version),
        key_env="AZURE_OPENAI_API_KEY",
        keyed=lambda key: {"api-key": key},
    ),
    "mistral": chat("mistral", "https://api.mistral.ai/v1", "MISTRAL_API_KEY"),
    "groq": chat("groq", "https://api.groq.com/openai/v1", "GROQ_API_KEY"),
    "together": chat("together", "https://api.together.xyz/v1", "TOGETHER_API_KEY"),
    "openrouter": chat("openrouter", "https://openrouter.ai/api/v1", "OPENROUTER_API_KEY", probe=""),
    "deepseek": chat("deepseek", "https://api.deepseek.com/v1", "DEEPSEEK_API_KEY"),
    "xai": chat("xai", "https://api.x.ai/v1", "XAI_API_KEY"),
    "fireworks": chat("fireworks", "https://api.fireworks.ai/inference/v1", "FIREWORKS_API_KEY"),
    "perplexity": chat("perplexity", "https://api.perplexity.ai", "PERPLEXITY_API_KEY", probe=""),
    "cerebras": chat("cerebras", "https://api.cerebras.ai/v1", "CEREBRAS_API_KEY"),
    "nvidia": chat("nvidia", "https://integrate.api.nvidia.com/v1", "NVIDIA_API_KEY"),
    "moonshot": chat("moonshot", "https://api.moonshot.ai/v1", "MOONSHOT_API_KEY"),
    # a token that many have for downloads alone
    "huggingface": chat("huggingface", "https://router.huggingface.co/v1", "HF_TOKEN", usual=False, probe=""),
    "vllm": chat("vllm", "http://127.0.0.1:8000/v1"),
    "sglang": chat("sglang", "http://127.0.0.1:30000/v1"),
    "tensorrt-llm": chat("tensorrt-llm", "http://127.0.0.1:8000/v1"),
    "llamacpp": chat("llamacpp", "http://127.0.0.1:8080/v1"),
    "lmstudio": chat("lmstudio", "http://127.0.0.1:1234/v1"),
    "openai-responses": HostKind(
        speaker=lambda given: ResponsesHost(background=given.background),
        base_url="https://api.openai.com/v1",
        key_env="OPENAI_API_KEY",
        provider=Background,
        usual=False,  # the key is openai's, which is offered then
        images=True,
    ),
    "gemini": HostKind(
        speaker=lambda given: GeminiHost(),
        base_url="https://generativelanguage.googleapis.com",
        key_env="GEMINI_API_KEY",
        keyed=lambda key: {"x-goog-api-key": key},
        probe="/v1beta/models?pageSize=1",
    ),
    # a text is gone on with
    "tgi-generate": HostKind(
        speaker=lambda given: TGIHost(), base_url="http://127.0.0.1:3000", prefill=lambda model: True
    ),
    "triton": HostKind(
        speaker=lambda given: TritonHost(), base_url="http://127.0.0.1:8000", prefill=lambda model: True
    ),
    "bedrock": aws(ConverseHost),
    "bedrock-invoke": aws(InvokeHost, claude_prefills),
    "vertex": HostKind(
        speaker=vertex.speaker,
        base_url=vertex.base_url,
        signer=vertex.signer,
        probe="/v1beta1/publishers/google/models?pageSize=1",
    ),
}


# Kinds whose hosts keep the beginning of a prompt where it is marked.
MARKS: Final[dict[str, prompt_markers.Mark]] = {
    "anthropic": prompt_markers.anthropic,
    "bedrock-invoke": prompt_markers.anthropic,
    "bedrock": prompt_markers.converse,
    "openai": prompt_markers.cache_key,
    "azure": prompt_markers.cache_key,
    "openai-responses": prompt_markers.cache_key,
    "vllm": prompt_markers.cache_salt,
}


def _speaker(kind: str, name: str, given: s.Provider) -> Speaker:
    speaker = HOSTS[kind].speaker(given)
    if not given.prompt_markers:
        return speaker
    if kind not in MARKS:
        raise SettingsError(
            f"providers.{name}.prompt_markers is true, and hosts of kind {kind!r} take no marks; those that do are {', '.join(MARKS)}",
            param=f"providers.{name}.prompt_markers",
        )
    return prompt_markers.Marked(speaker, MARKS[kind])


def hosted(kind: str, name: str, given: s.Provider, note: str = "") -> Hosted:
    """The provider for a row. Raises SettingsError for what is missing."""
    row, speaker = HOSTS[kind], _speaker(kind, name, given)
    variable = given.api_key_env or row.key_env
    key = os.environ.get(variable) if variable else None
    if given.api_key_env and not key:
        raise SettingsError(
            f"providers.{name}.api_key_env is {given.api_key_env!r}, and that variable is not set; set it, or leave the "
            "setting out",
            param=f"providers.{name}.api_key_env",
        )
    return row.provider(
        name,
        given.base_url or (row.base_url if isinstance(row.base_url, str) else row.base_url(given)),
        speaker,
        others={OpenAIImages.name: ImagesHost()} if row.images else None,
        headers={**given.headers, **(row.keyed(key) if key else {})},
        secrets=[key] if key else [],
        signer=row.signer(given, key),
        models=given.models,
        prefix=f"{name}/",
        note=note,
        retries=given.retries,
        timeouts=Timeouts(
            connect=given.connect_s, header=given.header_s, first_token=given.first_token_s, idle=given.idle_s
        ),
        connections=given.connections,
        ca_file=given.ca_file or None,
        proxy=given.proxy or None,
        deadline_header=given.deadline_header,
        probe=speaker.listing if row.probe is None else row.probe,
        prefill=row.prefill,
    )


def spoken() -> dict[str, Speaker]:
    """The local servers that are found by themselves and asked in their own protocol, by their names."""
    return {kind: HOSTS[kind].speaker(s.Provider(kind=kind)) for kind in ("ollama",)}


def keys() -> dict[str, tuple[str, str]]:
    """The hosts that are offered where their key is set: kind -> variable and address."""
    return {
        kind: (row.key_env, row.base_url)
        for kind, row in HOSTS.items()
        if row.usual and row.key_env and isinstance(row.base_url, str) and row.base_url
    }
