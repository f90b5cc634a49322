"""Request bodies, read with care: bad JSON and wrong types become BadRequest with a sentence, never anything else."""

from __future__ import annotations

from typing import Any, TypeVar

import msgspec

from tidewire.core.errors import BadRequest

T = TypeVar("T")

_any = msgspec.json.Decoder()


def read(body: bytes, shape: type[T]) -> tuple[T, dict[str, Any]]:
    """The body as `shape`, and as a plain dict for what shape does not name. Raises BadRequest."""
    if not body.strip():
        raise BadRequest("the request has no body; send a JSON object", code="invalid_json")
    try:
        plain = _any.decode(body)
        if not isinstance(plain, dict):
            raise BadRequest(f"the body is a JSON {_kind(plain)}; send a JSON object", code="invalid_json")
        return msgspec.convert(plain, shape), plain
    except RecursionError:
        raise BadRequest("the JSON of the body is nested too deeply", code="invalid_json") from None
    except msgspec.ValidationError as error:
        message, _, path = str(error).partition(" - at `$")
        param = path.rstrip("`").lstrip(".") or None
        where = f"{param}: " if param else ""
        raise BadRequest(f"{where}{message[0].lower()}{message[1:]}", param=param, code="invalid_value") from None
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise BadRequest(f"the body is not valid JSON: {error}", code="invalid_json") from None


def _kind(value: Any) -> str:
    return {list: "array", str: "string", bool: "boolean", type(None): "null"}.get(type(value), "number")


def unsupported(message: str, param: str) -> BadRequest:
    """For what a protocol or a host cannot say. message: what it is, and what to do instead."""
    return BadRequest(message, code="unsupported_value", param=param)


def rest(plain: dict[str, Any], known: frozenset[str]) -> dict[str, Any]:
    """The fields that nobody here named: they go to the host as they are."""
    return {k: v for k, v in plain.items() if k not in known and v is not None}
