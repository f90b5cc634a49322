"""What a source is."""

from __future__ import annotations

from typing import Protocol

from tidewire.core.errors import UpstreamError
from tidewire.retrieval.intake import Delivery


class SourceFailed(UpstreamError):
    """A source cannot be read now. What it brought before is kept."""

    code = "source_failed"


class Source(Protocol):
    """Documents of one place. What it must remember between two passes is in the store's notes."""

    async def run(self, delivery: Delivery) -> None:
        """One pass: bring in what is new or changed, take out what is gone. Raises SourceFailed, and what the store raises."""

    async def wait(self, seconds: float) -> None:
        """Until it may have changed, at most so long."""

    async def close(self) -> None: ...
