"""`[ingest.ttl]` from the settings to what is found: rules by source, place and type, and the end of a document's time."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any

from serving import Served, serving
from tidewire.server.ingest_settings import Ingest, SourceSettings

HOUR = 3600.0
RULES = {"text/html": HOUR, "path:short/*": 2 * HOUR, "source:wire": 3 * HOUR}


async def put(tidewire: Served, location: str, body: bytes, kind: str, published: float) -> dict[str, Any]:
    """The document as it is then known."""
    where = f"/v1/documents/{location}?visible=lexical&published={published}"
    status, _, said = await tidewire.ask("PUT", where, body, content_type=kind)
    assert status == 201, said
    _, _, known = await tidewire.ask("GET", f"/v1/documents/{location}")
    return dict(json.loads(known))


async def found(tidewire: Served) -> set[str]:
    _, _, body = await tidewire.ask("POST", "/v1/search", {"query": "heron"})
    return {passage["title"] for passage in json.loads(body)["passages"]}


async def test_the_nearest_rule_ends_a_documents_time_and_what_is_over_is_found_no_more(tmp_path: Path) -> None:
    wire = tmp_path / "wire"
    wire.mkdir()
    (wire / "w.html").write_text("<title>Wired</title><p>The heron is in the news.</p>")
    sources = {"wire": SourceSettings(path=str(wire))}
    async with serving(tmp_path / "data", ingest=Ingest(ttl=RULES), sources=sources) as tidewire:
        now = float(int(time.time()))
        page, text = b"<title>Page</title><p>The heron waits.</p>", b"# Plain\n\nThe heron stands."
        known = await put(tidewire, "p.html", page, "text/html", now)
        assert known["expires"] == now + HOUR
        assert (await put(tidewire, "t.md", text, "text/markdown", now)).get("expires") is None
        known = await put(tidewire, "short/p.html", page.replace(b"Page", b"Short"), "text/html", now)
        assert known["expires"] == now + 2 * HOUR, "its place counts before its type"
        while "Wired" not in await found(tidewire):
            pass
        _, _, listed = await tidewire.ask("GET", "/v1/documents?source=wire")
        (of_source,) = json.loads(listed)["documents"]
        assert of_source["expires"] == of_source["published"] + 3 * HOUR, "its source counts before both"

        old = b"<title>Old</title><p>Soon nobody knows of this heron.</p>"
        for lives in (1.0, 8.0, 60.0):  # seconds; a busy machine may need more until it finds it
            where = f"/v1/documents/old-{lives:g}.html"
            asked = f"{where}?visible=lexical&published={time.time() - HOUR + lives}"
            await tidewire.ask("PUT", asked, old, content_type="text/html")
            if was_found := "Old" in await found(tidewire):
                break
        assert was_found
        while "Old" in await found(tidewire):
            pass
        assert {"Plain", "Wired"} <= await found(tidewire)
        status, _, _ = await tidewire.ask("GET", where)
        assert status == 404
