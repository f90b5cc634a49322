from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from tidewire.retrieval.index import Index


def test_a_folder_is_indexed_into_the_data_folder_and_then_only_what_changed(run, tmp_path):
    docs = tmp_path / "docs"
    docs.mkdir()
    (docs / "a.md").write_text("# Tides\n\nThe tide rises twice a day.")
    (docs / "b.bin").write_bytes(bytes(range(256)))
    done = run("ingest", "docs", "--data", "here")
    assert done.exit_code == 0
    assert done.stdout.startswith("1 files indexed (1 passages), 0 unchanged, 0 removed, 1 skipped")
    assert "Indexing docs" in done.stderr
    assert "b.bin: " in done.stderr
    assert run("ingest", "docs", "--data", "here").stdout.startswith("0 files indexed (0 passages), 1 unchanged")
    assert asyncio.run(found(Path("here/index.db"))) == ["# Tides\n\nThe tide rises twice a day."]


async def found(path: Path) -> list[str]:
    index = Index(path)
    try:
        return [passage.text for passage in await index.search("default", "when does the tide rise", 5)]
    finally:
        await index.close()


def test_nothing_there_is_a_failure(run, tmp_path):
    done = run("ingest", "absent")
    assert done.exit_code == 1
    assert "there is no file or folder 'absent'" in done.stderr
    (tmp_path / "empty").mkdir()
    assert (done := run("ingest", "empty")).exit_code == 1
    assert "nothing in 'empty' could be read" in done.stderr


@pytest.mark.parametrize("command", [("ingest", "docs"), ("demo", "docs", "--once"), ("serve", "--port", "0")])
def test_a_data_folder_that_cannot_be_used_is_a_wrong_setting(spawn, tmp_path, command):
    (tmp_path / "docs").mkdir()
    (tmp_path / "file").write_text("no folder")
    process = spawn(*command, "--data", "file")  # of its own: a server sets up the logging of its process
    _, said = process.communicate(timeout=20)
    assert process.returncode == 2
    assert said.startswith(b"tidewire: the data folder ")


def test_a_damaged_index_is_named_with_what_to_do(run, tmp_path):
    (tmp_path / "docs").mkdir()
    (tmp_path / "here").mkdir()
    (tmp_path / "here" / "index.db").write_text("no database, and long enough to be read as one" * 100)
    done = run("ingest", "docs", "--data", "here")
    assert done.exit_code == 2
    assert "if it is damaged, delete it" in done.stderr
