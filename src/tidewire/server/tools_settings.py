"""The settings of tools that the server runs: [tools.NAME], one table a toolset, and [tool_calls], what all calls share."""

from __future__ import annotations

from typing import Annotated

from msgspec import Meta

from tidewire.server.group import Bytes, Count, Group, Seconds


class Tools(Group, frozen=True):
    """Tools that the server runs itself when a model calls them: [tools.NAME]."""

    kind: Annotated[
        str, Meta(min_length=1, description="One of the kinds in docs/tools.md, or that of another package.")
    ] = "function"
    function: Annotated[
        str, Meta(description='For kind function: where it is, "package.module:name"; NAME is what the model calls it.')
    ] = ""
    models: Annotated[
        list[str], Meta(description="Only for these models, by the names that clients ask for; none: all.")
    ] = []
    timeout_s: Annotated[Seconds, Meta(description="Time for one try of a call.")] = 30.0
    idempotent: Annotated[
        bool, Meta(description="A call may be made twice without harm: one that failed on its way is tried again.")
    ] = False
    retries: Annotated[int, Meta(ge=0, le=10, description="More tries of a call, where idempotent.")] = 1
    result_bytes: Annotated[
        Bytes, Meta(description="Size of a result in UTF-8; a larger one is a failed call, and is not shown.")
    ] = 256 * 1024


class ToolCalls(Group, frozen=True):
    """What holds for all calls of tools that the server runs."""

    rounds: Annotated[
        int, Meta(ge=1, le=1000, description="How often a model may call tools and be asked again in one answer.")
    ] = 8
    calls: Annotated[Count, Meta(description="Calls of one answer.")] = 64
    parallel: Annotated[Count, Meta(description="Calls of one answer that run at once.")] = 8
    threads: Annotated[
        Count, Meta(description="Threads for functions that are not async, one for each call that runs.")
    ] = 64
    heartbeat_s: Annotated[
        Seconds, Meta(description="A call that runs and says nothing is told of this often.")
    ] = 10.0
