"""What a decoder raises for bytes that make no sense, and for errors that a host sends: with what these bytes held before it."""

from __future__ import annotations

from typing import Final

import msgspec

from tidewire.core.errors import UpstreamError
from tidewire.core.events import Event

BAD: Final = (UpstreamError, msgspec.DecodeError, UnicodeDecodeError, RecursionError)  # what reading an event may raise


def broken(error: Exception, before: list[Event], what: str) -> UpstreamError:
    """what: "a chat chunk", say, which these bytes were to be. before: the events that were read until then."""
    if not isinstance(error, UpstreamError):
        error = UpstreamError(
            f"the host sent an event that is not {what}: {str(error)[:120]}", code="upstream_bad_event"
        )
    error.before = before  # what these bytes held before the error is part of the answer
    return error
