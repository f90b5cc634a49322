"""Writes spec/events.schema.json from src/tidewire/core/events.py: python tools/schema.py [--check]"""

from __future__ import annotations

import inspect
import json
import sys
from pathlib import Path
from typing import Any

import msgspec

from tidewire.core import events as ev

FILE = Path(__file__).parents[1] / "spec" / "events.schema.json"
DRAFT = "https://json-schema.org/draft/2020-12/schema"


def text() -> str:
    """The schema of an event as a client receives it. Fields beyond these may come; clients ignore them."""
    refs, defs = msgspec.json.schema_components([ev.AnyEvent], ref_template="#/$defs/{name}")
    for kind in ev.LOGGED:
        shape = defs[kind.__name__]
        for name, field in (("seq", "number in the stream"), ("at", "milliseconds since the stream was opened")):
            shape["properties"][name] = {"type": "integer", "minimum": 1 if name == "seq" else 0, "description": field}
        shape["required"] = ["type", "seq", "at", *(n for n in shape["required"] if n != "type")]
    for name, shape in defs.items():
        shape["description"] = _said(getattr(ev, name))
    whole: dict[str, Any] = {
        "$schema": DRAFT,
        "title": "An event of the Tidewire protocol, version 1",
        **refs[0],
        "$defs": dict(sorted(defs.items())),
    }
    return json.dumps(whole, indent=2, ensure_ascii=False) + "\n"


def _said(kind: type) -> str:
    return " ".join((inspect.getdoc(kind) or "").split())


def main() -> int:
    if "--check" in sys.argv[1:]:
        return 0 if FILE.read_text() == text() else 1
    FILE.write_text(text())
    return 0


if __name__ == "__main__":
    sys.exit(main())
