"""The settings of tools that the server runs: [tools.NAME], one table a toolset, and [tool_calls], what all calls share."""

from __future__ import annotations

from typing import Annotated, Literal

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
    document: Annotated[
        str, Meta(description="For kind openapi: the service's OpenAPI document, a file or an address.")
    ] = ""
    base_url: Annotated[
        str, Meta(description="For kind openapi: where the service is; what the document says of that is not read.")
    ] = ""
    include: Annotated[
        list[str], Meta(description="For kind openapi: only these operations, by operationId or tag; none: all.")
    ] = []
    exclude: Annotated[list[str], Meta(description="For kind openapi: all but these operations.")] = []
    writes: Annotated[
        bool, Meta(description="For kind openapi: also operations that may change something, not GET and HEAD alone.")
    ] = False
    command: Annotated[
        list[str], Meta(description="For kind mcp: a program to start, with its arguments, in place of url.")
    ] = []
    env: Annotated[
        dict[str, str], Meta(description="For kind mcp: the program's environment, beside PATH, HOME, LANG and TMPDIR.")
    ] = {}
    env_names: Annotated[
        list[str], Meta(description="For kind mcp: variables of our environment that the program gets too.")
    ] = []
    log_stderr: Annotated[
        bool,
        Meta(
            description="For kind mcp: the program's standard error goes to our log; words of a question may be in it."
        ),
    ] = False
    url: Annotated[str, Meta(description="For kind mcp: address of a server elsewhere, in place of command.")] = ""
    revision: Annotated[
        Literal["auto", "2025-11-25", "2026-07-28"],
        Meta(description="For kind mcp: the protocol's revision; auto asks the server."),
    ] = "auto"
    headers: Annotated[
        dict[str, str], Meta(description="For kinds openapi and mcp: headers that go with every request.")
    ] = {}
    api_key_env: Annotated[
        str, Meta(description="For kinds openapi and mcp: name of the environment variable that holds the key.")
    ] = ""
    api_key_header: Annotated[
        str, Meta(description="Header that the key goes in as it is; none: Authorization, as Bearer.")
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
    heartbeat_s: Annotated[Seconds, Meta(description="A call that runs and says nothing is told of this often.")] = 10.0
