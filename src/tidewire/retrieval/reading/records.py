"""JSON lines: each record a paragraph, under its title where it has one."""

from __future__ import annotations

import json
from typing import Any

from tidewire.retrieval.reading.page import NotRead, Page


def read(text: str) -> Page:
    """A broken line is left out. Raises NotRead where no line is JSON."""
    out = []
    for line in text.splitlines():
        try:
            record = json.loads(line)
        except (ValueError, RecursionError):
            continue
        out.append(_record(record))
    if not any(out):
        raise NotRead("not read: no line of it is JSON")
    return Page("", "\n\n".join(filter(None, out)), "application/jsonl")


def _record(record: Any) -> str:
    if isinstance(record, str):
        return record
    if not isinstance(record, dict):
        return ""
    fields = {str(k): v for k, v in record.items() if isinstance(v, str | int | float) and str(v).strip()}
    title = next((str(fields.pop(k)) for k in ("title", "name", "heading", "question") if k in fields), "")
    body = next((str(fields.pop(k)) for k in ("text", "body", "content", "answer", "passage") if k in fields), "")
    rest = "; ".join(f"{k}: {v}" for k, v in fields.items())
    head = "# " + " ".join(title.split()) if title else ""
    return "\n\n".join(filter(None, (head, body, rest)))
