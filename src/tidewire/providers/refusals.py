"""What a host's refusal means: one place that turns status, headers and body into an error of ours. Pure.

Nothing of a request is put into a message; of the host's answer at most 200 characters, with keys masked.
"""

from __future__ import annotations

import re
import time
from collections.abc import Mapping, Sequence
from email.utils import parsedate_to_datetime
from typing import Any, Final

import msgspec

from tidewire.core.errors import UpstreamError
from tidewire.providers.address import Address

EXCERPT: Final = 200  # characters
MAX_BODY: Final = 64 * 1024  # bytes of a refusal that are read

_KEYS: Final = re.compile(
    r"(?i)\b(?:bearer|basic)\s+[\w.~+/=-]{6,}"
    r"|\b(?:sk|pk|rk|gsk|hf|xai|nvapi|key|api[_-]?key)[-_=:][\w*-]{8,}"
    r"|\beyJ[\w-]{8,}\.[\w-]+(?:\.[\w-]+)?"
    r"|\bAIza[\w-]{20,}"
    r"|(?-i:\bA(?:KIA|SIA)[A-Z0-9]{12,}|\b(?:IQoJ|FwoG|FQoG)[\w+/=]{20,})"  # AWS: key ids, tokens of sessions
)
_TAGS: Final = re.compile(r"(?is)<(script|style|head)\b.*?</\1>|<[^>]*>")
_TITLE: Final = re.compile(r"(?is)<title[^>]*>(.*?)</title>")
_SECONDS: Final = re.compile(r"\d{1,9}(\.\d{1,9})?s")
_QUOTA: Final = frozenset({"insufficient_quota", "billing_hard_limit_reached", "billing_not_active"})


def refusal(
    address: Address, status: int, headers: Mapping[str, str], body: bytes, secrets: Sequence[str] = ()
) -> UpstreamError:
    """The error for an answer that is not the one hoped for: any status from 300, or a document where a stream belongs."""
    document = _document(body)
    said = excerpt(_message(document) or _readable(body, headers), secrets)
    quoted = f': "{said}"' if said else ""
    answered = f"{address} answered {status}{quoted}"
    bad_key, delay = _details(document)
    wait = retry_after(headers)
    if wait is None:
        wait = delay
    if 300 <= status < 400:
        location = excerpt(re.sub(r"//[^/@\s]*@", "//", headers.get("location", "")).partition("?")[0], secrets)
        return _error(
            f"{address} answered {status}, a redirect to {location or 'nowhere'}; redirects are not followed: set base_url "
            "to where the host is",
            "upstream_redirect",
            status,
        )
    if status in (401, 403) or bad_key:
        return _error(f"{answered}; check the host's API key", "upstream_auth", status)
    if status == 404:
        return _error(
            f"{answered}; check the model's name, and that base_url ends where the API begins (mostly /v1)",
            "upstream_model_or_path_unknown",
            status,
        )
    if status == 402 or (status == 429 and _kind(document) in _QUOTA):
        return _error(
            f"{answered}; the account at the host has no credit left", "upstream_quota", status, as_status=429
        )
    if status == 429:
        return _error(
            f"{answered}; come back {_when(wait)}",
            "upstream_rate_limited",
            status,
            as_status=429,
            retryable=True,
            wait=wait,
        )
    if status in (408, 425):
        return _error(f"{answered}; try again", "upstream_unavailable", status, retryable=True, wait=wait)
    if 400 <= status < 500:
        return _error(f"{answered}; the host does not take this request", "upstream_refused", status, as_status=400)
    if status >= 500:
        return _error(f"{answered}; try again {_when(wait)}", "upstream_unavailable", status, retryable=True, wait=wait)
    kind = headers.get("content-type", "").partition(";")[0] or "no content-type"
    if document is not None and isinstance(document, dict) and document.get("error"):
        return _error(answered, "upstream_error", status, retryable=True)
    return _error(
        f"{address} answered {status} with {kind} where a stream belongs{quoted}; check that base_url names a model API",
        "upstream_not_a_stream",
        status,
    )


