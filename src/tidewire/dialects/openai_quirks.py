"""How the hosts that speak Chat Completions differ from OpenAI in what they take: data only, a row each.

Sources: each host's API reference on its public documentation pages, TensorRT-LLM's and vLLM's own protocol modules, and recorded
streams. What hosts answer differently needs no row: the decoder reads every variant.
"""

from __future__ import annotations

from typing import Any, Final, Literal

import msgspec

COUNT: Final[dict[str, Any]] = {"include_usage": True}


class Quirks(msgspec.Struct, frozen=True, kw_only=True):
    """limit: the host's name for the token limit; "" for the name that the client used.

    stream_options: what is sent under that name; {} where the host does not know the field and counts anyway. refused: what the host
    answers with an error, or passes over although the client would miss it: names of fields; "n" beside 1; "json_schema" as a response
    format; "name" of a message. known: all that it takes, where it refuses the rest; None where it does not. renamed: its own names of fields.
    thoughts: where earlier thinking is handed back: a field of the message, "blocks" of its content, or "" for nowhere. effort: the field that
    says how much to think, "reasoning" being an object. always: fields of every request. choose: tool_choice where there are tools and the
    client left it out, for a host whose default is none. base64: whether embeddings may be asked for in base64. prefill: fields of a request whose last
    message is the beginning of the answer; None where the host does not go on from there, or says it again.
    """

    limit: Literal["", "max_tokens", "max_completion_tokens"] = ""
    stream_options: dict[str, Any] = msgspec.field(default_factory=COUNT.copy)
    refused: frozenset[str] = frozenset()
    known: frozenset[str] | None = None
    renamed: dict[str, str] = {}
    thoughts: Literal["", "reasoning_content", "reasoning", "blocks"] = "reasoning_content"
    effort: Literal["reasoning_effort", "reasoning"] = "reasoning_effort"
    always: dict[str, Any] = {}
    choose: str | None = None
    base64: bool = True
    prefill: dict[str, Any] | None = None


PLAIN: Final = Quirks()

# Fields that change nothing in an answer: left out, and not refused, where a host does not know them.
HINTS: Final = frozenset(
    {"user", "metadata", "store", "safety_identifier", "prompt_cache_key", "prompt_cache_retention"}
)

_ASKED: Final = "model messages stream temperature top_p stop tools tool_choice parallel_tool_calls response_format"
_USUAL: Final = "frequency_penalty presence_penalty n reasoning_effort"

_MISTRAL: Final = f"{_ASKED} {_USUAL} max_tokens random_seed prediction prompt_mode safe_prompt metadata guardrails"
_TENSORRT: Final = (
    f"{_ASKED} {_USUAL} max_tokens stream_options logit_bias logprobs top_logprobs seed user thinking thinking_token_budget best_of "
    "use_beam_search top_k top_p_min min_p repetition_penalty length_penalty early_stopping stop_token_ids include_stop_str_in_output "
    "ignore_eos min_tokens skip_special_tokens spaces_between_special_tokens truncate_prompt_tokens prompt_ignore_length lora_request echo "
    "add_generation_prompt add_special_tokens documents chat_template chat_template_kwargs media_io_kwargs mm_processor_kwargs "
    "cache_salt priority"
)


def _refused(names: str) -> frozenset[str]:
    return frozenset(names.split())


QUIRKS: Final[dict[str, Quirks]] = {
    "compatible": PLAIN,
    # without the padding against traffic analysis, which would only be thrown away here
    "openai": Quirks(
        limit="max_completion_tokens",
        stream_options={**COUNT, "include_obfuscation": False},
        thoughts="",
    ),
    "azure": Quirks(limit="max_completion_tokens", thoughts=""),
    "azure-classic": Quirks(thoughts=""),
    "mistral": Quirks(
        limit="max_tokens",
        stream_options={},
        known=frozenset(_MISTRAL.split()),
        renamed={"seed": "random_seed"},
        thoughts="blocks",
        base64=False,
    ),
    "groq": Quirks(
        limit="max_completion_tokens",
        refused=_refused("n logprobs top_logprobs logit_bias name"),
        thoughts="reasoning",
    ),
    "together": Quirks(limit="max_tokens", thoughts="reasoning", base64=False),
    "openrouter": Quirks(refused=_refused("n"), thoughts="reasoning", effort="reasoning"),
    "deepseek": Quirks(limit="max_tokens", refused=_refused("n json_schema")),
    "xai": Quirks(),
    "fireworks": Quirks(),
    "perplexity": Quirks(
        limit="max_tokens", stream_options={}, refused=_refused("n logprobs top_logprobs tools"), thoughts=""
    ),
    "cerebras": Quirks(
        limit="max_completion_tokens",
        refused=_refused("n frequency_penalty presence_penalty logit_bias"),
        thoughts="reasoning",
    ),
    "nvidia": Quirks(limit="max_tokens"),
    "moonshot": Quirks(),
    # the times of this request: given where the server was started with --enable-per-request-metrics, passed over elsewhere
    "vllm": Quirks(
        thoughts="reasoning",
        always={"include_metrics": True},
        prefill={"continue_final_message": True, "add_generation_prompt": False},
    ),
    "sglang": Quirks(prefill={"continue_final_message": True}),
    "tensorrt-llm": Quirks(limit="max_tokens", known=frozenset(_TENSORRT.split()), choose="auto"),
    # with progress it also notices within a batch that its client has gone, not only after the whole prompt
    "llamacpp": Quirks(limit="max_tokens", always={"return_progress": True}, prefill={}),
    "lmstudio": Quirks(limit="max_tokens", refused=_refused("n logprobs top_logprobs")),
    "huggingface": Quirks(limit="max_tokens", refused=_refused("n")),
}
