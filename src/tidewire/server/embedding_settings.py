"""The settings of embedding: which encoder turns texts into vectors, and how it is asked."""

from __future__ import annotations

from typing import Annotated, Literal

from msgspec import Meta

from tidewire.server.group import Group


class Former(Group, frozen=True):
    """The encoder before this one: as long as vectors of it are left, questions are encoded by both."""

    kind: Annotated[
        Literal["auto", "none", "openai", "cohere", "voyage", "jina"],
        Meta(
            description="auto: the local model, where it is installed and made them. none: such chunks are found by words."
        ),
    ] = "auto"
    model: Annotated[str, Meta(description="As in embedding.")] = ""
    base_url: Annotated[str, Meta(description="As in embedding.")] = ""
    api_key_env: Annotated[str, Meta(description="As in embedding.")] = ""
    dimensions: Annotated[int, Meta(ge=0, le=8192, description="As in embedding.")] = 0


class Embedding(Group, frozen=True):
    """What turns texts into vectors of meaning, for search."""

    kind: Annotated[
        Literal["auto", "none", "minilm", "openai", "cohere", "voyage", "jina"],
        Meta(
            description="auto: the local model where it is installed, else none. none: search by words alone. openai: any host "
            "that speaks OpenAI's Embeddings."
        ),
    ] = "auto"
    model: Annotated[str, Meta(description="Model of a hosted encoder; none: the host's usual one.")] = ""
    base_url: Annotated[str, Meta(description="Address that a hosted encoder's API begins at; none: the host's.")] = ""
    api_key_env: Annotated[
        str, Meta(description="Name of the environment variable that holds the host's key; none: the host's usual one.")
    ] = ""
    dimensions: Annotated[
        int,
        Meta(ge=0, le=8192, description="Numbers of a vector that a hosted encoder is asked for; 0: the model's own."),
    ] = 0
    folder: Annotated[
        str,
        Meta(description="Folder of the local model (model.safetensors, tokenizer.json); none: that of its package."),
    ] = ""
    threads: Annotated[int, Meta(ge=1, le=64, description="Threads that the local model may use for one text.")] = 1
    slice_ms: Annotated[
        float,
        Meta(
            gt=0,
            le=60_000,
            extra={"unit": "ms"},
            description="Time that a batch of documents may keep queries waiting, unless a single one takes longer.",
        ),
    ] = 25.0
    waiting: Annotated[
        int, Meta(ge=2048, le=1_000_000, description="Texts that may wait to be embedded; above it 429.")
    ] = 16_384
    requests: Annotated[int, Meta(ge=1, le=64, description="Requests to a hosted encoder at once.")] = 4
    timeout_s: Annotated[
        float, Meta(gt=0, le=600, extra={"unit": "s"}, description="Time for one request to a hosted encoder.")
    ] = 30.0
    retries: Annotated[int, Meta(ge=0, le=10, description="More tries of one request.")] = 2
    kept: Annotated[int, Meta(ge=0, le=1_000_000, description="Questions whose vectors are kept in memory.")] = 4096
    former: Former = Former()
