"""Errors as Google's APIs write them. Source: google.rpc.Status, and the canonical codes of google.rpc.Code."""

from __future__ import annotations

from typing import Any, Final

from tidewire.core.events import ErrorInfo

STATUSES: Final = {
    400: "INVALID_ARGUMENT",
    401: "UNAUTHENTICATED",
    403: "PERMISSION_DENIED",
    404: "NOT_FOUND",
    405: "UNIMPLEMENTED",
    409: "ABORTED",
    410: "NOT_FOUND",
    413: "INVALID_ARGUMENT",
    429: "RESOURCE_EXHAUSTED",
    499: "CANCELLED",
    500: "INTERNAL",
    502: "UNAVAILABLE",
    503: "UNAVAILABLE",
    504: "DEADLINE_EXCEEDED",
}


def error_object(info: ErrorInfo) -> dict[str, Any]:
    """{"code", "message", "status", "details"}; our own code is the reason in the details."""
    reason = {"@type": "type.googleapis.com/google.rpc.ErrorInfo", "reason": info.code, "domain": "tidewire"}
    details: list[dict[str, Any]] = [reason]
    if info.param is not None:
        wrong = {"field": info.param, "description": info.message}
        details.append({"@type": "type.googleapis.com/google.rpc.BadRequest", "fieldViolations": [wrong]})
    if info.retry_after is not None:
        details.append({"@type": "type.googleapis.com/google.rpc.RetryInfo", "retryDelay": f"{info.retry_after:g}s"})
    status = STATUSES.get(info.status) or ("INVALID_ARGUMENT" if info.status < 500 else "INTERNAL")
    return {"code": info.status, "message": info.message, "status": status, "details": details}
