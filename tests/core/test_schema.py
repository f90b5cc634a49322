"""spec/events.schema.json is what core/events.py says, and every event keeps to it."""

from __future__ import annotations

import importlib.util
import json
from pathlib import Path

import jsonschema
import pytest
from hypothesis import given, settings

from strategies import logs

PATH = Path(__file__).parents[2] / "tools" / "schema.py"
spec = importlib.util.spec_from_file_location("tidewire_schema", PATH)
schema = importlib.util.module_from_spec(spec)
spec.loader.exec_module(schema)
WHOLE = json.loads(schema.text())
VALID = jsonschema.Draft202012Validator(WHOLE)


def test_the_schema_is_up_to_date():
    assert schema.FILE.read_text() == schema.text(), "run: python tools/schema.py"


@settings(max_examples=40)
@given(logs())
def test_every_event_keeps_to_the_schema(made):
    for entry in made[1]:
        VALID.validate(json.loads(entry.raw))


@pytest.mark.parametrize(
    "event",
    [
        {"type": "delta", "part": 0, "text": "x", "seq": 1},
        {"type": "delta", "part": 0, "text": "x", "seq": 0, "at": 1},
        {"type": "delta", "part": "0", "text": "x", "seq": 1, "at": 1},
        {"type": "closed", "status": "done", "reason": "stop", "seq": 1, "at": 1},
        {"type": "finish", "reason": "stop", "seq": 1, "at": 1},
    ],
)
def test_what_is_no_event_does_not_keep_to_it(event):
    assert not VALID.is_valid(event)


def test_a_field_of_a_later_version_does_no_harm():
    assert VALID.is_valid({"type": "delta", "part": 0, "text": "x", "seq": 1, "at": 1, "later": True})


def test_the_protocol_names_every_event_and_every_field():
    page = (PATH.parents[1] / "spec" / "PROTOCOL.md").read_text()
    table = page.partition("## 4. Events")[2].partition("## 5.")[0]
    for shape in WHOLE["$defs"].values():
        kind = shape["properties"].get("type", {}).get("enum", [None])[0]
        if kind is None:
            continue
        [line] = [row for row in table.splitlines() if row.startswith(f"| `{kind}` ")]
        for field in set(shape["properties"]) - {"type", "seq", "at"}:
            assert f"`{field}`" in line or f"`{field}?`" in line, f"{kind}.{field}"
