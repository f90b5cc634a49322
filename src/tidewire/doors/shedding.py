"""Refusals of new answers before anything is spent on them: no task, no body read into memory, no dialect that parses.

A refusal that goes the long way costs nearly what a short answer costs. A server that is asked three times what it can do
would spend on refusing what the accepted streams need.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from typing import Final

from tidewire.core.errors import TidewireError
from tidewire.core.events import ErrorInfo
from tidewire.doors.connection import Refusal
from tidewire.doors.pump import error_headers

LASTS: Final = 1.0  # seconds
Shape = Callable[[ErrorInfo], bytes]


class Shedding:
    """paths: where a POST begins an answer, with the error shape of its dialect. admit: raises when no stream may start now."""

    def __init__(self, paths: Mapping[bytes, Shape], admit: Callable[[], None]) -> None:
        self._paths = paths
        self._admit = admit
        self._last = -LASTS

    @property
    def lately(self) -> bool:
        """Whether anybody was refused within the last second."""
        return time.monotonic() - self._last < LASTS

    def refusal(self, path: bytes) -> Refusal | None:
        """Status, headers and body of the refusal; None where the request goes its usual way."""
        shape = self._paths.get(path)
        if shape is None:
            return None
        try:
            self._admit()
        except TidewireError as error:
            self._last = time.monotonic()
            info = error.info()
            return info.status, error_headers(info, shape), shape(info)
        return None
