"""The settings of [cache]: answers that need not be asked for again."""

from __future__ import annotations

from typing import Annotated, Literal

from msgspec import Meta

from tidewire.server.group import Bytes, Group, Seconds


class Cache(Group, frozen=True):
    """Answers that need not be asked for again. Off unless asked for: it changes what a repeated question gets."""

    answers: Annotated[
        Literal["off", "asked", "deterministic", "all"],
        Meta(
            description="Which answers are kept and given again: those whose requests say how old they may be (Cache-Control: "
            "max-age), those with temperature 0 too, or all."
        ),
    ] = "off"
    coalesce: Annotated[
        bool, Meta(description="Equal requests under way share one answer of the host, whatever their temperature.")
    ] = False
    scope: Annotated[
        Literal["tenant", "user"],
        Meta(description="Who shares: everybody of a tenant, or only requests that name the same user."),
    ] = "tenant"
    store: Annotated[
        Literal["memory", "disk"], Meta(description="disk: kept answers survive a restart, in the data folder.")
    ] = "memory"
    bytes: Annotated[Bytes, Meta(description="What all kept answers may take.")] = 64 << 20
    entry_bytes: Annotated[Bytes, Meta(description="The largest answer that is kept, about.")] = 1 << 20
    ttl_s: Annotated[Seconds, Meta(description="How long an answer is kept.")] = 3600.0
    replay: Annotated[
        Literal["at_once", "paced", "original"],
        Meta(description="How a kept answer is given: at once, at `pace`, or in its own time."),
    ] = "at_once"
    semantic: Annotated[
        bool,
        Meta(
            description="Questions in almost the same words share answers; needs an embedding model. See docs/cache.md."
        ),
    ] = False
    similarity: Annotated[
        float, Meta(ge=0.5, le=1, description="The least cosine of two such questions, beside their words.")
    ] = 0.9
    pace: Annotated[
        float, Meta(gt=0, le=100_000, extra={"unit": "tokens/s"}, description="How fast, with replay = paced.")
    ] = 100.0
