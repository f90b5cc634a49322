"""Gemini's tools and schemas, both ways: declarations of functions, which of them to call, and the schemas that they carry.

Source: the reference of the Gemini API, "Schema", "FunctionDeclaration" and "FunctionCallingConfig", and the types of Google's Python SDK.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

from tidewire.core.errors import BadRequest
from tidewire.core.request import Tool

DEEP: Final = 64  # levels of a schema that are read
_NUMBERS: Final = frozenset({"minItems", "maxItems", "minProperties", "maxProperties", "minLength", "maxLength"})
_UNSAID: Final = frozenset({"nullable", "propertyOrdering", "example", "type", "format"})


def camel(name: str) -> str:
    """Google's JSON takes a field by either name: system_instruction is systemInstruction."""
    first, *more = name.split("_")
    return first + "".join(word[:1].upper() + word[1:] for word in more) if first else name


def fields(raw: Any, at: str) -> dict[str, Any]:
    """An object's fields by their names in camel case, nulls left out. Raises BadRequest for what is no object."""
    if not isinstance(raw, dict):
        raise BadRequest(f"{at} is not an object", param=at)
    return {camel(name): value for name, value in raw.items() if value is not None}


def listed(raw: Any, at: str) -> list[Any]:
    if not isinstance(raw, list):
        raise BadRequest(f"{at} is not a list", param=at)
    return raw


def json_schema(raw: Any, at: str, depth: int = 0) -> dict[str, Any]:
    """A Schema of Google's (types in capitals, `nullable`, an order of properties) as a JSON schema, which allows the same values."""
    if depth > DEEP:
        raise BadRequest(f"{at} is nested more than {DEEP} levels deep", param=at)
    given = fields(raw, at)
    out: dict[str, Any] = {}
    kind = given.get("type")
    if isinstance(kind, str) and kind.upper() != "TYPE_UNSPECIFIED":
        out["type"] = kind.lower()
    elif isinstance(kind, list):
        out["type"] = kind
    if isinstance(given.get("format"), str) and given["format"] != "enum":  # "enum" only says that there is one
        out["format"] = given["format"]
    for name, value in given.items():
        if name in _UNSAID:
            continue
        if name == "properties":
            out[name] = {
                key: json_schema(one, f"{at}.{key}", depth + 1) for key, one in _object(value, f"{at}.{name}").items()
            }
        elif name in ("anyOf", "prefixItems"):
            out[name] = [json_schema(one, f"{at}.{name}", depth + 1) for one in listed(value, f"{at}.{name}")]
        elif name == "items":
            out[name] = json_schema(value, f"{at}.{name}", depth + 1)
        elif (
            name in _NUMBERS and isinstance(value, str) and value.isdecimal()
        ):  # 64-bit numbers are text in Google's JSON
            out[name] = int(value)
        else:
            out[name] = value
    if given.get("nullable") is True:
        return _nullable(out)
    return out


def _nullable(schema: dict[str, Any]) -> dict[str, Any]:
    if isinstance(schema.get("type"), str):
        schema["type"] = [schema["type"], "null"]
        if isinstance(schema.get("enum"), list) and None not in schema["enum"]:
            schema["enum"] = [*schema["enum"], None]
        return schema
    if isinstance(schema.get("anyOf"), list):
        schema["anyOf"] = [*schema["anyOf"], {"type": "null"}]
    return schema


def _object(raw: Any, at: str) -> dict[str, Any]:
    if not isinstance(raw, dict):
        raise BadRequest(f"{at} is not an object", param=at)
    return raw


def read_tools(raw: Sequence[Any]) -> tuple[list[Tool], list[dict[str, Any]]]:
    """Functions, and the tools that only the host itself can run (googleSearch, codeExecution, …), as they are."""
    tools: list[Tool] = []
    others: list[dict[str, Any]] = []
    for i, one in enumerate(raw):
        given = fields(one, f"tools[{i}]")
        declared = given.pop("functionDeclarations", [])
        for j, function in enumerate(listed(declared, f"tools[{i}].functionDeclarations")):
            tools.append(_tool(function, f"tools[{i}].functionDeclarations[{j}]"))
        if given:
            others.append(given)
    return tools, others


def _tool(raw: Any, at: str) -> Tool:
    given = fields(raw, at)
    name, description = given.get("name"), given.get("description")
    if not isinstance(name, str) or not name:
        raise BadRequest(f"{at} has no name", param=f"{at}.name")
    if "parametersJsonSchema" in given:
        parameters: dict[str, Any] | None = _object(given["parametersJsonSchema"], f"{at}.parametersJsonSchema")
    else:
        parameters = json_schema(given["parameters"], f"{at}.parameters") if "parameters" in given else None
    return Tool(name=name, description=description if isinstance(description, str) else None, parameters=parameters)


def write_tools(tools: Sequence[Tool]) -> dict[str, Any]:
    """One tool of Google's, which declares all functions. `strict` is left out: there is no such word."""
    declared = []
    for tool in tools:
        one: dict[str, Any] = {"name": tool.name}
        if tool.description is not None:
            one["description"] = tool.description
        if tool.parameters is not None:
            one["parametersJsonSchema"] = tool.parameters
        declared.append(one)
    return {"functionDeclarations": declared}


def read_choice(raw: dict[str, Any], at: str) -> Any:
    """A functionCallingConfig in the shape of Chat Completions."""
    mode = str(raw.get("mode", "AUTO")).upper()
    names = raw.get("allowedFunctionNames") or []
    if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
        raise BadRequest(f"{at}.allowedFunctionNames is not a list of names", param=f"{at}.allowedFunctionNames")
    if mode in ("AUTO", "MODE_UNSPECIFIED") or (mode == "VALIDATED" and not names):
        return "auto"
    if mode == "NONE":
        return "none"
    if mode == "ANY" and not names:
        return "required"
    if mode == "ANY" and len(names) == 1:
        return {"type": "function", "function": {"name": names[0]}}
    if mode in ("ANY", "VALIDATED"):
        allowed = [{"type": "function", "function": {"name": name}} for name in names]
        asked = {"mode": "required" if mode == "ANY" else "auto", "tools": allowed}
        return {"type": "allowed_tools", "allowed_tools": asked}
    raise BadRequest(
        f"{at}.mode is {mode[:40]!r}; it may be AUTO, ANY, VALIDATED or NONE", param=f"{at}.mode", code="invalid_value"
    )


def write_choice(choice: Any) -> dict[str, Any]:
    """The other way. Raises BadRequest for what Google has no word for."""
    known = {"auto": "AUTO", "none": "NONE", "required": "ANY"}
    if isinstance(choice, str) and choice in known:
        return {"mode": known[choice]}
    if isinstance(choice, dict):
        if choice.get("type") == "function" and (name := _named(choice)) is not None:
            return {"mode": "ANY", "allowedFunctionNames": [name]}
        allowed = choice.get("allowed_tools")
        if choice.get("type") == "allowed_tools" and isinstance(allowed, dict):
            names = [_named(tool) for tool in allowed.get("tools") or [] if isinstance(tool, dict)]
            if names and all(names):
                return {
                    "mode": "ANY" if allowed.get("mode") == "required" else "VALIDATED",
                    "allowedFunctionNames": names,
                }
    raise BadRequest(
        "tool_choice is none that Gemini knows; it may be auto, none, required, a function, or allowed_tools of functions",
        param="tool_choice",
        code="unsupported_value",
    )


def _named(tool: dict[str, Any]) -> str | None:
    function = tool.get("function")
    name = function.get("name") if isinstance(function, dict) else tool.get("name")
    return name if isinstance(name, str) and name else None
