"""How long answers are kept: the rules that the benchmark compares, on a few small documents."""

from __future__ import annotations

import pytest
from kept_answers import HEAD, Library, Tally, line, lived

TEXTS = {
    f"{n}.md": "\n\n".join(f"Part {m} of {n} speaks of the tide and {n * m} herons." for m in range(9))
    for n in range(9)
}


@pytest.mark.parametrize("rate", [0.0, 1.0])
async def test_every_rule_keeps_everything_while_nothing_changes(rate, tmp_path):
    library = Library(tmp_path)
    await library.open(TEXTS)
    try:
        tally = await lived(library, rate, 60)
    finally:
        await library.close()
    if rate:
        assert tally.epoch == 0
        assert 0 < tally.live - tally.outdated <= tally.passages < 60
    else:
        assert tally.epoch == tally.live == tally.passages > 0
        assert tally.outdated == 0


def test_a_row_has_the_columns_of_the_head():
    row = line(0.1, Tally(asked=10, epoch=1, live=5, outdated=1, passages=9))
    assert len(row) == len(HEAD)
    assert row.split() == ["0.1", "10.0%", "50.0%", "20.0%", "of", "these", "90.0%"]
