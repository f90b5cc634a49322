"""The date that a document says of itself, in whichever of the usual spellings. Pure: what lies in the future is for the caller to judge."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Final

EARLIEST: Final = datetime(1970, 1, 2, tzinfo=UTC).timestamp()  # older ones are clocks that were never set
_PDF: Final = re.compile(r"D:(\d{4})(\d\d)?(\d\d)?(\d\d)?(\d\d)?(\d\d)?(?:Z|([+-])(\d\d)'?(\d\d)?)?")
_DAY: Final = re.compile(r"\d{4}-\d\d-\d\d")


def seconds(text: object) -> float | None:
    """Unix seconds of an ISO 8601, RFC 2822 or PDF date; without a zone it is UTC. None for what is no date."""
    if not isinstance(text, str) or not 4 <= len(text := text.strip()) <= 64:
        return None
    for parse in (_iso, _mail, _pdf):
        try:
            when = parse(text)
            if when is None:
                continue
            found = (when if when.tzinfo is not None else when.replace(tzinfo=UTC)).timestamp()
        except (ValueError, OverflowError, TypeError, IndexError):
            continue
        return found if found >= EARLIEST else None
    return None


def _iso(text: str) -> datetime | None:
    if not _DAY.match(text):
        return None
    try:
        return datetime.fromisoformat(text)
    except ValueError:
        return datetime.fromisoformat(text[:10])  # a day, and a time that nobody can read


def _mail(text: str) -> datetime | None:
    return parsedate_to_datetime(text) if "," in text or text[:2].strip().isdigit() else None


def _pdf(text: str) -> datetime | None:
    """PDF 32000-1, 7.9.4: D:YYYYMMDDHHmmSSOHH'mm."""
    match = _PDF.match(text)
    if match is None:
        return None
    year, month, day, hour, minute, second = (
        int(part or least) for part, least in zip(match.groups()[:6], (0, 1, 1, 0, 0, 0), strict=True)
    )
    sign, hours, minutes = match.groups()[6:]
    zone = f"{sign}{hours}:{minutes or '00'}" if sign else "+00:00"
    return datetime.fromisoformat(f"{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}{zone}")
