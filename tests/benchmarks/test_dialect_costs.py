"""The benchmark of the protocols measures each of them, tokens that come through, and says which is too dear."""

from __future__ import annotations

import pytest

import dialects
from matrix.discovery import hosts
from tidewire.server.settings import Disconnect


def test_every_host_of_the_matrix_is_measured():
    rows = list(dialects.decoders(20, set()))
    assert [row.name for row in rows] == [f"decode {name}" for name in hosts()]
    assert all(row.took > 0 and row.loads > 0 for row in rows)


def test_every_dialect_is_measured():
    paints = {"openai_images"}  # what it says is no text
    assert {dialect.name for dialect in dialects.DIALECTS.values()} == set(Disconnect.__struct_fields__) - paints
    rows = list(dialects.renderers(20, set()))
    assert {row.name.removesuffix(", whole").removeprefix("render ") for row in rows} == set(dialects.DIALECTS)
    assert all(row.took > 0 for row in rows)


def test_what_costs_more_than_its_yardstick_allows_is_said():
    assert "over" in str(dialects.Row("x", 3.01, 1.0))
    assert "over" not in str(dialects.Row("x", 2.99, 1.0))


def test_a_token_that_does_not_come_through_is_no_figure(monkeypatch):
    class Mute:
        def feed(self, data):
            return []

    monkeypatch.setattr(dialects, "token", lambda host: (Mute(), b"data: {}\n\n"))
    with pytest.raises(RuntimeError, match="did not come through"):
        list(dialects.decoders(2, set()))
