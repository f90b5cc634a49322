"""The settings of reranking: which model reads what a search has found, and how long it may take."""

from __future__ import annotations

from typing import Annotated, Literal

from msgspec import Meta

from tidewire.server.group import Group


class Rerank(Group, frozen=True):
    """A model that reads each question beside what was found, and orders it anew."""

    kind: Annotated[
        Literal["none", "cohere", "jina", "voyage", "vllm", "tei", "file"],
        Meta(
            description="vllm: vLLM, or any host with its /rerank. tei: Text Embeddings Inference. file: an ONNX file on this machine."
        ),
    ] = "none"
    base_url: Annotated[
        str, Meta(description="Address that the host's API begins at; none: the host's. vllm and tei need one.")
    ] = ""
    api_key_env: Annotated[
        str, Meta(description="Name of the environment variable that holds the host's key; none: the host's usual one.")
    ] = ""
    model: Annotated[str, Meta(description="Model to ask for; none: the host's usual one. For file: its name.")] = ""
    file: Annotated[
        str, Meta(description="The ONNX file of a cross-encoder; its tokenizer.json is in the same folder.")
    ] = ""
    tokens: Annotated[
        int,
        Meta(
            ge=16, le=65_536, extra={"unit": "tokens"}, description="Of question and passage, that such a file reads."
        ),
    ] = 512
    threads: Annotated[int, Meta(ge=1, le=64, description="Threads that such a file may use.")] = 1
    candidates: Annotated[
        int, Meta(ge=2, le=200, description="Passages that it reads; what is behind them stays behind.")
    ] = 24
    deadline_ms: Annotated[
        float,
        Meta(
            gt=0,
            le=60_000,
            extra={"unit": "ms"},
            description="How long it may take; then the order stays as it was.",
        ),
    ] = 200.0
