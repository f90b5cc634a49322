"""A cross-encoder of the tests' own making, as a real ONNX file: its score is how many words of the question the passage holds."""

from __future__ import annotations

import asyncio
import math
import threading

import pytest

from tidewire.core.errors import SettingsError, UpstreamError
from tidewire.retrieval.reranking.cross_encoder import BATCH, HANDING, CrossEncoder
from tidewire.retrieval.reranking.port import Skipped

onnx = pytest.importorskip("onnx", reason="the extra embed is not installed")
onnxruntime = pytest.importorskip("onnxruntime", reason="the extra embed is not installed")
tokenizers = pytest.importorskip("tokenizers", reason="the extra embed is not installed")
np = pytest.importorskip("numpy")

WORDS = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "heron", "water", "waits", "owl", "night", "hunts", "in", "mat"]
ALL = ["input_ids", "attention_mask", "token_type_ids"]
FOREVER = math.inf
QUESTION = "heron waits in water"
TEXTS = ["owl hunts in night", "heron waits in water", "mat", "heron in water"]


def graph(inputs=ALL, labels=1, kind=onnx.TensorProto.INT64):
    """Words as rows of a unit matrix, those of the question summed, taken through a layer, and multiplied with the passage's."""
    helper, F = onnx.helper, onnx.TensorProto.FLOAT
    unit = np.eye(len(WORDS), dtype=np.float32)
    unit[:4] = 0  # marks of the tokenizer mean nothing
    constants = {
        "words": unit,
        "layer": np.eye(len(WORDS), dtype=np.float32),
        "one": np.float32(1),
        "last": np.array([-1], np.int64),
        "middle": np.array([1], np.int64),
        "times": np.ones((1, labels), np.float32),
    }
    nodes = [
        helper.make_node("Gather", ["words", "input_ids"], ["rows"]),
        helper.make_node("Cast", ["token_type_ids"], ["passage"], to=F),
        helper.make_node("Sub", ["one", "passage"], ["question"]),
    ]
    for part in ("question", "passage"):
        nodes += [
            helper.make_node("Unsqueeze", [part, "last"], [f"{part}_wide"]),
            helper.make_node("Mul", ["rows", f"{part}_wide"], [f"{part}_rows"]),
            helper.make_node("ReduceSum", [f"{part}_rows", "middle"], [f"{part}_sum"], keepdims=0),
        ]
    nodes += [
        helper.make_node("MatMul", ["question_sum", "layer"], ["read"]),
        helper.make_node("Mul", ["read", "passage_sum"], ["both"]),
        helper.make_node("ReduceSum", ["both", "last"], ["score"], keepdims=1),
        helper.make_node("MatMul", ["score", "times"], ["logits"]),
    ]
    given = [helper.make_tensor_value_info(name, kind, ["batch", "length"]) for name in inputs]
    made = helper.make_graph(
        nodes,
        "overlap",
        given,
        [helper.make_tensor_value_info("logits", F, ["batch", labels])],
        [onnx.numpy_helper.from_array(np.asarray(value), name) for name, value in constants.items()],
    )
    return helper.make_model(made, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)


@pytest.fixture
def folder(tmp_path):
    made = tokenizers.Tokenizer(
        tokenizers.models.WordLevel({word: n for n, word in enumerate(WORDS)}, unk_token="[UNK]")
    )
    made.pre_tokenizer = tokenizers.pre_tokenizers.Whitespace()
    made.post_processor = tokenizers.processors.TemplateProcessing(
        single="[CLS] $A [SEP]",
        pair="[CLS] $A [SEP] $B:1 [SEP]:1",
        special_tokens=[("[CLS]", 2), ("[SEP]", 3)],
    )
    made.enable_padding(length=64)  # as many published files say; a pair alone needs none
    made.save(str(tmp_path / "tokenizer.json"))
    onnx.save(graph(), tmp_path / "model.onnx")
    return tmp_path


def encoder(folder, *, file="model.onnx", name="", tokens=64):
    return CrossEncoder(folder / file, folder / "tokenizer.json", name=name, tokens=tokens, threads=1)


async def loaded(made):
    made.warm()
    await made._loading
    return made


async def test_each_passage_is_read_beside_the_question(folder):
    made = await loaded(encoder(folder))
    assert await made.scores(QUESTION, TEXTS, FOREVER) == [1.0, 4.0, 0.0, 3.0]
    assert await made.scores("owl", TEXTS * 3, FOREVER) == [1.0, 0.0, 0.0, 0.0] * 3
    assert await made.scores("", ["", "\ud800"], FOREVER) == [0.0, 0.0]
    assert made.name == "file/model"
    assert encoder(folder, name="overlap").name == "file/overlap"
    await made.close()


async def test_int8_orders_as_float32_does(folder):
    from onnxruntime.quantization import QuantType, quantize_dynamic

    quantize_dynamic(folder / "model.onnx", folder / "int8.onnx", per_channel=True, weight_type=QuantType.QInt8)
    made = await loaded(encoder(folder, file="int8.onnx"))
    assert await made.scores(QUESTION, TEXTS, FOREVER) == pytest.approx([1.0, 4.0, 0.0, 3.0], abs=0.1)
    await made.close()


