"""The settings of [sessions]: conversations that the server keeps."""

from __future__ import annotations

from typing import Annotated, Literal

from msgspec import Meta

from tidewire.server.group import Bytes, Count, Group, Seconds


class Sessions(Group, frozen=True):
    """Conversations that the server keeps, for requests that ask for it."""

    store: Annotated[
        Literal["off", "memory", "disk"],
        Meta(description="off: such requests are refused; disk: sessions survive a restart, in the data folder."),
    ] = "memory"
    ttl_s: Annotated[Seconds, Meta(description="A session is forgotten this long after its last answer.")] = 3600.0
    turns: Annotated[Count, Meta(description="Turns of one session; the oldest go first.")] = 200
    session_bytes: Annotated[Bytes, Meta(description="What one session may take; the oldest turns go first.")] = 1 << 20
    bytes: Annotated[Bytes, Meta(description="What all sessions may take; those not used for longest go first.")] = (
        64 << 20
    )
    summary_model: Annotated[
        str, Meta(description="Writes summaries of long sessions after answers; none: old turns are left out instead.")
    ] = ""
    summarise_at: Annotated[
        float,
        Meta(gt=0, le=1, description="Share of a model's [context] budget above which a session is summarised."),
    ] = 0.5
    summary_recent: Annotated[int, Meta(ge=1, le=1000, description="Turns that are not summarised: the latest.")] = 4
    summary_tokens: Annotated[Count, Meta(description="Length of a summary.", extra={"unit": "tokens"})] = 600
    summary_s: Annotated[Seconds, Meta(description="Time for a summary.")] = 60.0
