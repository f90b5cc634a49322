"""The comparison with other engines: its table, its picture, and one engine through all steps. No figure is judged here."""

from __future__ import annotations

import sqlite3
import xml.etree.ElementTree as ET

import pytest
from retrieval.comparison import Measure, Way, picture, ratio, table
from retrieval.others import needs
from retrieval.peers.engine import NEVER, Files
from retrieval.peers.measuring import ENGINES, Measured


def measures():
    ours = Way("words and meaning", [[0.002] * 10, [0.004] * 10], found=[0.01], gone=[0.005])
    words = Way("words", [[0.001] * 10, [0.001] * 10], found=[0.01], gone=[0.005])
    theirs = Way("meaning", [[0.02] * 10, [0.02] * 10], found=[0.03], gone=[0.03], stale=2)
    alone = Way("words", [[0.003] * 10, [0.003] * 10], found=[0.01], gone=[0.01])
    return [
        Measure("Tidewire", installed=77.0, ways=[ours, words]),
        Measure("Other", "1.2", installed=400.0, ways=[theirs, alone], upkeep=[0.5]),
        Measure("Absent", failed="it could not be installed"),
    ]


def test_the_table_has_a_row_for_each_way_and_says_what_is_left_out():
    made = table(measures())
    row = next(line for line in made.splitlines() if line.startswith("Other, meaning"))
    assert row.split()[2:] == ["20.00", "20.00", "7.50", "30.00", "30.00", "30.00", "30.00", "2", "0"]
    assert "Absent is left out: it could not be installed" in made
    assert "Other's upkeep, every 20 changes: 1 times, 500 ms in the median" in made


def test_a_ratio_is_that_of_one_round_and_of_the_same_way():
    ours, other, _ = measures()
    assert ratio(other.ways[0], ours.ways[0]) == pytest.approx((10 + 5) / 2)
    assert "3.00" in next(line for line in table(measures()).splitlines() if line.startswith("Other, words"))
    assert ratio(other.ways[0], None) is None


def test_the_picture_is_xml_with_bars_for_each_way_that_was_measured():
    drawn = ET.fromstring(picture(measures(), "2,000 chunks"))
    bars = [one.get("class") for one in drawn.iter("{http://www.w3.org/2000/svg}rect")]
    assert [bars.count(kind) for kind in ("ours", "ours p95", "other", "other p95")] == [3 * 2, 2 * 2, 3 * 2, 2 * 2]


def test_the_extra_of_the_index_is_what_is_installed():
    assert {"numpy", "tantivy"} <= {one.partition(">")[0] for one in needs("search")}
    assert "msgspec" in {one.partition(">")[0] for one in needs("")}
    assert not {"numpy", "pytest"} & {one.partition(">")[0] for one in needs("")}


async def test_an_engine_is_built_opened_asked_and_written_to(tmp_path):
    from retrieval.peers.fts5 import Fts5

    assert "fts5" in ENGINES
    made = tmp_path / "files"
    made.mkdir()
    document = '{"location": "d", "title": "Herons", "chunks": [{"text": "a heron waits"}, {"text": "and fishes", "heading": "At dusk"}]}'
    (made / "documents.jsonl").write_text(document + "\n", encoding="utf-8")
    (made / "asked.json").write_text('["heron dusk"]', encoding="utf-8")
    (made / "new.json").write_text('[["a bittern booms written0", "bittern written0"]]', encoding="utf-8")
    for name in ("vectors", "asked", "new"):
        (made / f"{name}.f32").write_bytes(bytes(8))
    files, folder = Files(made, 2), tmp_path / "engine"
    assert [piece.text for piece in files.pieces()] == ["Herons\na heron waits", "Herons\nAt dusk\nand fishes"]
    assert {piece.expires for piece in files.pieces()} == {NEVER}
    folder.mkdir()
    measured = Measured(Fts5(), files, folder, bare=0.0)
    await measured.build()
    await measured.open()
    assert await measured.engine.find("words", "dusk", b"", 0.0) == ["d#1"]
    assert await measured.engine.find("words", "dusk", b"", NEVER + 1) == []
    wrote = await measured.writes("words", 0, 1)
    assert (len(wrote["found"]), len(wrote["gone"]), wrote["stale"], wrote["lost"]) == (1, 1, 0, 0)
    await measured.engine.close()
    with sqlite3.connect(folder / "words.db") as left:
        assert left.execute("SELECT count(*) FROM chunks").fetchone() == (2,)
    left.close()
