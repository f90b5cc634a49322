"""One tree of errors. Each says what happened, the number, the limit and what to do, in words safe to show to the caller.

TidewireError
├── BadRequest 400          the request cannot be understood: InvalidJSON, InvalidValue
│   ├── TooLarge 413        a body, a header or an answer over its limit
│   └── CursorAhead 400     a cursor past the end of the log
├── Unauthorized 401
├── NotFound 404            UnknownStream, UnknownModel, unknown route
├── Conflict 409            StreamExists
├── Expired 410             the stream was here, and its time is over
├── Overloaded 429/503      come back after retry_after seconds
├── Cancelled 499           somebody pressed stop
├── TimedOut 504            a deadline of ours
├── UpstreamError 502       a host refused, broke off, or answered nonsense
└── InternalError 500       a defect of ours: its details go to the log, not to the caller
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

from tidewire.core.events import ErrorInfo, Event


class TidewireError(Exception):
    """message: a sentence safe to show. param: the field of the request at fault. retry_after: seconds."""

    code: ClassVar[str] = "internal_error"
    status: int = 500
    retryable: bool = False

    def __init__(
        self, message: str, *, code: str | None = None, param: str | None = None, retry_after: float | None = None
    ) -> None:
        super().__init__(message)
        self.begun = False  # content had passed before it happened: nothing may be tried again
        self.message = message
        self.param = param
        self.retry_after = retry_after
        self.kind = code or self.code

    def info(self) -> ErrorInfo:
        """This error as it goes into a log or an answer."""
        return ErrorInfo(
            code=self.kind,
            message=self.message,
            status=self.status,
            retryable=self.retryable,
            retry_after=self.retry_after,
            param=self.param,
        )


class BadRequest(TidewireError):
    code = "invalid_request"
    status = 400


class TooLarge(BadRequest):
    code = "too_large"
    status = 413


class CursorAhead(BadRequest):
    code = "cursor_ahead"


class Unauthorized(TidewireError):
    code = "unauthorized"
    status = 401


class NotFound(TidewireError):
    code = "not_found"
    status = 404


class UnknownStream(NotFound):
    code = "unknown_stream"


class UnknownModel(NotFound):
    code = "unknown_model"


class Conflict(TidewireError):
    code = "conflict"
    status = 409


class Expired(TidewireError):
    code = "expired"
    status = 410


class Overloaded(TidewireError):
    code = "overloaded"
    status = 429
    retryable = True


class ShuttingDown(Overloaded):
    code = "shutting_down"
    status = 503


class Cancelled(TidewireError):
    code = "cancelled"
    status = 499


class TimedOut(TidewireError):
    code = "timed_out"
    status = 504
    retryable = True


class UpstreamError(TidewireError):
    """A host's failure. upstream_status: what it answered, where it did.

    before: what a decoder had completed of the same bytes when it met the error; it is fed first, so that what a client
    sees does not depend on how the network cut the answer.
    """

    code = "upstream_error"
    status = 502
    retryable = True

    def __init__(
        self,
        message: str,
        *,
        code: str | None = None,
        param: str | None = None,
        retry_after: float | None = None,
        upstream_status: int | None = None,
    ) -> None:
        super().__init__(message, code=code, param=param, retry_after=retry_after)
        self.upstream_status = upstream_status
        self.before: Sequence[Event] = ()


class InternalError(TidewireError):
    code = "internal_error"


class SettingsError(TidewireError):
    """A setting that cannot be used: names the setting, what it held, and what is allowed."""

    code = "invalid_settings"
