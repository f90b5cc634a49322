"""Chroma's persistent client: vectors in a graph (HNSW, with its defaults), and a filter on metadata. It does not rank by words."""

from __future__ import annotations

import importlib
from itertools import islice
from pathlib import Path
from typing import Any, Final

from retrieval.peers.engine import LIMIT, NEVER, Files

ROWS: Final = "chunks"


class Chroma:
    ways = ("meaning", "meaning, no expiry filter")

    def __init__(self) -> None:
        self._chroma: Any = importlib.import_module("chromadb")
        self._settings: Any = importlib.import_module("chromadb.config").Settings(anonymized_telemetry=False)
        self._numpy: Any = importlib.import_module("numpy")

    def _connect(self, folder: Path) -> None:
        self._client = self._chroma.PersistentClient(path=str(folder), settings=self._settings)

    async def build(self, files: Files, folder: Path) -> None:
        self._connect(folder)
        collection = self._client.create_collection(
            ROWS, configuration={"hnsw": {"space": "cosine"}}, embedding_function=None
        )
        pieces, vectors, at = files.pieces(), files.vectors("vectors.f32"), 0
        while some := list(islice(pieces, self._client.get_max_batch_size())):
            numbers = self._numpy.frombuffer(b"".join(vectors[at : at + len(some)]), dtype="<f4")
            collection.add(
                ids=[piece.id for piece in some],
                embeddings=numbers.reshape(len(some), -1),
                documents=[piece.text for piece in some],
                metadatas=[{"expires": piece.expires} for piece in some],
            )
            at += len(some)

    async def open(self, folder: Path) -> None:
        self._connect(folder)
        self._rows = self._client.get_collection(ROWS, embedding_function=None)

    async def find(self, way: str, text: str, vector: bytes, now: float) -> list[str]:
        found = self._rows.query(
            query_embeddings=[self._numpy.frombuffer(vector, dtype="<f4")],
            n_results=LIMIT,
            where=None if "no expiry" in way else {"expires": {"$gt": now}},
            include=["documents"],
        )
        return list(found["ids"][0])

    async def put(self, name: str, text: str, vector: bytes) -> None:
        numbers = self._numpy.frombuffer(vector, dtype="<f4")
        self._rows.add(ids=[name], embeddings=[numbers], documents=[text], metadatas=[{"expires": NEVER}])

    async def delete(self, name: str) -> None:
        self._rows.delete(ids=[name])

    async def upkeep(self) -> bool:
        return False

    async def close(self) -> None: ...