def encoded(address: Address, coding: str) -> UpstreamError:
    return _error(
        f"{address} answered with content-encoding {excerpt(coding)!r}, though none was asked for; "
        "turn compression off at the host or at the proxy before it",
        "upstream_encoded",
        200,
    )


def retry_after(headers: Mapping[str, str]) -> float | None:
    """Seconds from retry-after-ms or Retry-After (a number or a date), or None."""
    for name, scale in (("retry-after-ms", 0.001), ("retry-after", 1.0)):
        value = headers.get(name, "").strip()
        try:
            return min(max(0.0, float(value) * scale), 86400.0)
        except ValueError:
            pass
        if scale == 1.0 and value:
            try:
                return min(max(0.0, parsedate_to_datetime(value).timestamp() - time.time()), 86400.0)
            except (ValueError, OverflowError):
                pass
    return None


def excerpt(text: str, secrets: Sequence[str] = ()) -> str:
    """At most 200 printable characters on one line, without the secrets given and without what looks like a key."""
    for secret in secrets:
        if secret:
            text = text.replace(secret, "***")
    text = _KEYS.sub("***", text[: 8 * EXCERPT])
    text = " ".join("".join(c if c.isprintable() else " " for c in text).split())
    return text if len(text) <= EXCERPT else text[: EXCERPT - 1] + "…"


def _error(
    message: str,
    code: str,
    status: int,
    *,
    as_status: int = 502,
    retryable: bool = False,
    wait: float | None = None,
) -> UpstreamError:
    error = UpstreamError(message, code=code, retry_after=wait, upstream_status=status)
    error.status = as_status
    error.retryable = retryable
    return error


def _when(wait: float | None) -> str:
    return f"in {wait:g} s" if wait is not None else "later"


def _document(body: bytes) -> Any:
    try:
        return msgspec.json.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError):
        return None


def _message(document: Any) -> str:
    """error.message, or where other hosts put it: error, message, detail."""
    if isinstance(document, list) and document:
        document = document[0]
    if not isinstance(document, dict):
        return ""
    error = document.get("error")
    for place in (error.get("message") if isinstance(error, dict) else error, document.get("message")):
        if isinstance(place, str) and place:
            return place
    detail = document.get("detail")
    if isinstance(detail, list) and detail and isinstance(detail[0], dict):  # FastAPI's validation errors
        where = ".".join(str(x) for x in detail[0].get("loc", ()) if isinstance(x, str | int))
        return f"{where}: {detail[0].get('msg', '')}"
    return detail if isinstance(detail, str) else ""


def _kind(document: Any) -> str:
    error = document.get("error") if isinstance(document, dict) else None
    return str(error.get("code") or error.get("type") or "") if isinstance(error, dict) else ""


def _details(document: Any) -> tuple[bool, float | None]:
    """What the details of an error of Google's say: whether the key is at fault (its status is 400), and seconds to wait."""
    if isinstance(document, list) and document:
        document = document[0]
    error = document.get("error") if isinstance(document, dict) else None
    details = error.get("details") if isinstance(error, dict) else None
    bad_key, delay = False, None
    for one in details if isinstance(details, list) else ():
        if isinstance(one, dict):
            bad_key |= one.get("reason") == "API_KEY_INVALID"
            said = one.get("retryDelay")
            if isinstance(said, str) and _SECONDS.fullmatch(said):
                delay = min(float(said[:-1]), 86400.0)
    return bad_key, delay


def _readable(body: bytes, headers: Mapping[str, str]) -> str:
    kind = headers.get("content-type", "")
    text = body[:MAX_BODY].decode("utf-8", "replace")
    if "html" in kind or text.lstrip()[:1] == "<":
        title = _TITLE.search(text)
        return title.group(1) if title else _TAGS.sub(" ", text)
    if "json" in kind or "text" in kind or not kind:
        return text
    return ""
