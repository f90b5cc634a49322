"""reStructuredText, as Markdown."""

from __future__ import annotations

import re
from typing import Final

from tidewire.retrieval.reading.dates import seconds
from tidewire.retrieval.reading.page import Page
from tidewire.retrieval.reading.text import underlined

_ROLE: Final = re.compile(r":[\w:+.-]+:`~?([^`<]*?)(?:\s*<([^`>]*)>)?`")
_CODE: Final = re.compile(r"^[ \t]*\.\. (?:code-block|sourcecode|parsed-literal|highlight)::.*$", re.MULTILINE)
_ADMONITION: Final = re.compile(r"^[ \t]*\.\. (?:note|tip|warning|important|hint|caution)::[ \t]*", re.MULTILINE)
_DATE: Final = re.compile(r"^:date:[ \t]*(.+?)[ \t]*$", re.MULTILINE | re.IGNORECASE)


def read(text: str) -> Page:
    """Underlined titles become headings, directives go (their bodies stay), roles keep their words."""
    dated = _DATE.search(text[:4096])
    text = underlined(_DATE.sub("", text, count=1).split("\n"))
    text = _CODE.sub("\n", text)
    text = _ADMONITION.sub("", text)
    text = re.sub(r"^[ \t]*\.\.(?:[ \t].*)?$", "", text, flags=re.MULTILINE)
    text = re.sub(r"^[ \t]+:[\w -]+:.*$", "", text, flags=re.MULTILINE)
    text = _ROLE.sub(lambda m: f"`{(m.group(1) or m.group(2) or '').strip()}`", text)
    text = re.sub(r"`([^`<]+?)\s*<[^`>]+>`__?", r"\1", text)
    text = re.sub(r"(?<![`\w])`([^`\n]+)`__?(?!\w)", r"\1", text)
    text = re.sub(r"\|([^|\n]+)\|_?", r"\1", text)
    text = re.sub(r"::[ \t]*$", ":", text.replace("``", "`"), flags=re.MULTILINE)
    return Page("", text, "text/x-rst", seconds(dated.group(1)) if dated else None)
