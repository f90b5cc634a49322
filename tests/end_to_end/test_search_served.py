"""Documents put over HTTP and searched over HTTP: each passage says how it came to its place; nobody sees what is not theirs."""

from __future__ import annotations

import json

import pytest
import pytest_asyncio

from serving import eventually, serving

pytestmark = pytest.mark.asyncio(loop_scope="module")


@pytest_asyncio.fixture(loop_scope="module", scope="module")
async def served(tmp_path_factory):
    async with serving(tmp_path_factory.mktemp("search")) as made:
        for location, body in {
            "heron.md": {"text": "# Herons\n\nA heron waits in shallow water.", "published": "2020-01-01"},
            "owl.md": {"text": "# Owls\n\nAn owl hunts at night, not in water.", "published": "2026-11-01"},
            "staff.md": {"text": "# Staff\n\nThe heron key is under the mat.", "readers": ["staff"]},
        }.items():
            status, _, raw = await made.ask(
                "PUT", f"/v1/documents/{location}?visible=lexical", body, content_type="application/json"
            )
            assert status == 201, raw
        await eventually(lambda: made.house.library.index.ready == "full")
        yield made


async def search(served, **asked):
    status, _, raw = await served.ask("POST", "/v1/search", asked)
    return status, json.loads(raw)


async def test_passages_come_with_the_parts_of_their_score(served):
    status, body = await search(served, query="Where does a heron wait?")
    assert status == 200
    (best, *_) = body["passages"]
    assert (best["title"], best["uri"], best["version"]) == ("Herons", "heron.md", 1)
    assert best["parts"]["lexical"] == 1.0
    assert best["parts"]["dense"] is None
    assert best["score"] == pytest.approx(best["parts"]["recency"] * best["parts"]["lift"], rel=1e-3)
    assert (body["ready"], body["notices"], body["recency_weight"]) == ("full", [], 0.2)
    assert set(body["took_ms"]) >= {"lexical", "fetch", "rank"}


async def test_what_is_for_a_group_is_found_by_who_is_in_it_only(served):
    assert all(p["title"] != "Staff" for p in (await search(served, query="heron key"))[1]["passages"])
    found = (await search(served, query="heron key", groups=["staff"]))[1]["passages"]
    assert found[0]["title"] == "Staff"


async def test_dates_and_presets_narrow_and_weigh(served):
    assert [p["title"] for p in (await search(served, query="water", since=1.7e9))[1]["passages"]] == ["Owls"]
    assert (await search(served, query="water", recency="reference"))[1]["recency_weight"] == 0.0
    assert (await search(served, query="the latest on water"))[1]["recency_weight"] == 0.5


@pytest.mark.parametrize(
    "asked", [{}, {"query": ""}, {"query": "x", "limit": 0}, {"query": "x", "odd": 1}, {"query": 5}]
)
async def test_what_is_no_search_is_refused_with_what_is_wrong(served, asked):
    status, body = await search(served, **asked)
    assert (status, body["error"]["code"]) == (400, "invalid_value")
    assert any(word in body["error"]["message"] for word in ("query", "limit", "odd"))


async def test_a_passage_says_which_copies_of_it_are_not_shown_and_how_much_they_are_alike(served):
    text = " ".join(f"Ferry number {n} to the island leaves from the old harbour at {n} sharp." for n in range(1, 13))
    for location, body in {"first": text, "second": text, "third": f"{text} Bring a coat."}.items():
        given = {"text": f"# Ferry\n\n{body}", "published": "2026-01-01" if location == "second" else "2020-01-01"}
        await served.ask(
            "PUT", f"/v1/documents/ferry/{location}?visible=lexical", given, content_type="application/json"
        )
    (best, *_) = (await search(served, query="ferry island harbour"))[1]["passages"]
    assert best["uri"] == "ferry/second"
    likeness = {copy["uri"]: copy["likeness"] for copy in best["copies"]}
    assert likeness["ferry/first"] == 1.0
    assert 0.8 <= likeness["ferry/third"] < 1.0
    assert best["parts"]["copies"] == 2
