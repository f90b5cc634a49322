"""The weights of all-MiniLM-L6-v2 as an ONNX file: written once, in a process of its own, since it takes seconds and memory.

`python -m tidewire.embedding.minilm_graph WEIGHTS TARGET` writes the file in int8; with `--plain`, in the weights' own float32. The only
module that needs `onnx` and `safetensors`. The architecture is BERT's (Devlin et al., 2018) with the sizes of the model's card; the output
is the mean over the tokens, of unit length, as the card computes it. Whatever changes the vectors raises `minilm_files.GRAPH`.
"""

from __future__ import annotations

import logging
import os
import sys
from pathlib import Path
from typing import Any, Final

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper
from onnxruntime.quantization import QuantType, quantize_dynamic
from safetensors import SafetensorError
from safetensors.numpy import load_file

LAYERS: Final = 6
HEADS: Final = 12
WIDTH: Final = 384
EPSILON: Final = 1e-12


class _Graph:
    """Nodes and constants as they are added; each node has one output, unless it is told otherwise."""

    def __init__(self, weights: dict[str, Any]) -> None:
        self.nodes: list[Any] = []
        self.constants: dict[str, Any] = {}
        self._weights = weights

    def add(self, kind: str, *inputs: str, outputs: int = 1, **more: Any) -> Any:
        names = [f"{kind}_{len(self.nodes)}_{n}" for n in range(outputs)]
        self.nodes.append(helper.make_node(kind, list(inputs), names, **more))
        return names[0] if outputs == 1 else names

    def constant(self, name: str, value: Any) -> str:
        self.constants[name] = np.ascontiguousarray(value)
        return name

    def weight(self, name: str) -> Any:
        try:
            return self._weights[name]
        except KeyError:
            raise ValueError(f"the weights hold no {name}: they are not those of all-MiniLM-L6-v2") from None

    def linear(self, x: str, *names: str) -> str:
        """The product of x and the matrices of these layers, side by side, and their biases added."""
        matrix = np.concatenate([self.weight(f"{name}.weight").T for name in names], axis=1)
        bias = np.concatenate([self.weight(f"{name}.bias") for name in names])
        product = self.add("MatMul", x, self.constant(f"{names[0]}.weight", matrix))
        return str(self.add("Add", product, self.constant(f"{names[0]}.bias", bias)))

    def norm(self, x: str, name: str) -> str:
        scale = self.constant(f"{name}.weight", self.weight(f"{name}.weight"))
        bias = self.constant(f"{name}.bias", self.weight(f"{name}.bias"))
        return str(self.add("LayerNormalization", x, scale, bias, axis=-1, epsilon=EPSILON))

    def heads(self, x: str, order: list[int]) -> str:
        """[batch, length, width] as [batch, heads, length, width of a head], in `order`."""
        shape = self.constant("by_head", np.array([0, 0, HEADS, WIDTH // HEADS], np.int64))
        return str(self.add("Transpose", self.add("Reshape", x, shape), perm=order))


def graph(weights: dict[str, Any]) -> onnx.ModelProto:
    """Inputs: ids and mask, int64 [batch, length]. Output: vector, float32 [batch, 384]. Raises ValueError for other weights."""
    g = _Graph(weights)
    mask = g.add("Cast", "mask", to=TensorProto.FLOAT)  # 1 for a token, 0 for padding
    x = _embedded(g)
    shut = g.add("Mul", g.add("Sub", mask, g.constant("one", np.float32(1))), g.constant("huge", np.float32(1e9)))
    shut = g.add("Unsqueeze", shut, g.constant("inner", np.array([1, 2], np.int64)))  # 0, or very small on padding
    for layer in range(LAYERS):
        x = _layer(g, x, shut, f"encoder.layer.{layer}")
    last = g.constant("last", np.array([-1], np.int64))
    middle = g.constant("middle", np.array([1], np.int64))
    total = g.add("ReduceSum", g.add("Mul", x, g.add("Unsqueeze", mask, last)), middle, keepdims=0)
    mean = g.add("Div", total, g.add("ReduceSum", mask, middle, keepdims=1))
    length = g.add("Sqrt", g.add("ReduceSum", g.add("Mul", mean, mean), last, keepdims=1))
    g.nodes.append(helper.make_node("Div", [mean, length], ["vector"]))
    inputs = [helper.make_tensor_value_info(name, TensorProto.INT64, ["batch", "length"]) for name in ("ids", "mask")]
    output = helper.make_tensor_value_info("vector", TensorProto.FLOAT, ["batch", WIDTH])
    constants = [numpy_helper.from_array(value, name) for name, value in g.constants.items()]
    made = helper.make_graph(g.nodes, "all-MiniLM-L6-v2", inputs, [output], constants)
    return helper.make_model(made, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)


def _embedded(g: _Graph) -> str:
    """Words and their places; all texts are of type 0, so that its row is added to the places'."""
    words = g.weight("embeddings.word_embeddings.weight")
    places = g.weight("embeddings.position_embeddings.weight") + g.weight("embeddings.token_type_embeddings.weight")[0]
    if words.shape[1] != WIDTH:
        raise ValueError(f"the weights are {words.shape[1]} wide, and those of all-MiniLM-L6-v2 are {WIDTH}")
    word = g.add("Gather", g.constant("words", words), "ids")
    length = g.add("Slice", g.add("Shape", "ids"), *(g.constant(f"n{n}", np.array([n], np.int64)) for n in (1, 2)))
    place = g.add("Slice", g.constant("places", places), g.constant("n0", np.array([0], np.int64)), length, "n0")
    return g.norm(g.add("Add", word, place), "embeddings.LayerNorm")


def _layer(g: _Graph, x: str, shut: str, name: str) -> str:
    own = f"{name}.attention.self"
    joined = g.linear(x, f"{own}.query", f"{own}.key", f"{own}.value")
    query, key, value = g.add("Split", joined, outputs=3, axis=-1)
    scores = g.add("MatMul", g.heads(query, [0, 2, 1, 3]), g.heads(key, [0, 2, 3, 1]))
    scale = g.constant("scale", np.float32((WIDTH / HEADS) ** -0.5))
    seen = g.add("Softmax", g.add("Add", g.add("Mul", scores, scale), shut), axis=-1)
    said = g.add("Transpose", g.add("MatMul", seen, g.heads(value, [0, 2, 1, 3])), perm=[0, 2, 1, 3])
    said = g.add("Reshape", said, g.constant("together", np.array([0, 0, WIDTH], np.int64)))
    said = g.linear(said, f"{name}.attention.output.dense")
    x = g.norm(g.add("Add", x, said), f"{name}.attention.output.LayerNorm")
    wide = g.linear(x, f"{name}.intermediate.dense")
    narrow = g.linear(_gelu(g, wide), f"{name}.output.dense")
    return g.norm(g.add("Add", x, narrow), f"{name}.output.LayerNorm")


def _gelu(g: _Graph, x: str) -> str:
    """x/2 (1 + erf(x / √2)), in the form that onnxruntime makes one operation of."""
    erf = g.add("Erf", g.add("Div", x, g.constant("root", np.float32(2**0.5))))
    return str(
        g.add(
            "Mul",
            g.add("Mul", x, g.add("Add", erf, g.constant("one", np.float32(1)))),
            g.constant("half", np.float32(0.5)),
        )
    )


def write(weights: Path, target: Path, *, plain: bool = False) -> None:
    """Put the model at `target`, in a folder of its own: it needs room beside it. Raises ValueError, OSError.

    plain: float32; else int8, each column of a matrix with a scale of its own. One scale for a whole matrix costs 7 % of the cosine to
    float32; one for each column, less than 1 %.
    """
    exact = target if plain else target.with_name("float32.onnx")
    onnx.save(graph(load_file(weights)), exact)
    if not plain:
        quantize_dynamic(exact, target, per_channel=True, weight_type=QuantType.QInt8)
    with target.open("rb") as file:
        os.fsync(file.fileno())


def main(given: list[str]) -> None:
    weights, target = (Path(word) for word in given if word != "--plain")
    logging.getLogger().setLevel(logging.ERROR)  # the quantiser recommends a step that changes nothing here
    try:
        write(weights, target, plain="--plain" in given)
    except (ValueError, OSError, SafetensorError) as error:
        sys.exit(str(error))


if __name__ == "__main__":
    main(sys.argv[1:])
