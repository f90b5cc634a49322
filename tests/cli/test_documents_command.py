from __future__ import annotations

import httpx
import msgspec
import pytest


@pytest.fixture
def harbour(server) -> str:
    """The id of a document on the server; readers of another are named."""
    with httpx.Client(base_url=server) as client:
        for location, given in {
            "harbour.md": {"text": "# Harbour\n\nThe ferry leaves at seven.", "published": "2026-01-02"},
            "rota.md": {"text": "# Rota\n\nWho works on the ferry.", "readers": ["crew"]},
        }.items():
            answer = client.put(f"/v1/documents/{location}?visible=lexical", json={"kind": "text/markdown", **given})
            assert answer.status_code in (200, 201), answer.text
        return client.get("/v1/documents/harbour.md").json()["id"]


def test_documents_are_listed_by_words_of_their_title_or_place(run, server, harbour):
    listed = run("documents", "list", "harbour", "--url", server).stdout
    assert listed == f"{harbour}  2026-01-02  Harbour  (harbour.md)\n"
    lines = run("documents", "list", "--source", "", "--json", "--url", server).stdout.splitlines()
    assert [msgspec.json.decode(line)["location"] for line in lines] == ["harbour.md", "rota.md"]
    none = run("documents", "list", "--source", "none", "--url", server)
    assert (none.stdout, none.stderr) == ("", "no document fits\n")
    assert run("documents", "list", "--only", "expiring", "--url", server).stdout == ""


def test_a_document_is_shown_by_its_place_or_its_id(run, server, harbour):
    shown = run("documents", "show", "harbour.md", "--url", server).stdout
    assert shown == run("documents", "show", harbour, "--url", server).stdout
    assert "everybody of the tenant" in shown
    assert shown.endswith("The ferry leaves at seven.\n")
    nowhere = run("documents", "show", "nowhere", "--url", server)
    assert (nowhere.exit_code, nowhere.stderr) == (1, "tidewire: there is no document 'nowhere'\n")


def test_a_search_shows_the_parts_of_each_score_and_what_a_group_may_read(run, server, harbour):
    found = run("documents", "search", "when does the ferry leave", "--url", server).stdout
    assert "harbour.md, 2026-01-02; words " in found
    assert "rota.md" not in found
    found = run("documents", "search", "ferry", "--group", "crew", "--json", "--url", server).stdout.splitlines()
    assert {msgspec.json.decode(line)["uri"] for line in found} == {"harbour.md", "rota.md"}
    assert run("documents", "search", "zebra", "--url", server).stderr == "nothing fits\n"


@pytest.mark.parametrize("what", [["harbour.md"], ["--source", ""], ["--everything"]])
def test_documents_are_indexed_again(run, server, harbour, monkeypatch, what):
    monkeypatch.setattr("tidewire.cli.documents.EVERY", 0.01)
    before = httpx.get(f"{server}/v1/documents/{harbour}").json()["version"]
    done = run("documents", "reindex", *what, "--url", server)
    assert (done.exit_code, done.stdout.partition(" ")[2]) == (0, "documents indexed again, 0 left as they were\n")
    assert httpx.get(f"{server}/v1/documents/{harbour}").json()["version"] == before + 1


def test_what_to_index_again_is_said_once(run, server):
    for wrong in ([], ["a", "--everything"]):
        assert run("documents", "reindex", *wrong, "--url", server).exit_code == 2
    assert run("documents", "reindex", "nowhere", "--url", server).exit_code == 1


def test_nothing_is_deleted_before_the_question_is_answered(run, server, harbour):
    assert run("documents", "delete", "harbour.md", "--url", server, stdin="n\n").exit_code == 1
    assert httpx.get(f"{server}/v1/documents/{harbour}").status_code == 200
    done = run("documents", "delete", harbour, "--yes", "--url", server)
    assert (done.exit_code, done.stdout) == (0, "deleted harbour.md\n")
    assert httpx.get(f"{server}/v1/documents/{harbour}").status_code == 404


def test_what_a_document_says_does_not_drive_the_terminal(run, server):
    escape = "\x1b]0;owned\x07\x1b[2J\x9b31m"
    with httpx.Client(base_url=server) as client:
        given = {"title": f"Ti{escape}de", "text": "# K\n\nThe kingfisher \x9b31m dives.", "uri": f"u{escape}"}
        assert client.put("/v1/documents/odd.txt?visible=lexical", json=given).status_code == 201
        try:
            asked = (["list"], ["show", "odd.txt"], ["search", "kingfisher"])
            shown = "".join(run("documents", *words, "--url", server).stdout for words in asked)
            assert not {"\x1b", "\x07", "\x9b"} & set(shown)
            assert shown.count("Ti]0;owned[2J31mde") == 2
        finally:
            client.delete("/v1/documents/odd.txt")