async def test_what_is_too_long_is_cut_from_the_longer_of_the_two(folder):
    made = await loaded(encoder(folder, tokens=10))
    # Ten tokens, three of them marks: two of the question, five of the passage.
    assert await made.scores("heron water", ["mat " * 4 + "heron water"], FOREVER) == [1.0]
    # A question longer than half leaves the passage half, and nothing is refused.
    assert await made.scores("heron " + "mat " * 500, ["heron " + "in " * 500], FOREVER) == [1.0]
    await made.close()


async def test_a_model_without_types_or_with_narrow_numbers_is_read_too(folder):
    helper = onnx.helper
    model = graph(["input_ids"], kind=onnx.TensorProto.INT32)
    del model.graph.node[1]
    model.graph.node.insert(0, helper.make_node("Equal", ["input_ids", "mats"], ["is_mat"]))
    model.graph.node.insert(1, helper.make_node("Cast", ["is_mat"], ["passage"], to=onnx.TensorProto.FLOAT))
    model.graph.initializer.append(onnx.numpy_helper.from_array(np.int32(WORDS.index("mat")), "mats"))
    onnx.save(model, folder / "narrow.onnx")
    made = await loaded(encoder(folder, file="narrow.onnx"))
    assert await made.scores("owl", ["mat"], FOREVER) == [0.0]
    await made.close()


async def test_before_it_is_loaded_nobody_waits_for_it(folder):
    made = encoder(folder)
    with pytest.raises(Skipped) as caught:
        await made.scores(QUESTION, TEXTS, FOREVER)
    assert caught.value.why == "loading"
    await made._loading
    assert len(await made.scores(QUESTION, TEXTS, FOREVER)) == 4
    await made.close()


async def test_a_question_that_is_let_go_of_stops_at_the_next_batch_and_holds_nobody_up(folder):
    made = await loaded(encoder(folder))
    going, read = threading.Event(), []
    real = made._session

    class Slow:
        def scores(self, question, texts):
            read.append((question, len(texts)))
            going.wait(10)
            return real.scores(question, texts)

    made._session = Slow()
    first = asyncio.create_task(made.scores("heron", TEXTS * 5, FOREVER))
    second = asyncio.create_task(made.scores("owl", TEXTS, FOREVER))
    while not read:
        await asyncio.sleep(0.001)
    first.cancel()
    with pytest.raises(asyncio.CancelledError):
        await first
    going.set()
    assert await second == [1.0, 0.0, 0.0, 0.0]
    assert read == [("heron", BATCH), ("owl", BATCH), ("owl", BATCH)]
    await made.close()


async def test_what_is_read_by_the_deadline_is_given_and_the_rest_is_not_read(folder, monkeypatch):
    made = await loaded(encoder(folder))
    loop, real = asyncio.get_running_loop(), made._session
    read, slow, going = [], asyncio.Event(), threading.Event()

    class Slow:
        def scores(self, question, texts):
            read.extend(texts)
            if len(read) > 2 * BATCH:
                loop.call_soon_threadsafe(slow.set)
                going.wait(10)
            return real.scores(question, texts)

    made._session = Slow()
    now = loop.time()
    asked = asyncio.create_task(made.scores(QUESTION, TEXTS * 5, now + 1000))
    await slow.wait()
    monkeypatch.setattr(loop, "time", lambda: now + 1000 - HANDING)  # the deadline comes
    assert await asked == [1.0, 4.0, 0.0, 3.0]
    going.set()
    assert await made.scores(QUESTION, TEXTS, loop.time()) == []
    assert len(read) == 3 * BATCH
    await made.close()


async def test_a_server_that_ends_while_it_is_loaded_does_not_wait(folder):
    made = encoder(folder)
    made.warm()
    await asyncio.sleep(0)
    await made.close()


@pytest.mark.parametrize(
    ("broken", "said"),
    [
        (b"no model", "InvalidProtobuf"),
        (graph(labels=2).SerializeToString(), "2 numbers for a pair"),
        (graph([*ALL, "position_ids"]).SerializeToString(), "'position_ids'"),
    ],
    ids=["no model", "two labels", "another input"],
)
async def test_a_file_that_is_no_reranker_is_said_to_be_none(folder, broken, said, caplog):
    (folder / "model.onnx").write_bytes(broken)
    made = await loaded(encoder(folder))
    for _ in range(2):
        with pytest.raises(UpstreamError, match=said) as caught:
            await made.scores(QUESTION, TEXTS, FOREVER)
        assert caught.value.kind == "reranker_failed"
    assert caplog.messages == ["the cross-encoder could not be loaded"]
    await made.close()


async def test_a_model_that_fails_on_a_passage_does_not_quote_it(folder):
    made = await loaded(encoder(folder))

    class Broken:
        def scores(self, question, texts):
            raise RuntimeError(f"shape of {question}")

    made._session = Broken()
    with pytest.raises(UpstreamError) as caught:
        await made.scores(QUESTION, TEXTS, FOREVER)
    assert "heron" not in caught.value.message
    await made.close()


def test_files_that_are_not_there_are_named(folder):
    (folder / "tokenizer.json").unlink()
    for file, absent in (("model.onnx", "tokenizer.json"), ("other.onnx", "other.onnx")):
        with pytest.raises(SettingsError, match=absent):
            encoder(folder, file=file)
