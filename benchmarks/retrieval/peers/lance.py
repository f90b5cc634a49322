"""LanceDB in this process, as its documentation has it: indexes of the words, of the columns that are filtered by and of the vectors.

Its hybrid search merges by reciprocal rank. `exact` leaves the index of the vectors (IVF-PQ, with its defaults) aside and scans them all.
"""

from __future__ import annotations

import importlib
from itertools import islice
from pathlib import Path
from typing import Any, Final

from retrieval.peers.engine import LIMIT, NEVER, Files

AT_ONCE: Final = 10_000  # rows of one append
ROWS: Final = "chunks"


class Lance:
    ways = ("words and meaning, exact", "words and meaning", "meaning", "words")

    def __init__(self) -> None:
        self._lancedb = importlib.import_module("lancedb")
        self._indexes: Any = importlib.import_module("lancedb.index")
        self._numpy: Any = importlib.import_module("numpy")
        self._merge = importlib.import_module("lancedb.rerankers").RRFReranker()

    async def build(self, files: Files, folder: Path) -> None:
        arrow: Any = importlib.import_module("pyarrow")
        vectors = files.vectors("vectors.f32")
        fields = (("id", arrow.string()), ("text", arrow.string()), ("expires", arrow.float64()))
        vector = arrow.list_(arrow.float32(), files.width // 4)
        schema = arrow.schema([*fields, ("vector", vector)])
        db = await self._lancedb.connect_async(folder)
        self._table = table = await db.create_table(ROWS, schema=schema)
        pieces, at = files.pieces(), 0
        while some := list(islice(pieces, AT_ONCE)):
            numbers = arrow.array(self._numpy.frombuffer(b"".join(vectors[at : at + len(some)]), dtype="<f4"))
            columns = [*map(arrow.array, zip(*some, strict=True))]
            columns.append(arrow.FixedSizeListArray.from_arrays(numbers, files.width // 4))
            await table.add(arrow.Table.from_arrays(columns, schema=schema))
            at += len(some)
        await table.create_index("text", config=self._indexes.FTS())
        await table.create_index("id", config=self._indexes.BTree())
        await table.create_index("expires", config=self._indexes.BTree())
        await table.create_index("vector", config=self._indexes.IvfPq(distance_type="dot"))
        await table.optimize()

    async def open(self, folder: Path) -> None:
        db = await self._lancedb.connect_async(folder)
        self._table = await db.open_table(ROWS)

    async def find(self, way: str, text: str, vector: bytes, now: float) -> list[str]:
        query = self._table.query()
        if "meaning" in way:
            query = query.nearest_to(self._numpy.frombuffer(vector, dtype="<f4")).distance_type("dot")
        if "exact" in way:
            query = query.bypass_vector_index()
        if "words" in way:
            query = query.nearest_to_text(text)
        if "words and" in way:
            query = query.rerank(self._merge)
        rows = await query.where(f"expires > {now}").select(["id", "text"]).limit(LIMIT).to_list()
        return [row["id"] for row in rows]

    async def put(self, name: str, text: str, vector: bytes) -> None:
        numbers = self._numpy.frombuffer(vector, dtype="<f4")
        await self._table.add([{"id": name, "text": text, "expires": NEVER, "vector": numbers}])

    async def delete(self, name: str) -> None:
        await self._table.delete(f"id = '{name}'")

    async def upkeep(self) -> bool:
        await self._table.optimize()
        return True

    async def close(self) -> None:
        self._table.close()
