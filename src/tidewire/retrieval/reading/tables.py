"""CSV and TSV: each row a paragraph "column: value; column: value."."""

from __future__ import annotations

import csv
import io

from tidewire.retrieval.reading.page import NotRead, Page


def read(text: str, mark: str = ",") -> Page:
    """mark: what stands between two cells. Raises NotRead for what is no table."""
    try:
        rows = list(csv.reader(io.StringIO(text), delimiter=mark))
    except csv.Error as error:
        raise NotRead(f"not read: no table ({error})") from error
    head = rows[0] if rows else []
    out = []
    for row in rows[1:]:
        cells = (
            f"{column.strip()}: {' '.join(cell.split())}"
            for column, cell in zip(head, row, strict=False)
            if cell.strip()
        )
        out.append("; ".join(cells))
    kind = "text/tab-separated-values" if mark == "\t" else "text/csv"
    return Page("", "\n\n".join(f"{row}." for row in out if row), kind)


def read_tabs(text: str) -> Page:
    return read(text, "\t")
