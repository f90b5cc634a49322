"""A document as a service might write it, and calls against a scripted service."""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

from tidewire.toolbox.openapi import OpenApiTools, Service
from tidewire.toolbox.openapi_document import Choice, Operation, operations
from tidewire.toolbox.port import CallContext, Terms
from upstream import Upstream

PETS: dict[str, Any] = {
    "openapi": "3.0.3",
    "info": {"title": "Pets", "version": "1"},
    "servers": [{"url": "http://169.254.169.254/"}],
    "paths": {
        "/pets/{id}": {
            "parameters": [{"name": "id", "in": "path", "required": True, "schema": {"type": "string"}}],
            "get": {"operationId": "getPet", "summary": "One pet", "tags": ["pets"]},
            "put": {
                "operationId": "changePet",
                "tags": ["pets"],
                "requestBody": {
                    "required": True,
                    "content": {"application/json": {"schema": {"$ref": "#/components/schemas/Pet"}}},
                },
            },
        },
        "/pets": {
            "get": {
                "operationId": "list.pets",
                "tags": ["pets"],
                "description": "All pets",
                "parameters": [
                    {"$ref": "#/components/parameters/limit"},
                    {"name": "tag[]", "in": "query", "schema": {"type": "array", "items": {"type": "string"}}},
                    {"name": "X-Trace", "in": "header", "schema": {"type": "string"}},
                    {"name": "Authorization", "in": "header", "schema": {"type": "string"}},
                ],
            }
        },
    },
    "components": {
        "parameters": {"limit": {"name": "limit", "in": "query", "schema": {"type": "integer", "nullable": True}}},
        "schemas": {
            "Pet": {
                "type": "object",
                "required": ["id", "name"],
                "properties": {
                    "id": {"type": "string", "readOnly": True},
                    "name": {"type": "string"},
                    "friend": {"$ref": "#/components/schemas/Pet"},
                },
            }
        },
    },
}
ALL = Choice(writes=True)


def document(paths: dict[str, Any], **components: Any) -> dict[str, Any]:
    return {"openapi": "3.1.0", "paths": paths, "components": components}


def made(paths: dict[str, Any], choice: Choice = ALL, **components: Any) -> dict[str, Operation]:
    """By the name of the tool."""
    return {one.tool.name: one for one in operations(document(paths, **components), choice, "tools.x")[0]}


@contextlib.asynccontextmanager
async def reached(
    folder: Path, host: Upstream, paths: dict[str, Any] | None = None, *, terms: Terms | None = None, **given: Any
) -> AsyncIterator[OpenApiTools]:
    """The toolset of a document in a file, started; its service is the host."""
    path = folder / "openapi.json"
    path.write_text(json.dumps(PETS if paths is None else document(paths)))
    service = Service(str(path), host.url + "/api/", **({"choice": ALL} | given))
    toolset = OpenApiTools("pets", service, terms=terms or Terms())
    try:
        await toolset.start()
        yield toolset
    finally:
        await toolset.close()


async def called(toolset: OpenApiTools, name: str, **arguments: Any) -> Any:
    tool = next(one for one in toolset.tools() if one.name == name)
    deadline = asyncio.get_running_loop().time() + 60
    context = CallContext("s1", "c1", "s1/c1", deadline, lambda text: None, lambda: False)
    return await tool.call(arguments, context)
