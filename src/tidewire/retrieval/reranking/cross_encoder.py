"""A cross-encoder on this machine: an ONNX file that reads a question and a passage as one. Needs the extra `embed`."""

from __future__ import annotations

import asyncio
import contextlib
import importlib.util
import logging
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Final

from tidewire.core.errors import SettingsError, UpstreamError
from tidewire.retrieval.reranking.port import Skipped

if TYPE_CHECKING:
    from tidewire.retrieval.reranking.cross_encoder_session import Session

log = logging.getLogger("tidewire.retrieval")

BATCH: Final = 2  # passages that are read before the deadline counts again
HANDING: Final = 0.005  # seconds that are left to hand over what has been read
USUAL: Final = "A chunk has some 180 words. " * 30
PACKAGES: Final = ("onnxruntime", "tokenizers", "numpy")
INSTALL: Final = "pip install 'tidewire[embed]'"


class CrossEncoder:
    """`Reranker`. model, tokenizer: the ONNX file, and its tokenizer.json. name: of the model, "" for that of its file. tokens: of a
    question and a passage together, that it reads. threads: of the processor.

    Raises SettingsError for files that are not there. One question is read at a time, in a thread: of many at once, the first are in time.
    What cannot be read in time is not read, and the best candidates come first.
    """

    def __init__(self, model: Path, tokenizer: Path, *, name: str, tokens: int, threads: int) -> None:
        if any(importlib.util.find_spec(package) is None for package in PACKAGES):
            raise SettingsError(f"what runs a cross-encoder is not installed; do: {INSTALL}", param="rerank.kind")
        for path in (model, tokenizer):
            if not path.is_file():
                raise SettingsError(
                    f"rerank.file is {str(model)!r}, and there is no file {str(path)!r}; it takes an ONNX file with its tokenizer.json beside it",
                    param="rerank.file",
                )
        self.name = f"file/{name or model.stem}"
        self._paths = model, tokenizer
        self._tokens = tokens
        self._threads = threads
        self._hand = ThreadPoolExecutor(1, "rerank")
        self._turn = asyncio.Lock()
        self._session: Session | None = None
        self._fault = ""  # why it could not be loaded
        self._loading: asyncio.Task[None] | None = None

    def warm(self) -> None:
        if self._loading is None:
            self._loading = asyncio.get_running_loop().create_task(self._load())

    async def scores(self, question: str, texts: Sequence[str], until: float) -> Sequence[float]:
        self.warm()
        if self._fault:
            raise UpstreamError(self._fault, code="reranker_failed")
        if self._session is None:
            raise Skipped("loading")
        loop = asyncio.get_running_loop()
        out: list[float] = []
        if loop.time() >= until - HANDING:  # else the first batch would be read, for nobody
            return out
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout_at(until - HANDING), self._turn:
                for at in range(0, len(texts), BATCH):
                    batch = texts[at : at + BATCH]
                    out += await loop.run_in_executor(self._hand, self._read, self._session, question, batch)
        return out

    async def close(self) -> None:
        if self._loading is not None:
            self._loading.cancel()
            await asyncio.wait((self._loading,))
        self._hand.shutdown(wait=False, cancel_futures=True)

    async def _load(self) -> None:
        loop = asyncio.get_running_loop()
        began = loop.time()
        try:
            session, each = await loop.run_in_executor(self._hand, self._open)
        except UpstreamError as error:
            self._fault = error.message
            log.exception("the cross-encoder could not be loaded")
        else:
            self._session = session
            took = round(loop.time() - began, 3)
            log.info(
                "the cross-encoder is loaded; ms: of one passage",
                extra={"model": self.name, "seconds": took, "ms": round(each * 1000, 1)},
            )

    def _open(self) -> tuple[Session, float]:
        """And the seconds that it takes for a passage of the usual length."""
        from tidewire.retrieval.reranking.cross_encoder_session import Session  # noqa: PLC0415 - imports the extra

        try:
            session = Session(*self._paths, self._tokens, self._threads)
            session.scores("The first run", ["allocates."])
            began = time.perf_counter()
            session.scores("How long does it take?", [USUAL])
            each = time.perf_counter() - began
        except Exception as error:  # supervisor boundary: both packages raise bare Exceptions for broken files
            raise UpstreamError(
                f"the cross-encoder cannot be loaded ({type(error).__name__}: {str(error)[:200]}); look at {self._paths[0]}",
                code="reranker_failed",
            ) from error
        return session, each

    def _read(self, session: Session, question: str, texts: Sequence[str]) -> list[float]:
        try:
            return session.scores(question, texts)
        except Exception as error:  # supervisor boundary: as above; its words may hold the text, and are not said
            raise UpstreamError(f"the cross-encoder failed ({type(error).__name__})", code="reranker_failed") from error
