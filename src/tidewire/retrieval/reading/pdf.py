"""PDF, by pypdf. Only in a process of its own (`reader.py`): a PDF may loop, or unpack into anything."""

from __future__ import annotations

import io
from typing import Any

from tidewire.retrieval.reading.dates import seconds
from tidewire.retrieval.reading.page import NotRead, Page


def read(raw: bytes, most: int) -> Page:
    """Each page a paragraph or more. most: characters of text. Raises NotRead for one that is protected, broken, or only pictures."""
    try:
        import pypdf  # noqa: PLC0415 - of the extra "documents"
        from pypdf.errors import DependencyError, PyPdfError  # noqa: PLC0415
    except ImportError:
        raise NotRead("not read: PDF needs pip install 'tidewire[documents]'") from None
    try:
        reader = pypdf.PdfReader(io.BytesIO(raw))
        if reader.is_encrypted and not reader.decrypt(""):
            raise NotRead("not read: it is protected by a password")
        pages: list[str] = []
        size = 0
        for page in reader.pages:
            text = page.extract_text()
            pages.append(text)
            size += len(text)
            if size > most:
                raise NotRead(f"not read: more than {most:,} characters of text, which is the limit")
        about: Any = reader.metadata or {}
        published = seconds(about.get("/ModDate")) or seconds(about.get("/CreationDate"))
        title = str(about.get("/Title") or "").strip()[:200]
    except DependencyError:
        raise NotRead("not read: it is encrypted, and to open it pip install cryptography is needed") from None
    except (
        PyPdfError,
        ValueError,
        KeyError,
        TypeError,
        AttributeError,
        IndexError,
        RecursionError,
        AssertionError,
    ) as error:
        raise NotRead(f"not read: no whole PDF ({type(error).__name__})") from error
    text = "\n\n".join(filter(None, (page.strip() for page in pages)))
    if not text:
        raise NotRead("not read: it holds no text, only pictures perhaps")
    return Page(title, text, "application/pdf", published)
