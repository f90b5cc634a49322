"""all-MiniLM-L6-v2 on this machine: 384 numbers a text, in int8, without a GPU and without torch. Needs the extra `embed`."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Final

from tidewire.core.errors import ShuttingDown, TidewireError, TimedOut, UpstreamError
from tidewire.core.meter import EncoderMeter
from tidewire.embedding.batching import Batches
from tidewire.embedding.line import Bounds
from tidewire.embedding.minilm_files import Files, model
from tidewire.embedding.pace import Pace

if TYPE_CHECKING:
    from tidewire.embedding.minilm_session import Session

log = logging.getLogger("tidewire.embedding")

MODEL: Final = "all-minilm-l6-v2"
DIMENSIONS: Final = 384
READ: Final = 1100  # bytes of a text that its time grows with: 256 tokens of English
RUN: Final = 40  # bytes of text that would take as long as a run of the model takes besides
EACH: Final = 2e-5  # seconds a byte, before anything was measured


def units(text: str) -> int:
    """How long a text takes, in bytes of text."""
    return RUN + min(READ, len(text[:READ].encode("utf-8", "replace")))


class MiniLM:
    """`core.ports.Encoder`. The model is loaded by `warm`, else when the first text comes; nothing of that is done on the event loop.

    folder: where the ONNX file is kept. threads: of the processor, that one text may use. slice_s: seconds that documents may keep a query
    waiting, if no single one of them takes longer. waiting: texts that may wait.
    """

    def __init__(
        self, files: Files, folder: Path, meter: EncoderMeter, *, threads: int, slice_s: float, waiting: int
    ) -> None:
        self.name = f"{MODEL}/int8-{files.mark}"
        self.dimensions = DIMENSIONS
        self._files = files
        self._folder = folder
        self._meter = meter
        self._threads = threads
        self._hand = ThreadPoolExecutor(1, "minilm")
        self._session: Session | None = None
        self._loading: asyncio.Task[Session] | None = None
        self._closed = False
        bounds = Bounds(texts=64, units=1 << 20, seconds=slice_s, waiting=waiting)
        self._batches = Batches(self._work, Pace(0.0, EACH), bounds, meter, name=self.name, size=units)

    def warm(self) -> None:
        """Begin to load, if nobody has; returns at once."""
        if self._loading is None and not self._closed:
            self._loading = asyncio.get_running_loop().create_task(self._load())
            self._loading.add_done_callback(self._loaded)

    async def encode(
        self, texts: Sequence[str], *, query: bool = False, deadline: float | None = None
    ) -> Sequence[bytes]:
        if self._session is None:
            await self._ready(deadline)
        return await self._batches.encode(texts, query=query, deadline=deadline)

    async def close(self) -> None:
        self._closed = True
        if self._loading is not None:
            self._loading.cancel()
            await asyncio.wait((self._loading,))
        await self._batches.close()
        self._hand.shutdown(wait=False, cancel_futures=True)

    async def _ready(self, deadline: float | None) -> None:
        self.warm()
        if self._loading is None:
            raise ShuttingDown("the encoder is closed")
        loading = self._loading
        left = None if deadline is None else deadline - asyncio.get_running_loop().time()
        await asyncio.wait((loading,), timeout=left)
        if not loading.done():
            raise TimedOut("the local embedding model is still being loaded", code="encoder_late")
        if loading.cancelled():
            raise ShuttingDown("the encoder was closed while its model was loaded")
        loading.result()

    async def _load(self) -> Session:
        loop = asyncio.get_running_loop()
        began = loop.time()
        path = await model(self._files, self._folder)
        self._session = await loop.run_in_executor(self._hand, self._open, path)
        took = loop.time() - began
        self._meter.loaded(self.name, took)
        log.info("the embedding model is loaded", extra={"encoder": self.name, "seconds": round(took, 3)})
        return self._session

    def _open(self, path: Path) -> Session:
        from tidewire.embedding.minilm_session import Session  # noqa: PLC0415 - imports the extra, in this thread

        try:
            session = Session(path, self._files.tokenizer, self._threads)
            session.encode(["The first run allocates."])
        except Exception as error:  # supervisor boundary: both packages raise bare Exceptions for broken files
            raise UpstreamError(
                f"the local embedding model cannot be loaded ({type(error).__name__}); look at {self._files.tokenizer.parent}",
                code="encoder_unavailable",
            ) from error
        return session

    def _loaded(self, task: asyncio.Task[Session]) -> None:
        """A load that failed is tried again when the next text comes."""
        if task.cancelled():
            return
        if (error := task.exception()) is not None:
            self._loading = None
            code = error.kind if isinstance(error, TidewireError) else "internal_error"
            self._meter.encode_failed(self.name, code)
            log.error("the embedding model could not be loaded", exc_info=error)

    async def _work(self, texts: Sequence[str], query: bool) -> Sequence[bytes]:  # noqa: FBT001 - of `Work`
        assert self._session is not None
        loop = asyncio.get_running_loop()
        vectors, cut = await loop.run_in_executor(self._hand, self._session.encode, texts)
        if cut:
            self._meter.truncated(self.name, cut)
        return vectors
